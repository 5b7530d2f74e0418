"""Datasets by the mlcast specification 0.2.0, small, as its community publishes them."""

import functools
import http.server
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from hko7env.archive.format import minutes

START = minutes("2020-06-01T00:00")
WKT = 'PROJCS["RADKLIM",GEOGCS["sphere",DATUM["sphere",SPHEROID["sphere",6370040,0]]]]'
ABOUT = {
    "standard_name": "rainfall_amount",
    "long_name": "rain of a time step",
    "units": "kg m-2",
    "grid_mapping": "crs",
}


def dataset(values, *, step=5, missing=(), spacing=1.0, length="km", south_up=False, about=(), **attributes):
    """An xarray dataset of ``values`` (time, y, x), northern row first; ``missing`` are steps that ``time`` skips."""
    xarray = pytest.importorskip("xarray")
    n, height, width = values.shape
    y, x = -4600.0 + spacing * np.arange(height)[::-1], -443.0 + spacing * np.arange(width)
    steps = np.setdiff1d(np.arange(n + len(missing)), missing)
    if south_up:
        values, y = values[:, ::-1], y[::-1]
    plane = {name: (("y", "x"), np.zeros((height, width))) for name in ("lat", "lon")}
    gaps = {"missing_times": ("missing_times", _times(step, missing))} if len(missing) else {}
    data = xarray.Dataset(
        {"rainfall_amount": (("time", "y", "x"), values, ABOUT | dict(about)), "crs": ((), 0)},
        {
            "time": _times(step, steps),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "axis": "Y", "units": length}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "axis": "X", "units": length}),
            **plane,
            **gaps,
        },
        {"license": "CC-BY-4.0", "title": "a climatology of radar", **attributes},
    )
    data.crs.attrs.update(spatial_ref=WKT, crs_wkt=WKT)
    return data


def write_store(data, path, *, chunk=1, zarr_format=2, name="rainfall_amount", **encoding):
    """Write a dataset with zstd and ``chunk`` time steps a chunk."""
    import numcodecs
    import zarr

    codec = (
        {"compressor": numcodecs.Zstd(level=5)}
        if zarr_format == 2
        else {"compressors": [zarr.codecs.ZstdCodec(level=5)]}
    )
    size = tuple(data[name].shape[1:])
    with pytest.warns() if zarr_format == 3 else functools.partial(contextmanager, _nothing)()():
        data.to_zarr(
            path,
            zarr_format=zarr_format,
            consolidated=True,
            encoding={name: {"chunks": (chunk, *size), **codec, **encoding}},
        )
    return path


def _nothing():
    yield


def _times(step, numbers):
    minute = START + step * np.asarray(numbers, np.int64)
    return minute.astype("datetime64[m]").astype("datetime64[ns]")


@contextmanager
def served(folder):
    """The URL of a folder on this machine, over HTTP; ``requests`` of the server are the paths that were read."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
