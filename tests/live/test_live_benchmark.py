"""The benchmark of live runs, in small."""

import numpy as np
import pytest

from agents.benchmarks import live
from hko7env.archive import create
from tests.helpers.growing import levels


def test_memory_is_that_of_the_steps_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "EARLY", 3)
    monkeypatch.setattr(live, "LATE", 10)
    monkeypatch.setattr(live, "LEARNER", "tests.helpers.toys:learner")
    line = live.measure_memory(tmp_path)
    assert line["ratio"] == pytest.approx(line["bytes"] / line["early"], abs=1e-3)
    assert line["bytes"] > 1e7
    assert (tmp_path / "memory/steps.jsonl").read_text().count("\n") == 10


def test_latency_is_measured_at_every_step_but_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "LATENCY_STEPS", 3)
    source = create(tmp_path / "a.zarr", shape=(4, 8))
    source.append(range(0, 120, 6), levels(range(0, 120, 6)))
    line = live.measure_latency(source, "agents.last_frame", tmp_path / "run")
    assert line["steps"] == 3
    assert 0 < line["p50"] <= line["max"]


def test_runs_are_equal_in_every_number_or_they_are_not():
    kind = np.dtype([("index", "i8"), ("counts", "i4", (2,)), ("sums", "f8"), ("crc", "u4")])
    rows = np.array([(0, (1, 2), 0.5, 7), (1, (3, 4), 0.25, 8)], kind)
    assert live._equal(rows, rows.copy())
    assert not live._equal(rows, rows[:1])
    assert not live._equal(rows, np.concatenate([rows, rows[1:]]))
    for name in ("index", "counts", "sums"):
        other = rows.copy()
        other[name][1] += 1
        assert not live._equal(rows, other)
