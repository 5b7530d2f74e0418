"""Forecast files that we write and that others write: what comes back, and what is refused with which remedy."""

import json
import tracemalloc
import warnings

import numpy as np
import pytest

from hko7env.archive import Archive, create
from hko7env.archive.format import minutes
from hko7env.forecast import ForecastError
from hko7env.forecast_files import ForecastFile, ForecastFileError, Missing, write
from hko7env.units import ZR, dbz
from tests.helpers.forecasts import foreign_dataset, save

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

START = minutes("2015-04-02T02:40")
CRS = "+proj=aeqd +lat_0=22.3 +lon_0=114.2 +units=m"


@pytest.fixture
def archive(tmp_path):
    mask = np.zeros((8, 10), np.uint8)
    mask[:2] = 2
    y, x = 4000 - 1000.0 * np.arange(8), 1000.0 * np.arange(10) - 5000
    create(str(tmp_path / "archive.zarr"), shape=(8, 10), mask=mask, x=x, y=y, crs=CRS)
    return Archive(str(tmp_path / "archive.zarr"))


def pixels(count=3, leads=20, shape=(8, 10), seed=0):
    """Forecasts with no echo in places, and the edges 0 and 1."""
    values = np.random.default_rng(seed).random((count, leads, *shape), np.float32)
    values[values < 0.3] = 0
    values[0, 0, 0, :2] = 1, 0
    return values


def times(count=3):
    return START + 30 * np.arange(count)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_file_of_several_quantities_is_read_by_its_first(archive, tmp_path, suffix):
    values, path = pixels(), tmp_path / f"f{suffix}"
    write(path, zip(times(), values, strict=True), archive, units=("mm/h", "dBZ", "pixel"))
    with ForecastFile(path, archive) as file:
        assert (file.layout.variable, file.layout.units) == ("rain_rate", "mm/h")
        np.testing.assert_allclose(file.read(int(times()[1])), values[1], rtol=0, atol=1e-6)
    engine = {"engine": "h5netcdf"} if suffix == ".nc" else {"engine": "zarr", "consolidated": False}
    with xarray.open_dataset(path, **engine) as data:
        assert {name: data[name].attrs["units"] for name in data.data_vars if data[name].ndim == 4} == {
            "rain_rate": "mm/h", "reflectivity": "dBZ", "pixel": "1",
        }  # fmt: skip
        np.testing.assert_allclose(data["reflectivity"].values, dbz(values.astype(float)), atol=1e-4)
        np.testing.assert_array_equal(data["pixel"].values, values)
        assert data["rain_rate"].attrs["grid_mapping"] == "crs"


@pytest.mark.parametrize("units", [(), ("mm/h", "kg m-2 h-1"), ("dBZ", "furlong")])
def test_units_of_several_variables_that_make_no_sense(archive, tmp_path, units):
    with pytest.raises(ValueError, match="units"):
        write(tmp_path / "f.zarr", zip(times(), pixels(), strict=True), archive, units=units)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("units", ["pixel", "dBZ", "mm/h", "kg m-2 h-1", "m s-1"])
def test_what_is_written_is_read(archive, tmp_path, suffix, units):
    values, path = pixels(), tmp_path / f"f{suffix}"
    pairs = zip(times(), values, strict=True)
    assert write(path, pairs, archive, units=units, attributes={"institution": "somebody"}) == 3
    with ForecastFile(path, archive) as file:
        assert file.layout.issue_times.tolist() == times().tolist()
        assert file.layout.notes == ()
        for time, expected in zip(times().tolist(), values, strict=True):
            found = file.read(time)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=0 if units == "pixel" else 1e-6)
        assert file.read(START + 6) == Missing("no forecast of this issue time")
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_our_files_are_plain_cf_files(archive, tmp_path):
    write(tmp_path / "f.nc", zip(times(), pixels(), strict=True), archive, units="mm/h", attributes={"title": "mine"})
    with xarray.open_dataset(tmp_path / "f.nc", engine="h5netcdf", decode_timedelta=True) as data:
        assert data.forecast.dims == ("issue_time", "lead", "y", "x")
        assert data.forecast.units == "mm/h"
        assert data.issue_time.values[0] == np.datetime64("2015-04-02T02:40")
        assert data.lead.values[-1] == np.timedelta64(120, "m")
        assert data.attrs["title"] == "mine"
        assert data.crs.attrs["proj4"] == CRS


