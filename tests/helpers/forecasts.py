"""Forecasts of an agent, and files of forecasts made by xarray as somebody else would make them."""

import warnings

import numpy as np
import pytest

from hko7env.loading import load
from hko7env.schedule import INPUTS
from tests.helpers.runs import plan


def forecasts_of(archive, agent, *, limit=None):
    """Pairs of issue time and forecast of an agent offline."""
    one = plan(archive, agent, online=False)
    env = one.environment()
    made = load(agent, env.task)
    observation, _ = env.reset()
    for index in range(limit or len(env.schedule)):
        made.store(observation)
        forecast = made.predict()
        yield int(env.schedule.slots(index)[INPUTS - 1]), np.array(forecast)
        observation, *_ = env.step(forecast)


def foreign_dataset(archive, times, values, *, units="mm/h", leads=None, **attributes):
    """A dataset of other names than ours: values (n, K, H, W) issued at ``times``, minutes since 1970-01-01."""
    xarray = pytest.importorskip("xarray")
    dimensions = ("init", "step", "northing", "easting")
    leads = archive.cadence * np.arange(1, values.shape[1] + 1) if leads is None else leads
    coordinates = {
        "init": np.asarray(times).astype("datetime64[m]").astype("datetime64[ns]"),
        "step": ("step", leads, {"units": "minutes"}),
        "northing": ("northing", archive.y, {"units": "m"}),
        "easting": ("easting", archive.x, {"units": "m"}),
    }
    rain = xarray.DataArray(values, dims=dimensions, attrs={"units": units} | attributes)
    return xarray.Dataset({"rain": rain}, coordinates)


def save(data, path):
    """Write a dataset as netCDF or zarr, as the suffix says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's own, of consolidated metadata
        if path.suffix == ".nc":
            pytest.importorskip("h5netcdf")
            data.to_netcdf(path, engine="h5netcdf")
        else:
            data.to_zarr(path)
    return path
