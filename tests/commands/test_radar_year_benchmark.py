import json

import pytest

from agents.benchmarks import radar_year
from hko7env.importers import load_format

FRAMES = 1200


def test_an_import_is_killed_continued_and_its_memory_measured(command, monkeypatch):
    """Few frames: how much memory is no matter of a test, that all frames arrive and none is read twice is."""
    pytest.importorskip("h5netcdf")
    monkeypatch.setattr(radar_year, "FRAMES", FRAMES)
    monkeypatch.setattr(radar_year, "POLL", 0.01)
    done = command("benchmark", "radar-year")
    assert done.status == 0, done.err
    month, half, all_of_it = map(json.loads, done.out.splitlines())
    assert month["ratio"] == 1
    assert FRAMES // 12 <= month["frames"] <= half["frames"] < FRAMES
    assert all_of_it["frames"] == FRAMES
    assert all_of_it["frames found from before"] == half["frames"]
    assert min(line["bytes"] for line in (month, half, all_of_it)) > 1 << 24


def test_the_dataset_follows_the_specification(tmp_path):
    pytest.importorskip("h5netcdf")
    radar_year.write_dataset(tmp_path / "year.zarr", 30, 8)
    reader = load_format("mlcast")
    assert len(reader.times_of(tmp_path / "year.zarr")) == 30
    assert reader.grid(tmp_path / "year.zarr").cadence == 5
    assert reader.read_at(tmp_path / "year.zarr", 29).levels.any()