def test_writing_refuses_what_could_not_be_scored(archive, tmp_path):
    good = pixels(1)[0]
    path = tmp_path / "f.nc"
    for pairs, error, message in (
        ([], ValueError, "there is no forecast"),
        ([(START, good + 1)], ForecastError, r"lies in \[0, 1\]; lead 1"),
        ([(START, good * np.float32(np.nan))], ForecastError, "holds NaN"),
        ([(START, good.astype(np.float64))], ForecastError, "float32"),
        ([(START, good), (START, good)], ValueError, "issue times must increase"),
        ([(START, good), (START + 30, good[:5])], ForecastError, "expected a forecast of shape"),
        ([(START, good[:, :5])], ForecastError, "expected a forecast of shape"),
        ([(float(START), good)], ValueError, "whole minutes"),
    ):
        with pytest.raises(error, match=message):
            write(path, pairs, archive)
        assert not [p.name for p in tmp_path.iterdir() if p.suffix == ".nc" or "partial" in p.name], "nothing is left"
    with pytest.raises(ValueError, match=r"written to a \.zarr or \.nc file"):
        write(tmp_path / "f.grib", [(START, good)], archive)
    with pytest.raises(ValueError, match="units of a forecast are one of 1, pixel, dBZ, mm/h"):
        write(path, [(START, good)], archive, units="K")
    path.touch()
    with pytest.raises(FileExistsError, match="choose another name"):
        write(path, [(START, good)], archive)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_files_of_others(archive, tmp_path, suffix):
    """Other names, orientations, units of length and time, packing, and lead times that are not asked for."""
    values = pixels(leads=42)
    rates = archive.zr.rate(dbz(values.astype(np.float64))) * (values > 0)
    data = foreign_dataset(archive, times(), rates, leads=3 * np.arange(42))  # 0, 3, ... 123 min
    expected = values[:, 2:42:2]
    packed = {"rain": {"dtype": "int32", "scale_factor": 1e-5, "_FillValue": -1}}
    turned = data.isel(northing=slice(None, None, -1), easting=slice(None, None, -1))
    km = turned.assign_coords(northing=turned.northing / 1000, easting=turned.easting / 1000)
    km.northing.attrs["units"] = km.easting.attrs["units"] = "km"
    hours = data.assign_coords(step=("step", data.step.values / 60, {"units": "hours"}))
    delta = data.assign_coords(step=data.step.values * np.timedelta64(1, "m").astype("timedelta64[ns]"))
    tiny = data.copy()
    tiny.rain.encoding = packed["rain"]
    for number, one in enumerate((data, turned, km, hours, delta, tiny, data.astype(np.float32))):
        path = save(one, tmp_path / f"{number}{suffix}")
        with ForecastFile(path, archive) as file:
            for time, wanted in zip(times().tolist(), expected, strict=True):
                np.testing.assert_allclose(file.read(time), wanted, rtol=0, atol=1e-3 if one is tiny else 1e-6)


def test_netcdf_3(archive, tmp_path):
    values = pixels()
    data = foreign_dataset(archive, times(), values, units="1").astype(np.float32)
    data.to_netcdf(tmp_path / "f.nc", engine="scipy")
    with ForecastFile(tmp_path / "f.nc", archive) as file:
        np.testing.assert_array_equal(file.read(START + 30), values[1])
    (tmp_path / "g.nc").write_bytes((tmp_path / "f.nc").read_bytes()[:-4000])
    with pytest.raises(ForecastFileError, match=r"g\.nc is damaged"), ForecastFile(tmp_path / "g.nc", archive) as file:
        file.read(START + 60)


def test_reflectivity_by_another_relation_is_converted(archive, tmp_path):
    other, values = ZR(200.0, 1.6), pixels()
    rates = archive.zr.rate(dbz(values.astype(np.float64)))
    reflectivity = np.where(values > 0, other.dbz(rates), -np.inf)
    data = foreign_dataset(archive, times(), reflectivity, units="dBZ", zr_a=200.0, zr_b=1.6)
    with ForecastFile(save(data, tmp_path / "f.nc"), archive) as file:
        np.testing.assert_allclose(file.read(START), values[0], atol=1e-6)


