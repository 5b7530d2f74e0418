"""An exported archive is the same archive when it is imported again; other programs read it as rain rates."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from hko7env.archive import Archive, create
from hko7env.archive.errors import ArchiveError
from hko7env.archive.format import minutes
from hko7env.export import ExportConfig, export_archive, writing
from hko7env.export.layout import missing_times, rain_table
from hko7env.importers import RadarImportError, import_radar
from hko7env.importers.archive_facts import FACTS
from hko7env.units import ZR

pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
KINDS = {"zarr 3": ("e.zarr", "3", "mlcast"), "zarr 2": ("e.zarr", "2", "mlcast"), "netCDF": ("e.nc", "3", "cf")}
START = minutes("2021-07-01T00:00")


def archive_of(path, frames, *, steps=None, status=None, **options):
    archive = create(str(path), shape=frames.shape[1:], cadence=5, **options)
    steps = np.arange(len(frames)) if steps is None else np.asarray(steps)
    archive.append(START + 5 * steps, frames, status)
    return archive


@pytest.fixture
def rich(tmp_path):
    """All 256 levels everywhere, gaps, a suspect frame, every code of the mask, splits, a Z-R relation of its own."""
    frames = np.stack([np.roll(np.arange(256, dtype=np.uint8), 7 * i).reshape(16, 16) for i in range(7)])
    mask = np.zeros((16, 16), np.uint8)
    mask[0], mask[1, :4] = 2, 1
    return archive_of(
        tmp_path / "rich.archive",
        frames,
        steps=[0, 1, 2, 5, 6, 9, 10],
        status=[0, 0, 0, 0, 1, 0, 0],
        mask=mask,
        x=1000.0 * np.arange(16) + 0.1,
        y=-1000.0 * np.arange(16),
        crs="+proj=aeqd +lat_0=46.1 +lon_0=14.8 +units=m",
        zr=ZR(200.0, 1.6),
        source="a radar",
        licence="CC BY 4.0",
        splits={"test": [("2021-07-01T00:00", "2021-07-01T00:20")], "empty": []},
        attributes={"denoised": {"threshold": 3.5, "names": ["a", "ü"]}},
    )


def export_and_import(archive, folder, kind, **options):
    name, version, fmt = KINDS[kind]
    broken = export_archive(archive, folder / name, ExportConfig(zarr_format=version, **options))
    again, problems = import_radar(fmt, folder / name, folder / "again.archive")
    assert problems == []
    return again, broken


def assert_same(again, archive):
    assert again.fingerprint == archive.fingerprint
    assert again.attributes == archive.attributes
    assert (again.crs, again.splits, again.zr) == (archive.crs, archive.splits, archive.zr)
    for name in ("times", "status", "mask", "x", "y"):
        np.testing.assert_array_equal(getattr(again, name), getattr(archive, name))
    np.testing.assert_array_equal(again.frames(0, len(again)), archive.frames(0, len(archive)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_archive_comes_back(rich, tmp_path, kind):
    again, _ = export_and_import(rich, tmp_path, kind)
    assert_same(again, rich)
    assert {path.name for path in tmp_path.iterdir() if "partial" in path.name} == set()


@settings(max_examples=8)
@given(st.data())
def test_any_archive_comes_back(tmp_path_factory, data):
    folder, draw = tmp_path_factory.mktemp("any"), data.draw
    n, height, width = draw(st.integers(1, 7)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    frames = dice.integers(0, 256, (n, height, width)).astype(np.uint8) * dice.integers(0, 2, (n, 1, 1), np.uint8)
    mask = dice.integers(0, 3, (height, width)).astype(np.uint8)
    mask[0, 0] = 0
    archive = archive_of(
        folder / "a.archive",
        frames,
        steps=np.cumsum(dice.integers(1, 4, n)),
        status=dice.integers(0, 2, n),
        mask=mask,
        zr=ZR(draw(st.floats(20, 500)), draw(st.floats(1.1, 2.5))),
    )
    again, _ = export_and_import(archive, folder, draw(st.sampled_from(sorted(KINDS))))
    assert_same(again, archive)


@given(st.floats(10, 1000), st.floats(1.0, 3.0))
def test_every_level_has_its_rain_rate(a, b):
    archive = type("Stub", (), {"zr": ZR(a, b), "name": "an archive"})
    table = rain_table(archive)
    assert table[0] == 0
    assert (np.diff(table) > 0).all()


def test_levels_that_rain_rates_cannot_tell_apart_are_refused(tmp_path):
    archive = archive_of(tmp_path / "a.archive", np.zeros((1, 4, 4), np.uint8), zr=ZR(10.0, 0.05))
    with pytest.raises(ValueError, match="rain rates do not distinguish all levels"):
        export_archive(archive, tmp_path / "e.zarr")


@given(st.lists(st.integers(1, 5), min_size=0, max_size=12))
def test_frames_and_missing_times_are_all_times(steps):
    times = 5 * np.cumsum([0, *steps])
    archive = type("Stub", (), {"times": times, "cadence": 5})
    both = np.concatenate([times, missing_times(archive)])
    assert sorted(both.tolist()) == list(range(0, int(times[-1]) + 1, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_read_rain_rates(rich, tmp_path, kind):
    """As the specification says, and NaN wherever nothing is known."""
    import xarray

    name, version, _ = KINDS[kind]
    export_archive(rich, tmp_path / name, ExportConfig(zarr_format=version))
    opened = xarray.open_dataset(tmp_path / name, engine="h5netcdf" if name == "e.nc" else "zarr")
    with opened as data:
        assert set(data.data_vars) == {"rainfall_flux", "crs"}, "all else is a coordinate"
        rain = data.rainfall_flux
        assert rain.dims == ("time", "y", "x")
        assert rain.dtype == np.float32
        assert rain.attrs["units"] == "kg m-2 h-1"
        assert data.time.values[3] == np.datetime64("2021-07-01T00:25")
        gaps = [np.datetime64("2021-07-01T00:00") + np.timedelta64(5 * i, "m") for i in (3, 4, 7, 8)]
        assert data.missing_times.values.tolist() == np.array(gaps, "datetime64[ns]").tolist()
        frames = rich.frames(0, 7)
        expected = np.where(frames == 0, 0, rich.zr.rates[frames])
        expected[np.broadcast_to(rich.mask == 2, frames.shape) & (frames == 0)] = np.nan
        expected[4][frames[4] == 0] = np.nan
        assert np.isnan(expected[4][rich.mask != 2]).sum() == 1
        np.testing.assert_allclose(rain.values, expected, rtol=1e-6)
        assert rain.encoding.get("chunks", rain.encoding.get("chunksizes")) == (1, 16, 16)
        assert data.attrs["license"] == "CC-BY-4.0"
        assert data.attrs["consistent_timestep_start"] == "2021-07-01T00:00"


def test_without_the_facts_the_rain_is_imported(rich, tmp_path):
    """A program that keeps rain and coordinates only still makes a dataset that can be imported."""
    export_archive(rich, tmp_path / "e.zarr")
    group = zarr.open_group(tmp_path / "e.zarr")
    del group.attrs[FACTS]
    _consolidate(group)
    archive, _ = import_radar("mlcast", tmp_path / "e.zarr", tmp_path / "b.archive")
    assert archive.cadence == 5
    assert archive.zr == ZR()
    np.testing.assert_array_equal(archive.times, rich.times)
    frame, again = rich.frames(0, 1)[0], archive.frames(0, 1)[0]
    wet = frame > 60
    np.testing.assert_allclose(archive.zr.rates[again[wet]], rich.zr.rates[frame[wet]], rtol=0.03)


def _consolidate(group):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(group.store)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda facts: facts | {"version": 2}, "has version 2, this hko7env reads 1"),
        (lambda facts: {k: v for k, v in facts.items() if k != "zr_a"}, "is damaged .KeyError"),
        (lambda facts: facts | {"zr_b": -1}, "is damaged .ValueError"),
        (lambda facts: facts | {"splits": [1]}, "is damaged .AttributeError"),
        (lambda facts: [], "is damaged .TypeError"),
    ],
)
def test_damaged_facts_are_named(rich, tmp_path, change, message):
    export_archive(rich, tmp_path / "e.zarr")
    group = zarr.open_group(tmp_path / "e.zarr")
    group.attrs[FACTS] = json.dumps(change(json.loads(group.attrs[FACTS])))
    _consolidate(group)
    with pytest.raises(RadarImportError, match=message):
        import_radar("mlcast", tmp_path / "e.zarr", tmp_path / "b.archive")


# ---------------------------------------------------------------- stopped, refused


class Stop(Exception):
    """The writer was stopped."""


@pytest.mark.parametrize(
    "kind, after", [("netCDF", 5), *((kind, after) for kind in ("zarr 3", "zarr 2") for after in (0, 5, 10))]
)
def test_a_stopped_export_leaves_no_half_file_and_continues(tmp_path, monkeypatch, kind, after):
    name, version, fmt = KINDS[kind]
    archive = archive_of(tmp_path / "a.archive", np.random.default_rng(3).integers(0, 256, (17, 4, 5)).astype(np.uint8))
    monkeypatch.setattr(writing, "BATCH_FRAMES", 5)
    read, written = [], []

    def stop(frames):
        written.append(frames)
        if sum(written) >= after and len(written) > 1:
            raise Stop

    with pytest.raises(Stop):
        export_archive(archive, tmp_path / name, ExportConfig(zarr_format=version), step=stop)
    assert not (tmp_path / name).exists()
    original = writing.rain_rates
    monkeypatch.setattr(writing, "rain_rates", lambda *words: read.append(words[2:]) or original(*words))
    done = []
    export_archive(archive, tmp_path / name, ExportConfig(zarr_format=version), step=done.append)
    assert sum(done) == 17
    if name == "e.zarr":
        assert read[0][0] == max(after, 5), "frames that were written are kept"
    again, _ = import_radar(fmt, tmp_path / name, tmp_path / "b.archive")
    assert again.fingerprint == archive.fingerprint
    assert not list(tmp_path.glob(".*partial*"))


@pytest.mark.parametrize("version", ["3", "2"])
def test_frames_of_an_unfinished_batch_are_written_again(tmp_path, monkeypatch, version):
    """A killed writer leaves some of them, in any order."""
    archive = archive_of(tmp_path / "a.archive", np.random.default_rng(3).integers(0, 256, (17, 4, 5)).astype(np.uint8))
    monkeypatch.setattr(writing, "BATCH_FRAMES", 5)

    def stop(frames):
        if frames:
            raise Stop

    with pytest.raises(Stop):
        export_archive(archive, tmp_path / "e.zarr", ExportConfig(zarr_format=version), step=stop)
    folder = tmp_path / ".e.zarr.partial" / "rainfall_flux"
    folder = folder / "c" if version == "3" else folder
    for number in ("5", "6"):
        shutil.copytree(folder / "0", folder / number)
    export_archive(archive, tmp_path / "e.zarr", ExportConfig(zarr_format=version))
    again, _ = import_radar("mlcast", tmp_path / "e.zarr", tmp_path / "b.archive")
    assert again.fingerprint == archive.fingerprint


@pytest.mark.parametrize("change", ["archive", "version", "licence", "torn"])
def test_a_partial_store_of_other_content_is_begun_anew(rich, tmp_path, change):
    other = archive_of(tmp_path / "o.archive", np.full((7, 16, 16), 9, np.uint8))

    def stop(frames):
        raise Stop

    before = other if change == "archive" else rich
    config = {"version": ExportConfig(zarr_format="2"), "licence": ExportConfig(licence="CC0-1.0")}.get(change)
    with pytest.raises(Stop):
        export_archive(before, tmp_path / "e.zarr", config, step=stop)
    if change == "torn":
        (tmp_path / ".e.zarr.partial" / "zarr.json").write_text("{")
    again, _ = export_and_import(rich, tmp_path, "zarr 3")
    assert_same(again, rich)
    assert zarr.open_group(tmp_path / "e.zarr").attrs["license"] == "CC-BY-4.0"


def test_what_exists_is_never_replaced(rich, tmp_path):
    (tmp_path / "e.nc").write_text("precious")
    with pytest.raises(FileExistsError, match="choose another name"):
        export_archive(rich, tmp_path / "e.nc")
    assert (tmp_path / "e.nc").read_text() == "precious"


def test_other_suffixes_and_empty_archives_are_refused(rich, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.zarr or \.nc, got"):
        export_archive(rich, tmp_path / "e.h5")
    with pytest.raises(ValueError, match="holds no frame"):
        export_archive(create(str(tmp_path / "none.archive"), shape=(4, 4)), tmp_path / "e.zarr")


def test_a_damaged_frame_stops_the_export(rich, tmp_path):
    chunk = Path(rich.name) / "pixel" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(ArchiveError, match="frames 5 to 6"):
        export_archive(Archive(rich.name), tmp_path / "e.nc")
    assert not list(tmp_path.glob("*e.nc"))


def test_large_splits_fit_into_netcdf(tmp_path):
    """HKO-7's rainy days are hundreds of ranges, and HDF5 keeps 64 KiB of attributes in the header."""
    days = np.arange("2009-01-01", "2015-01-01", 2, "datetime64[D]").astype(str)
    ranges = [(f"{day}T00:00", f"{day}T12:00") for day in days.tolist()]
    splits = {"train": ranges, "again": ranges}
    archive = archive_of(tmp_path / "a.archive", np.zeros((2, 4, 4), np.uint8), splits=splits)
    again, _ = export_and_import(archive, tmp_path, "netCDF")
    assert again.splits == archive.splits


