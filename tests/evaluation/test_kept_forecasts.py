"""Forecasts kept in run folders: chosen by rule, the ones that were scored, whole after any stop."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

import hko7env.evaluation.jobs
from hko7env.archive import Archive
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.kept_forecasts import STORE, KeptForecasts, choose
from hko7env.evaluation.recording import Extras
from hko7env.evaluation.score import ScorePlan, score
from hko7env.loading import load
from hko7env.units import level
from tests.helpers.runs import ROOT, folder_of, plan, run_folder_of, stopped_after, unbroken

CHOSEN = [0, 4, 8, 12]


def kept_in(out):
    folder = run_folder_of(out)
    kept = KeptForecasts(folder.path, folder.run)
    return {index: kept.load(index) for index in kept.sequences()}


def expected_of(one):
    """The forecasts of an unbroken run, as levels."""
    env = one.environment()
    agent, found = load(one.agent, env.task, **one.options), {}
    observation, info = env.reset()
    over = False
    while not over:
        agent.store(observation)
        agent.update()
        forecast = agent.predict()
        found[info["sequence"]] = level(np.array(forecast))
        observation, _, over, _, info = env.step(forecast)
    return found


def assert_kept(out, one, chosen=CHOSEN):
    kept, expected = kept_in(out), expected_of(one)
    assert list(kept) == chosen
    for index in chosen:
        np.testing.assert_array_equal(kept[index], expected[index])


def test_the_choice_is_evenly_spread():
    assert choose(13, 4) == CHOSEN
    assert choose(13, 1) == [0]
    assert choose(3, 9) == [0, 1, 2]


@pytest.mark.parametrize("online, workers", [(True, 1), (False, 1), (False, 2)])
@pytest.mark.parametrize("agent", ["tests.helpers.toys:learner", "agents.last_frame"])
def test_what_is_kept_is_what_was_scored(small_archive, tmp_path, agent, online, workers):
    one = plan(small_archive, agent, online)
    row = evaluate(one, tmp_path, extras=Extras(forecasts=4), workers=workers)
    assert row.tally == unbroken(one)
    assert_kept(tmp_path, one)
    size = sum(file.stat().st_size for file in (folder_of(tmp_path) / STORE).rglob("*") if file.is_file())
    assert size < 4 * 20 * 48 * 64 + 20_000, "no more than the levels"


def test_a_forecast_of_no_rain_is_kept_too(small_archive, tmp_path, monkeypatch):
    monkeypatch.setattr("agents.last_frame.LastFrame.predict", lambda self: np.zeros(self._shape, np.float32))
    one = plan(small_archive, "agents.last_frame", online=False)
    evaluate(one, tmp_path, extras=Extras(forecasts=4))
    assert all(levels is not None and not levels.any() for levels in kept_in(tmp_path).values())


@pytest.mark.parametrize("agent, online", [("tests.helpers.toys:learner", True), ("tests.helpers.toys", False)])
def test_they_can_be_added_to_a_finished_run(small_archive, tmp_path, agent, online):
    one = plan(small_archive, agent, online)
    row = evaluate(one, tmp_path)
    again = evaluate(one, tmp_path, extras=Extras(forecasts=4))
    assert again.tally == row.tally
    assert_kept(tmp_path, one)
    assert sorted(run_folder_of(tmp_path).records()["index"]) == list(range(13)), "no tally is recorded twice"


def test_nothing_is_forecast_again_that_is_kept(small_archive, tmp_path, monkeypatch):
    one = plan(small_archive, "agents.last_frame", online=False)
    evaluate(one, tmp_path, extras=Extras(forecasts=4))
    chunk = folder_of(tmp_path) / STORE / "forecast/c/2/0/0/0"
    data = chunk.read_bytes()
    begun = []
    original = hko7env.evaluation.jobs.run
    monkeypatch.setattr(
        hko7env.evaluation.jobs,
        "run",
        lambda *a, options, **k: begun.append(options) or original(*a, options=options, **k),
    )
    evaluate(one, tmp_path, extras=Extras(forecasts=4))
    assert begun == []
    for damage in (data[:-1], b"", data[:9] + bytes([data[9] ^ 1]) + data[10:]):
        chunk.write_bytes(damage)
        evaluate(one, tmp_path, extras=Extras(forecasts=4))
        assert begun.pop() == {"start": 8, "stop": 9}
    chunk.unlink()
    evaluate(one, tmp_path, extras=Extras(forecasts=4))
    assert begun == [{"start": 8, "stop": 9}]
    assert_kept(tmp_path, one)


@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_run_stopped_at_every_point_keeps_the_same(small_archive, tmp_path, checkpoint_seconds):
    one = plan(small_archive, "tests.helpers.toys:learner")

    for stop in range(1, 13, 2):
        with stopped_after(stop):
            evaluate(one, tmp_path, checkpoint_seconds=checkpoint_seconds, extras=Extras(forecasts=4))
    row = evaluate(one, tmp_path, extras=Extras(forecasts=4))
    assert row.tally == unbroken(one)
    assert_kept(tmp_path, one)


def test_sigkill_while_a_forecast_is_written_loses_nothing(small_archive, tmp_path):
    """The process dies with half a chunk on the disk, or with a whole one and no tally."""
    one = plan(small_archive, "tests.helpers.toys:learner")
    code = (
        "import os, sys; from pathlib import Path; from zarr.storage import _local;"
        "from hko7env.evaluation.evaluate import evaluate;"
        "from hko7env.evaluation.plan import Plan; from hko7env.evaluation.recording import Extras;"
        "when, put = sys.argv[3], _local._put\n"
        "def dying(path, value, *more, **words):\n"
        "    if 'forecast' not in path.parts or 'c' not in path.parts: return put(path, value, *more, **words)\n"
        "    if when == 'half': path.parent.mkdir(parents=True, exist_ok=True)\n"
        "    if when == 'half': path.with_suffix('.abc.partial').write_bytes(value.to_bytes()[:50])\n"
        "    else: put(path, value, *more, **words)\n"
        "    os.kill(os.getpid(), 9)\n"
        "_local._put = dying\n"
        "evaluate(Plan('tests.helpers.toys:learner', True, sys.argv[1]), Path(sys.argv[2]), checkpoint_seconds=0,"
        " extras=Extras(forecasts=4))"
    )
    for when in ("half", "whole", "half", "whole"):
        words = [sys.executable, "-c", code, str(small_archive), str(tmp_path), when]
        killed = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert evaluate(one, tmp_path, extras=Extras(forecasts=4)).tally == unbroken(one)
    assert_kept(tmp_path, one)
    assert not list(tmp_path.rglob("*.partial"))


def test_the_store_is_a_file_of_forecasts(small_archive, tmp_path):
    pytest.importorskip("xarray")
    one = plan(small_archive, "agents.last_frame", online=False)
    row = evaluate(one, tmp_path / "own", extras=Extras(forecasts=13))
    scored = score(ScorePlan(folder_of(tmp_path / "own") / STORE, str(small_archive)), tmp_path / "scored")
    assert not scored.missing
    np.testing.assert_array_equal(scored.result.tally.hits, row.tally.hits)  # last frame forecasts levels
    assert Archive(str(small_archive)).shape == kept_in(tmp_path / "own")[3].shape[1:]


def test_stores_that_cannot_be_used(small_archive, tmp_path):
    one = plan(small_archive, "agents.last_frame", online=False)
    evaluate(one, tmp_path / "a", extras=Extras(forecasts=4))
    with pytest.raises(
        RunError, match=r"forecasts.zarr keeps forecasts of 4 sequences, 5 are asked for: ask for as many"
    ):
        evaluate(one, tmp_path / "a", extras=Extras(forecasts=5))
    other = plan(small_archive, "agents.last_frame", online=True)
    evaluate(other, tmp_path / "b")
    shutil.copytree(folder_of(tmp_path / "a") / STORE, folder_of(tmp_path / "b") / STORE)
    with pytest.raises(RunError, match=r"forecasts.zarr is damaged \(it belongs to another run\): remove it"):
        evaluate(other, tmp_path / "b", extras=Extras(forecasts=4))
    for text in ("", "{}", "[]"):
        (folder_of(tmp_path / "b") / STORE / "zarr.json").write_text(text)
        with pytest.raises(RunError, match=r"forecasts.zarr is damaged .*: remove it"):
            evaluate(other, tmp_path / "b", extras=Extras(forecasts=4))
    shutil.rmtree(folder_of(tmp_path / "b") / STORE)
    evaluate(other, tmp_path / "b", extras=Extras(forecasts=4))
    assert_kept(tmp_path / "b", other)
    with pytest.raises(ValueError, match="forecasts must be at least 0"):
        Extras(forecasts=-1)


def test_forecasts_that_cannot_be_repeated_are_not_kept(small_archive, tmp_path, monkeypatch):
    one = plan(small_archive, "agents.last_frame", online=False)
    evaluate(one, tmp_path)
    from agents.last_frame import LastFrame

    predict = LastFrame.predict
    monkeypatch.setattr(LastFrame, "predict", lambda self: predict(self) * np.float32(0.5))
    with pytest.raises(RunError, match="the forecast of sequence 0 is not the one that was scored"):
        evaluate(one, tmp_path, extras=Extras(forecasts=4))