def test_rain_beyond_the_scale_is_its_end(archive, tmp_path):
    values = np.zeros((1, 20, 8, 10))
    values[0, 0, 4, :3] = 0, 1e-4, 3000
    with ForecastFile(save(foreign_dataset(archive, times(1), values), tmp_path / "f.nc"), archive) as file:
        assert file.read(START)[0, 4, :3].tolist() == [0, 0, 1]


def test_a_hole_counts_where_a_location_may_be_scored(archive, tmp_path):
    values = np.zeros((2, 20, 8, 10), np.float32)
    values[0, :, :2] = np.nan  # outside the static mask
    values[1, 7, 4, 4] = np.nan
    with ForecastFile(save(foreign_dataset(archive, times(2), values), tmp_path / "f.nc"), archive) as file:
        assert file.read(START).sum() == 0
        assert file.read(START + 30) == Missing("values are missing", "lead 8, 1 locations")


@pytest.mark.parametrize("units", ["pixel", "dBZ", "mm/h"])
def test_a_hole_that_is_not_scored_is_no_echo_in_any_units(archive, tmp_path, units):
    values = np.full((1, 20, 8, 10), 0.5, np.float32)
    values[0, :, :2] = np.nan  # outside the static mask
    with ForecastFile(
        save(foreign_dataset(archive, times(1), values, units=units), tmp_path / "f.nc"), archive
    ) as file:
        forecast = file.read(START)
    assert not forecast[:, :2].any()
    assert (forecast[:, 2:] > 0).all()


# ---------------------------------------------------------------- what is refused


def drop(name):
    return lambda data: data.drop_vars(name)


def axis(name, change, **attributes):
    def apply(data):
        old = data[name]
        return data.assign_coords({name: (name, change(old.values), {**old.attrs, **attributes})})

    return apply


def with_units(units):
    return lambda data: data.assign(rain=data.rain.assign_attrs(units=units))


def with_crs(proj):
    def apply(data):
        data = data.assign(rain=data.rain.assign_attrs(grid_mapping="crs"))
        return data.assign(crs=xarray.DataArray(0, attrs={"proj4": proj}))

    return apply


