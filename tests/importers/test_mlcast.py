"""Datasets by the mlcast specification; the fixture has the layout of RADKLIM, whose original cannot be read here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from hko7env.archive import Archive
from hko7env.importers import RadarImportError, import_radar
from hko7env.importers.formats import cf
from tests.helpers.mlcast_files import START, dataset, served, write_store
from tests.helpers.plain_decoders import level_of

pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 11, 9  # RADKLIM: 1100 x 900


@pytest.fixture
def amounts():
    """Seven frames of mm in 5 minutes; NaN in the northern row, and once more where a radar failed."""
    values = np.random.default_rng(1).gamma(0.2, 0.5, (7, HEIGHT, WIDTH)).astype(np.float32).round(2)
    values[:, 0] = np.nan
    values[5, 3, 2] = np.nan
    return values


def levels_of(mm_per_hour):
    return np.where(np.isnan(mm_per_hour), 0, level_of(np.nan_to_num(mm_per_hour))).astype(np.uint8)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("chunk", [1, 3])
def test_a_dataset_like_radklim(tmp_path, amounts, zarr_format, chunk):
    """Amounts in float32, x and y in km, gaps in missing_times, any chunk length."""
    data = dataset(amounts, missing=(2, 4), south_up=chunk == 3)
    source = write_store(data, tmp_path / "radklim.zarr", zarr_format=zarr_format, chunk=chunk)
    archive, problems = import_radar("mlcast", source, tmp_path / "a.zarr")
    assert (problems, archive.cadence, archive.shape) == ([], 5, (HEIGHT, WIDTH))
    assert archive.times.tolist() == [START + 5 * i for i in (0, 1, 3, 5, 6, 7, 8)]
    np.testing.assert_array_equal(archive.frames(0, 7), levels_of(amounts.astype(float) * 12))
    np.testing.assert_array_equal(archive.mask[:, 0], [2] + [0] * (HEIGHT - 1))
    assert archive.status.tolist() == [0, 0, 0, 0, 0, 1, 0], "one of 90 locations without data is more than 1 %"
    np.testing.assert_allclose(archive.y, -4.6e6 + 1000 * np.arange(HEIGHT)[::-1])
    np.testing.assert_allclose(archive.x, -4.43e5 + 1000 * np.arange(WIDTH))
    assert archive.crs.startswith("PROJCS")
    assert archive.attributes["licence"] == "CC-BY-4.0"
    assert "kg m-2 by 5 min to mm/h" in archive.attributes["conversion"]


@pytest.mark.parametrize(
    "name, units, to_rate",
    [
        ("rainfall_flux", "kg m-2 h-1", lambda value: value),
        ("precipitation_flux", "mm h-1", lambda value: value),
        ("rainfall_flux", "mm/h", lambda value: value),
        ("rainfall_amount", "mm", lambda value: value * 6),
        ("precipitation_amount", "kg m-2", lambda value: value * 6),
        ("equivalent_reflectivity_factor", "dBZ", lambda value: (10 ** (value / 10) / 200) ** (1 / 1.6)),
    ],
)
def test_every_variable_of_the_specification(tmp_path, name, units, to_rate):
    values = np.zeros((2, HEIGHT, WIDTH))
    values[:, 3, 4], values[:, 5, 6] = 20.0, 7.5
    data = dataset(values, step=10, about={"standard_name": name, "units": units})
    source = write_store(data.rename(rainfall_amount=name), tmp_path / "in.zarr")
    frame = import_radar("mlcast", source, tmp_path / "a.zarr")[0].frames(0, 1)[0]
    assert [frame[3, 4], frame[5, 6]] == [level_of(to_rate(20.0)), level_of(to_rate(7.5))]


def test_metres_and_kilometres_are_the_same_grid(tmp_path, amounts):
    grids = []
    for length, spacing in (("km", 1.0), ("m", 1000.0)):
        data = dataset(amounts, spacing=spacing, length=length)
        if length == "m":
            data = data.assign_coords(
                y=("y", -4.6e6 + 1000 * np.arange(HEIGHT)[::-1], data.y.attrs),
                x=("x", -4.43e5 + 1000 * np.arange(WIDTH), data.x.attrs),
            )
        archive, _ = import_radar("mlcast", write_store(data, tmp_path / f"{length}.zarr"), tmp_path / f"{length}.a")
        grids.append((archive.y, archive.x))
    np.testing.assert_allclose(grids[0][0], grids[1][0])
    np.testing.assert_allclose(grids[0][1], grids[1][1])


def test_packed_integers_are_unpacked(tmp_path, amounts):
    packed = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 0.0, "_FillValue": -1}
    for fmt in (2, 3):
        source = write_store(dataset(amounts), tmp_path / f"{fmt}.zarr", zarr_format=fmt, **packed)
        archive, _ = import_radar("mlcast", source, tmp_path / f"{fmt}.archive")
        np.testing.assert_array_equal(archive.frames(0, 7), levels_of(amounts.astype(float).round(2) * 12))
        assert (archive.mask[0] == 2).all()


def test_frames_before_the_regular_time_step_are_left_out(tmp_path, amounts):
    data = dataset(amounts, consistent_timestep_start="2020-06-01T00:15:00Z")
    times = data.time.values.copy()
    times[:3] -= np.timedelta64(15, "m") * np.arange(3, 0, -1)
    source = write_store(data.assign_coords(time=("time", times, {"standard_name": "time"})), tmp_path / "in.zarr")
    archive, _ = import_radar("mlcast", source, tmp_path / "a.zarr")
    assert archive.times.tolist() == [START + 5 * i for i in range(3, 7)]
    np.testing.assert_array_equal(archive.frames(0, 4), levels_of(amounts[3:].astype(float) * 12))
    assert "from 2020-06-01T00:15:00Z on" in archive.attributes["conversion"]


def broken(change, **options):
    def make(amounts):
        return change(dataset(amounts, **options))

    return make


def _about(**attributes):
    return lambda data: data.assign(rainfall_amount=data.rainfall_amount.assign_attrs(attributes))


def _times(minutes):
    stamps = (START + np.array(minutes)).astype("datetime64[m]").astype("datetime64[ns]")
    return lambda data: data.assign_coords(time=("time", stamps))


@pytest.mark.parametrize(
    "make, message",
    [
        (broken(_about(units="inch")), "rainfall_amount is rainfall_amount in 'inch', expected one of mm, kg m-2"),
        (broken(_about(standard_name="rainfall_flux")), "rainfall_flux in 'kg m-2', expected one of mm/h"),
        (broken(_about(standard_name="snowfall_amount")), "the standard name 'snowfall_amount', expected one of rain"),
        (broken(_about(standard_name=None)), "has the standard name None, expected"),
        (broken(_times([0, 5, 10, 15, 30, 45, 60])), "its time step varies from 5 to 15 min"),
        (broken(_times([0, 5, 12, 15, 20, 25, 30])), "its time step varies from 3 to 7 min"),
        (broken(_times([0, 5, 10, 15, 20, 25, 20])), "its times do not increase"),
        (broken(lambda data: data.isel(time=slice(1))), "one frame does not show its time step"),
        (broken(lambda data: data.transpose("time", "x", "y", ...)), "x is x: expected (time, y, x)"),
        (broken(lambda data: data.drop_vars("x")), "dimension x has no coordinate"),
        (broken(lambda data: data.assign(other=data.rainfall_amount)), "several variables are rain or reflectivity"),
        (broken(lambda data: data.drop_vars("rainfall_amount")), "no variable over (time, y, x)"),
        (broken(lambda data: data, length="degrees_east"), "is in degrees_east, expected m or km"),
        (broken(lambda data: data, consistent_timestep_start="soon"), "attribute consistent_timestep_start is 'soon'"),
        (broken(lambda data: data, consistent_timestep_start="2021-01-01"), "after the last time"),
        (broken(_times([0, 5, 10, 15, 20, 25, 30]), missing=(2,)), "missing_times has 2020-06-01T00:10"),
        (broken(lambda data: data - 1), "rain below 0 mm/h"),
        (broken(lambda data: data * 1e6), "which no radar measures"),
    ],
)
def test_what_breaks_the_specification_is_named(tmp_path, amounts, make, message):
    data = make(amounts)
    if "rainfall_amount" in data and not data.rainfall_amount.attrs:  # arithmetic drops them
        data.rainfall_amount.attrs = dataset(amounts).rainfall_amount.attrs
    if "rainfall_amount" in data:
        source = write_store(data, tmp_path / "in.zarr")
    else:
        source = tmp_path / "in.zarr"
        data.to_zarr(source, zarr_format=2)
    with pytest.raises(RadarImportError) as caught:
        import_radar("mlcast", source, tmp_path / "a.zarr")
    assert message in str(caught.value)
    assert "in.zarr" in str(caught.value)


def test_rates_need_no_listed_gaps(tmp_path, amounts):
    """A gap that is not listed is a gap all the same, and a rate does not depend on it."""
    rates = {"standard_name": "rainfall_flux", "units": "mm/h"}
    data = _times([0, 5, 10, 20, 25, 40, 45])(dataset(amounts, about=rates).rename(rainfall_amount="rainfall_flux"))
    archive, _ = import_radar("mlcast", write_store(data, tmp_path / "in.zarr"), tmp_path / "a.zarr")
    assert (len(archive), archive.cadence) == (7, 5)


# ---------------------------------------------------------------- torn and growing stores


def chunk_of(source, number):
    return next(path for path in source.rglob(f"rainfall_amount/{number}*") if path.is_file())


def test_a_missing_chunk_of_nan_is_no_dry_weather(tmp_path, amounts):
    source = write_store(dataset(amounts), tmp_path / "in.zarr")
    chunk_of(source, 3).unlink()
    archive, _ = import_radar("mlcast", source, tmp_path / "a.zarr")
    assert archive.status.tolist() == [0, 0, 0, 1, 0, 1, 0]


def test_a_missing_chunk_of_zeros_is_no_dry_weather(tmp_path, amounts):
    source = write_store(dataset(amounts), tmp_path / "in.zarr", zarr_format=3, fill_value=np.float32(0))
    assert zarr.open_group(source)["rainfall_amount"].fill_value == 0
    (source / "rainfall_amount" / "c" / "3" / "0" / "0").unlink()
    with pytest.raises(RadarImportError, match=r"frame 3, cannot be read \(it is 0 everywhere"):
        import_radar("mlcast", source, tmp_path / "a.zarr")
    archive, problems = import_radar("mlcast", source, tmp_path / "b.zarr", keep_going=True)
    assert (len(archive), len(problems)) == (6, 1)
    assert START + 15 not in archive.times


def test_a_torn_chunk_is_named(tmp_path, amounts):
    source = write_store(dataset(amounts), tmp_path / "in.zarr")
    chunk = chunk_of(source, 3)
    chunk.write_bytes(chunk.read_bytes()[:20])
    with pytest.raises(RadarImportError, match="frame 3, cannot be read"):
        import_radar("mlcast", source, tmp_path / "a.zarr")


def test_a_store_that_grew_continues(tmp_path, amounts):
    source, rates = tmp_path / "in.zarr", {"standard_name": "rainfall_flux", "units": "mm/h"}
    data = dataset(amounts, about=rates)
    write_store(data.isel(time=slice(4)), source)
    assert len(import_radar("mlcast", source, tmp_path / "a.zarr")[0]) == 4
    data.isel(time=slice(4, None)).drop_vars("crs").to_zarr(source, append_dim="time", zarr_format=2)
    archive, _ = import_radar("mlcast", source, tmp_path / "a.zarr")
    np.testing.assert_array_equal(archive.frames(0, 7), levels_of(amounts.astype(float)))


def test_a_period_of_a_store_and_then_a_later_one(tmp_path, amounts):
    source = write_store(dataset(amounts), tmp_path / "in.zarr")
    for period, frames in ((("2020-06-01", "2020-06-01T00:15"), 3), (("2020-06-01T00:15", "2020-06-02"), 7)):
        archive, _ = import_radar("mlcast", source, tmp_path / "a.zarr", period=period)
        assert archive.times.tolist() == [START + 5 * i for i in range(frames)]
    for period, message in (
        (("2021-01-01", "2022-01-01"), "lies in the period"),
        (("2021-01-01", "2021-01-01"), "begins before it ends"),
        (("soon", "2021-01-01"), "two times such as"),
    ):
        with pytest.raises(RadarImportError, match=message):
            import_radar("mlcast", source, tmp_path / "b.zarr", period=period)


def test_workers_read_the_same(tmp_path, amounts):
    source = write_store(dataset(amounts), tmp_path / "in.zarr", chunk=2)
    one, _ = import_radar("mlcast", source, tmp_path / "one.zarr")
    two, _ = import_radar("mlcast", source, tmp_path / "two.zarr", workers=2)
    assert one.fingerprint == two.fingerprint


def test_a_store_is_opened_once(tmp_path, amounts, monkeypatch):
    """Opening takes far longer than reading a frame."""
    source, opened = write_store(dataset(amounts), tmp_path / "in.zarr"), []
    original = cf.open_dataset
    monkeypatch.setattr(cf, "open_dataset", lambda place: opened.append(place) or original(place))
    import_radar("mlcast", source, tmp_path / "a.zarr")
    assert len(opened) == 1


@given(st.integers(1, 8), st.integers(1, 40), st.booleans())
@settings(max_examples=10)
def test_no_chunk_length_changes_a_frame(tmp_path_factory, chunk, seed, south_up):
    folder = tmp_path_factory.mktemp("chunks")
    values = np.random.default_rng(seed).gamma(0.3, 1.0, (7, 4, 5)).astype(np.float32)
    source = write_store(dataset(values, south_up=south_up), folder / "in.zarr", chunk=chunk)
    archive, _ = import_radar("mlcast", source, folder / "a.zarr")
    np.testing.assert_array_equal(archive.frames(0, 7), levels_of(values.astype(float) * 12))


# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_is_read_over_http(tmp_path, amounts, zarr_format):
    pytest.importorskip("aiohttp")
    source = write_store(dataset(amounts), tmp_path / "in.zarr", zarr_format=zarr_format)
    local, _ = import_radar("mlcast", source, tmp_path / "local.zarr")
    with served(tmp_path) as (url, _):
        remote, _ = import_radar("mlcast", f"{url}/in.zarr", tmp_path / "remote.zarr")
        with pytest.raises(RadarImportError, match=r"there is no zarr store at http.*check the URL"):
            import_radar("mlcast", f"{url}/other.zarr", tmp_path / "b.zarr")
    assert remote.fingerprint == local.fingerprint


def test_a_lost_connection_stops_the_import_and_can_be_continued(tmp_path, amounts, monkeypatch):
    """Also with keep_going, because frames that are left out could not be added later."""
    pytest.importorskip("aiohttp")
    write_store(dataset(amounts), tmp_path / "in.zarr")
    monkeypatch.setattr("hko7env.importers.importing.BATCH_FRAMES", 2)
    with served(tmp_path) as (url, _):
        original = cf.RainDataset.frame

        def fail(self, number):
            if number == 5:
                raise ConnectionResetError("reset by peer")
            return original(self, number)

        with monkeypatch.context() as patch:
            patch.setattr(cf.RainDataset, "outside", property(lambda self: np.isnan(amounts[0])))
            patch.setattr(cf.RainDataset, "frame", fail)
            with pytest.raises(RadarImportError, match=r"reset by peer.*the same command continues"):
                import_radar("mlcast", f"{url}/in.zarr", tmp_path / "a.zarr", keep_going=True)
        assert len(Archive(str(tmp_path / "a.zarr"))) == 4
        archive, _ = import_radar("mlcast", f"{url}/in.zarr", tmp_path / "a.zarr")
    assert len(archive) == 7


def test_a_missing_package_of_a_url_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(RadarImportError, match=r"needs a package that is not installed.*s3fs"):
        import_radar("mlcast", "s3://bucket/a.zarr", tmp_path / "a.zarr")


def test_missing_xarray_is_named(tmp_path, amounts, monkeypatch):
    source = write_store(dataset(amounts), tmp_path / "in.zarr")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(RadarImportError, match=r"pip install 'hko7env\[xarray\]'"):
        import_radar("mlcast", source, tmp_path / "a.zarr")


def test_a_format_of_files_refuses_a_url(tmp_path):
    with pytest.raises(RadarImportError, match=r"copy http://127\.0\.0\.1/x here"):
        import_radar("fmi", "http://127.0.0.1/x", tmp_path / "a.zarr")


def test_s3_with_an_endpoint_from_the_environment(tmp_path, amounts):
    """The command of docs/mlcast.md, against an object store on this machine."""
    pytest.importorskip("s3fs")
    (tmp_path / "bucket").mkdir()
    write_store(dataset(amounts), tmp_path / "bucket" / "in.zarr")
    with served(tmp_path) as (url, requests):
        options = f'{{"anon": true, "endpoint_url": "{url}"}}'
        words = ["archive", "import", "mlcast", "s3://bucket/in.zarr", "--out", "a.zarr"]
        done = subprocess.run(
            [sys.executable, "-m", "hko7env", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "FSSPEC_S3": options},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert "7 frames, 0 files left out" in done.stdout
    assert any(path.startswith("/bucket/in.zarr") for path in requests)


def test_a_folder_of_stores(tmp_path, amounts):
    folder, rates = tmp_path / "years", {"standard_name": "rainfall_flux", "units": "mm/h"}
    data = dataset(amounts, about=rates)
    for i, part in enumerate((slice(4), slice(4, None))):
        write_store(data.isel(time=part), folder / f"{i}.zarr")
    archive, _ = import_radar("mlcast", folder, tmp_path / "a.zarr")
    assert len(archive) == 7
    shutil.rmtree(folder)
