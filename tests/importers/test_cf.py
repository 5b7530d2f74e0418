import warnings

import numpy as np
import pytest

from hko7env.importers import RadarImportError, import_radar
from hko7env.units import HKO7
from tests.helpers.radar_files import cf_dataset


@pytest.mark.parametrize("kind", ["nc", "zarr"])
@pytest.mark.parametrize(
    "units, value, options",
    [
        ("mm h-1", 12.0, {}),
        ("kg m-2 s-1", 12 / 3600, {"south_up": True}),
        ("m s-1", 12 / 3.6e6, {"east_left": True}),
        ("dBZ", 10 * np.log10(200 * 12**1.6), {"south_up": True, "east_left": True}),
    ],
)
def test_cf_data_of_any_units_and_orientation(tmp_path, kind, units, value, options):
    values = np.full((3, 5, 6), -50.0 if units == "dBZ" else 0.0)
    values[:, :, 0] = np.nan
    values[:, 1, 4] = value
    data, path = cf_dataset(values, units, **options), tmp_path / f"rain.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's own, of consolidated metadata
        if kind == "nc":
            pytest.importorskip("h5netcdf")
            data.to_netcdf(path, engine="h5netcdf")
        else:
            data.to_zarr(path)
    archive, problems = import_radar("cf", path, tmp_path / "a.archive")
    assert (problems, archive.cadence, len(archive), archive.crs) == ([], 10, 3, "+proj=aeqd")
    frame = archive.frames(1, 2)[0]
    assert HKO7.rates[frame[1, 4]] == pytest.approx(12, rel=0.02)
    assert np.count_nonzero(frame) == 1
    np.testing.assert_array_equal(archive.mask == 2, np.isnan(values[0]))
    assert archive.y[0] > archive.y[-1]
    assert archive.x[0] < archive.x[-1]
    assert archive.attributes["source"] == "a radar"


def test_our_own_archives_are_not_imported(small_archive, tmp_path):
    pytest.importorskip("xarray")
    with pytest.raises(RadarImportError, match="is an archive already"):
        import_radar("cf", small_archive, tmp_path / "a.zarr")


def test_cf_coordinates_and_references(tmp_path):
    pytest.importorskip("h5netcdf")
    data = cf_dataset(np.zeros((2, 5, 6)), "mm/h")
    data["x"] = data.x / 1000
    data.x.attrs["units"] = "km"
    data.crs.attrs.clear()
    data.crs.attrs["grid_mapping_name"] = "azimuthal_equidistant"
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    archive, _ = import_radar("cf", tmp_path / "a.nc", tmp_path / "a.zarr")
    np.testing.assert_allclose(np.diff(archive.x), 500)
    assert archive.crs == '{"grid_mapping_name": "azimuthal_equidistant"}'
    data.x.attrs["units"] = "degrees_east"
    data.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(RadarImportError, match="is in degrees_east, expected m or km"):
        import_radar("cf", tmp_path / "b.nc", tmp_path / "b.zarr")
    shifted = cf_dataset(np.zeros((2, 5, 6)), "mm/h")
    folder = tmp_path / "two"
    folder.mkdir()
    shifted.to_netcdf(folder / "a.nc", engine="h5netcdf")
    moved = shifted.assign_coords(x=shifted.x + 500, time=shifted.time + np.timedelta64(1, "D"))
    moved.to_netcdf(folder / "b.nc", engine="h5netcdf")
    with pytest.raises(RadarImportError, match=r"b.nc is of a grid of 5 x 6 .* import them into separate"):
        import_radar("cf", folder, tmp_path / "c.zarr")


def test_cf_data_that_cannot_be_meant_are_named(tmp_path):
    pytest.importorskip("h5netcdf")
    folder = tmp_path / "in"
    folder.mkdir()
    good = cf_dataset(np.zeros((2, 5, 6)), "mm/h")
    good.to_netcdf(folder / "a.nc", engine="h5netcdf")
    later = good.assign_coords(time=good.time + np.timedelta64(1, "D"))
    (later - 1).assign(rain=later.rain - 1).to_netcdf(folder / "b.nc", engine="h5netcdf")
    later.assign(other=later.rain).to_netcdf(folder / "c.nc", engine="h5netcdf")
    later.rename(rain="wind").assign(wind=later.rain.assign_attrs(units="knots")).to_netcdf(
        folder / "d.nc", engine="h5netcdf"
    )
    (folder / "e.nc").write_bytes(b"no netCDF")
    archive, problems = import_radar("cf", folder, tmp_path / "a.zarr", keep_going=True)
    assert len(archive) == 2
    text = "\n".join(problems)
    for part in (
        "rain below 0",
        "several variables are rain or reflectivity: rain, other",
        "d.nc is not",
        "e.nc cannot be read",
    ):
        assert part in text


def test_cf_amounts_need_a_regular_time_step(tmp_path):
    pytest.importorskip("h5netcdf")
    values = np.zeros((4, 5, 6))
    values[:, 1, 4] = 2.0
    data = cf_dataset(values, "mm", standard_name="rainfall_amount")
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    archive, _ = import_radar("cf", tmp_path / "a.nc", tmp_path / "a.zarr")
    assert HKO7.rates[archive.frames(0, 1)[0, 1, 4]] == pytest.approx(2.0 * 60 / 10, rel=0.02)
    data.isel(time=[0, 1, 3]).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(RadarImportError, match="time step varies from 10 to 20 min: list gaps in missing_times"):
        import_radar("cf", tmp_path / "b.nc", tmp_path / "b.zarr")
    nameless = cf_dataset(values, "mm")
    nameless.to_netcdf(tmp_path / "c.nc", engine="h5netcdf")
    with pytest.raises(RadarImportError, match="holds no radar data"):
        import_radar("cf", tmp_path / "c.nc", tmp_path / "c.zarr")


def test_the_range_of_a_radar_is_where_most_frames_have_data(tmp_path):
    """One frame of an outage, be it the first, hides nothing for good."""
    pytest.importorskip("h5netcdf")
    values = np.zeros((5, 5, 6))
    values[:, 0] = np.nan
    values[0, :3] = np.nan
    values[3] = np.nan
    cf_dataset(values, "mm/h").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    archive, _ = import_radar("cf", tmp_path / "a.nc", tmp_path / "a.zarr")
    np.testing.assert_array_equal(archive.mask[:, 0], [2, 0, 0, 0, 0])
    assert archive.status.tolist() == [1, 0, 0, 1, 0]