FAULTS = {
    "no four dimensions": (lambda d: d.isel(init=0), r"no variable has the dimensions \(issue time, lead time, y, x\)"),
    "other units": (with_units("K"), "rain in 'K': the units of a forecast are one of 1, pixel, dBZ, mm/h"),
    "no units": (with_units(""), "rain in '': the units"),
    "two variables": (lambda d: d.assign(more=d.rain), "several variables could be the forecast: "),
    "text": (lambda d: d.assign(rain=d.rain.astype(str).assign_attrs(units="mm/h")), "expected numbers"),
    "other shape": (lambda d: d.isel(easting=slice(0, 9)), "frames of 8 x 9, the archive of 8 x 10: interpolate"),
    "no y": (drop("northing"), "northing has no coordinate, so north is unknown"),
    "no x": (drop("easting"), "easting has no coordinate, so west is unknown"),
    "no time": (drop("init"), "init has no coordinate, so the issue time is unknown"),
    "no lead": (drop("step"), "step has no coordinate, so the lead time is unknown"),
    "degrees": (axis("northing", lambda v: v / 1e5, units="degrees_north"), "is in degrees_north, expected m or km"),
    "shifted": (axis("easting", lambda v: v + 500), "easting differs from the archive's by up to 0.5 grid cells"),
    "row numbers": (axis("northing", lambda v: np.arange(8.0)), "northing differs from the archive's"),
    "zigzag": (axis("northing", lambda v: v[[0, 2, 1, 3, 4, 5, 6, 7]]), "neither increases nor decreases"),
    "not finite": (axis("northing", lambda v: np.where(v == 0, np.inf, v)), "values that are not finite"),
    "constant x": (axis("easting", lambda v: v * 0), "neither increases nor decreases"),
    "order": (lambda d: d.transpose("step", "init", ...), "step, the first dimension, is no time"),
    "twice": (axis("init", lambda v: v[[0, 1, 1]]), "init has 2015-04-02T03:10 twice: keep one"),
    "unsorted": (axis("init", lambda v: v[[0, 2, 1]]), "not sorted, 2015-04-02T03:10 follows 2015-04-02T03:40: sort"),
    "no whole minutes": (axis("init", lambda v: v + np.timedelta64(20, "s")), "init has values that are no whole"),
    "NaT": (axis("init", lambda v: np.where(np.arange(3) == 1, np.datetime64("NaT"), v)), "number 1 is not a time"),
    "leads twice": (axis("step", lambda v: v - v % 12), "step has 12 min twice"),
    "leads unsorted": (axis("step", lambda v: v[::-1]), "step is not sorted, 114 min follows 120 min"),
    "other cadence": (axis("step", lambda v: v / 6 * 5), "missing, first 6 min; the file has 5 to 100 min"),
    "few leads": (lambda d: d.isel(step=slice(0, 12)), "8 of them are missing, first 78 min"),
    "other lead units": (axis("step", lambda v: v, units="furlongs"), "in 'furlongs', expected lead times"),
    "lead NaN": (axis("step", lambda v: np.where(v == 6, np.nan, v)), "step has values that are no whole minutes"),
    "projection": (with_crs(CRS.replace("22.3", "22.4")), r"\+lat_0 differs; interpolate"),
    "half a relation": (lambda d: d.assign_attrs(zr_a=200.0), "only one is there"),
    "bad relation": (lambda d: d.assign_attrs(zr_a=200.0, zr_b=0.0), "Z = a R"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_fit_is_refused_with_the_remedy(archive, tmp_path, fault):
    change, message = FAULTS[fault]
    data = change(foreign_dataset(archive, times(), np.zeros((3, 20, 8, 10))))
    path = save(data, tmp_path / "f.nc")
    with pytest.raises(ForecastFileError, match=message) as caught:
        ForecastFile(path, archive)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "units, value, message",
    [
        ("mm/h", -0.5, "rain of -0.5 mm/h, below 0: set negative values to 0"),
        ("mm/h", 6000, "rain of 6000 mm/h, above 5000: check the units"),
        ("mm/h", np.inf, "rain of inf mm/h, above"),
        ("1", 1.2, "a pixel of 1.2, above 1: check the units"),
        ("dBZ", 300, "reflectivity of 300 dBZ, above 100"),
    ],
)
def test_a_value_that_cannot_be_rain_is_named_with_its_forecast(archive, tmp_path, units, value, message):
    values = np.zeros((2, 20, 8, 10))
    values[1, 4, 5, 5] = value
    path = save(foreign_dataset(archive, times(2), values, units=units), tmp_path / "f.nc")
    with ForecastFile(path, archive) as file:
        file.read(START)
        with pytest.raises(ForecastFileError, match=f"f.nc: forecast issued 2015-04-02T03:10, lead 5: {message}"):
            file.read(START + 30)


def test_rounding_of_packed_values_is_no_error(archive, tmp_path):
    values = np.full((1, 20, 8, 10), 1 + 5e-7)
    values[0, 0] = -5e-7
    with ForecastFile(save(foreign_dataset(archive, times(1), values, units="1"), tmp_path / "f.nc"), archive) as file:
        found = file.read(START)
    assert (found[0].max(), found[1:].min()) == (0, 1)


def test_the_same_projection_spelled_differently(archive, tmp_path):
    for number, (proj, notes) in enumerate(
        (
            ("+proj=aeqd +lon_0=114.20 +lat_0=22.3000 +no_defs", 0),
            ('PROJCS["azimuthal"]', 1),
            ("", 1),
        )
    ):
        data = with_crs(proj)(foreign_dataset(archive, times(), np.zeros((3, 20, 8, 10))))
        with ForecastFile(save(data, tmp_path / f"{number}.nc"), archive) as file:
            assert len(file.layout.notes) == notes


def test_an_archive_without_coordinates(tmp_path):
    """Its coordinates count rows and columns, so only the direction of real ones is used."""
    create(str(tmp_path / "plain.zarr"), shape=(8, 10))
    plain = Archive(str(tmp_path / "plain.zarr"))
    values = np.zeros((1, 20, 8, 10))
    values[0, :, 0] = 20.0
    data = foreign_dataset(plain, times(1), values)
    metres = axis("easting", lambda v: 1e3 * v)(axis("northing", lambda v: 500 + 1e3 * v[::-1])(data))
    for number, (one, wet_row) in enumerate(((data, 0), (metres, 7))):
        with ForecastFile(save(one, tmp_path / f"{number}.nc"), plain) as file:
            assert np.flatnonzero(file.read(START)[0].any(axis=1)).tolist() == [wet_row]
    counted = data.assign_coords(northing=np.arange(8.0), easting=np.arange(10.0))
    with pytest.raises(
        ForecastFileError, match=r"northing counts from south to north, which may be meant as row numbers"
    ):
        ForecastFile(save(counted, tmp_path / "rows.nc"), plain)


def test_what_is_no_file_of_forecasts(archive, tmp_path, small_archive):
    with pytest.raises(FileNotFoundError, match=r"no file of forecasts at nowhere\.nc"):
        ForecastFile("nowhere.nc", archive)
    for name, data in (
        ("a.nc", b""),
        ("b.nc", b"\x89HDF\r\n\x1a\n"),
        ("c.nc", b"hello"),
        ("d.nc", b"CDF\x01" + b"\xff" * 40),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ForecastFileError, match=name):
            ForecastFile(tmp_path / name, archive)
    (tmp_path / "empty.zarr").mkdir()
    for path in (tmp_path / "empty.zarr", small_archive):
        with pytest.raises(ForecastFileError, match=str(path)):
            ForecastFile(path, archive)


# ---------------------------------------------------------------- damage and memory


def test_a_damaged_chunk_is_named(archive, tmp_path):
    path = tmp_path / "f.zarr"
    write(path, zip(times(), pixels(), strict=True), archive)
    chunk = path / "forecast/c/1/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 4
    chunk.write_bytes(data)
    with ForecastFile(path, archive) as file:
        assert file.read(START).any()
        with pytest.raises(
            ForecastFileError, match=r"f\.zarr is damaged or of another format \(.*checksum.*copy it again"
        ):
            file.read(START + 30)
    chunk.unlink()
    with ForecastFile(path, archive) as file:
        assert file.read(START + 30) == Missing("values are missing", "lead 1, 60 locations")


def test_a_damaged_netcdf_chunk_is_named(archive, tmp_path):
    path = tmp_path / "f.nc"
    write(path, zip(times(), pixels(), strict=True), archive)
    import h5py

    with h5py.File(path) as file:
        info = file["forecast"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[info.byte_offset + info.size // 2] ^= 4
    path.write_bytes(data)
    with ForecastFile(path, archive) as file:
        assert file.read(START).any()
        with pytest.raises(ForecastFileError, match=r"f\.nc is damaged or of another format \(.*: copy it again"):
            file.read(START + 30)


def test_chunks_of_many_issue_times_are_read_once_and_memory_is_flat(archive, tmp_path):
    count = 400
    data = foreign_dataset(archive, times(count), np.zeros((count, 20, 8, 10), np.float32))
    path = tmp_path / "f.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.to_zarr(path, encoding={"rain": {"chunks": (50, 20, 8, 10)}})
    with ForecastFile(path, archive) as file:
        file.read(START)
        reads, original = [], file._variable
        file._variable = type("Counted", (), {"__getitem__": lambda _, key: reads.append(key) or original[key]})()
        tracemalloc.start()
        for time in times(count).tolist():
            file.read(time)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(reads) == 7, "one for each chunk but the first, which was there"
    assert peak < 4 * 50 * 20 * 80 * 4


def claim(path, array, **changes):
    """Change the description of an array in the consolidated metadata of a store, which readers use."""
    described = path / "zarr.json"
    content = json.loads(described.read_text())
    content["consolidated_metadata"]["metadata"][array].update(changes)
    described.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "array, shape, message",
    [
        ("init", [10**12], "init has 1000000000000 values"),
        ("rain", [3, 20, 10**6, 10**5], "conflicting sizes"),
        ("rain", [3, 20, 8], "number of .*dimensions"),
    ],
)
def test_stores_that_claim_too_much(archive, tmp_path, array, shape, message):
    path = save(foreign_dataset(archive, times(), np.zeros((3, 20, 8, 10))), tmp_path / "f.zarr")
    claim(path, array, shape=shape)
    with pytest.raises(ForecastFileError, match=message):
        ForecastFile(path, archive)


def test_a_chunk_too_large_to_read_is_refused(archive, tmp_path):
    path = save(foreign_dataset(archive, times(), np.zeros((3, 20, 8, 10))), tmp_path / "f.zarr")
    claim(path, "rain", chunk_grid={"name": "regular", "configuration": {"chunk_shape": [10**4, 20, 80, 100]}})
    with pytest.raises(ForecastFileError, match=r"has chunks of 10000 x 20 x 80 x 100, expected at most"):
        ForecastFile(path, archive)