@pytest.mark.parametrize("kind", KINDS)
def test_cf_attributes_of_a_projection_come_back(tmp_path, kind):
    """As an import keeps them where a dataset has neither a PROJ string nor WKT."""
    crs = {"grid_mapping_name": "lambert_conformal_conic", "standard_parallel": [46.0, 47.0]}
    archive = archive_of(tmp_path / "a.archive", np.ones((2, 4, 4), np.uint8), crs=json.dumps(crs, sort_keys=True))
    again, _ = export_and_import(archive, tmp_path, kind)
    assert_same(again, archive)
    with pytest.importorskip("xarray").open_dataset(
        tmp_path / KINDS[kind][0], engine="h5netcdf" if kind == "netCDF" else "zarr"
    ) as data:
        assert data.crs.attrs["grid_mapping_name"] == crs["grid_mapping_name"]
        assert np.asarray(data.crs.attrs["standard_parallel"]).tolist() == [46.0, 47.0]


def test_real_radar_comes_back(shared, tmp_path):
    """Slovenia's first hours: gaps, suspect frames, hidden cells."""
    folder = shared / "arso"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    day = sorted(path for path in folder.rglob("*") if path.is_dir() and any(path.glob("*.webp")))[0]
    source = tmp_path / "in" / day.relative_to(folder)
    source.mkdir(parents=True)
    for path in sorted(day.glob("*.webp"))[:12]:
        (source / path.name).symlink_to(path)
    archive, _ = import_radar("arso", tmp_path / "in", tmp_path / "arso.zarr")
    again, _ = export_and_import(archive, tmp_path, "zarr 3")
    assert_same(again, archive)
