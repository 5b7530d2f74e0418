"""Live runs in one process, with a simulated clock; ``formats`` is none where the files do not matter."""

import json
import os
import re
import shutil

import numpy as np
import pytest

from hko7env.archive import create
from hko7env.commands.main import main
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.run_folder import RunFolder
from hko7env.live_run.agent_run import AgentRun, folders
from hko7env.live_run.results import write_results
from hko7env.live_run.service import LiveOptions, LivePlan, serve
from hko7env.report.sections import headline, provenance
from tests.helpers.growing import Radar, levels

LEARNER, MOODY, LAST = "tests.helpers.toys:learner", "tests.helpers.toys:moody", "agents.last_frame"
AGENTS = {LEARNER: {}, MOODY: {}, LAST: {}}
MINUTES = [m for m in range(0, 660, 6) if m not in (30, 36, 300, 306, 312, 318, 480)]  # two episodes, short gaps


@pytest.fixture
def radar(tmp_path):
    return Radar(tmp_path / "growing.zarr")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "growing.zarr"
    create(path, shape=(4, 8)).append(MINUTES, levels(MINUTES))
    return path


def run(archive, out, agents=AGENTS, stopped=bool, radar=None, **options):
    settings = LiveOptions(**{"timeout": 0.0, "poll": 300.0, "formats": "none"} | options)
    simulated = {"clock": radar.clock, "sleep": radar.sleep} if radar else {}
    return serve(LivePlan(agents, str(archive), options=settings), out, stopped=stopped, **simulated)


@pytest.fixture(scope="module")
def unbroken(finished, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken") / "live"
    assert run(finished, out) == "ended"
    return out


def records(out):
    """Of each agent: sorted (step, counts, sums) of its journals."""
    found = {}
    for path in folders(out):
        rows = RunFolder.open(path).records()
        assert len(np.unique(rows["index"])) == len(rows), "nothing is counted twice"
        found[path.name.partition("-live")[0]] = rows[np.argsort(rows["index"])][["index", "counts", "sums"]].tolist()
    return found


def assert_same(out, expected, agents=None):
    found, wanted = records(out), records(expected)
    if agents is None:
        assert found.keys() == wanted.keys()
    for agent in agents or wanted:
        assert len(found[agent]) == len(wanted[agent]) > 0
        for a, b in zip(found[agent], wanted[agent], strict=True):
            assert a[0] == b[0]
            np.testing.assert_array_equal(a[1], b[1])
            np.testing.assert_array_equal(a[2], b[2])


def health(out):
    return json.loads((out / "health.json").read_text())


def test_frame_by_frame(radar, tmp_path):
    radar.plan({m: m + 2 for m in range(0, 210, 6) if m != 36})
    out = tmp_path / "live"
    assert run(radar.store, out, {LAST: {}}, radar=radar, timeout=3600.0, formats="both") == "ended"
    facts = health(out)
    assert facts["status"] == "ended"
    assert facts["last_frame"] == "1970-01-01T03:24"
    assert facts["last_frame_age_seconds"] == pytest.approx(62 * 60, abs=400)
    assert facts["steps"] == 7
    assert facts["memory_bytes"] > 1e7
    one = facts["agents"][LAST]
    assert (one["forecasts"], one["late"], one["missing"], one["scored"], one["pending"]) == (7, 0, 0, 3, 4)
    assert one["last_issue_time"] == "1970-01-01T03:24"
    assert 0 <= one["latency_seconds"]["p50"] <= 300
    files = sorted(p.name for p in (out / "forecasts" / LAST).iterdir())
    assert files[:2] == ["19700101T0024.nc", "19700101T0024.zarr"]
    assert len(files) == 14


def test_forecast_files_are_read_by_xarray(finished, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    out = tmp_path / "live"
    run(finished, out, {LAST: {}}, formats="both", keep_days=1)
    stem = out / "forecasts" / LAST / "19700101T0024"
    with (
        xarray.open_dataset(f"{stem}.nc", engine="h5netcdf", decode_timedelta=False) as one,
        xarray.open_dataset(f"{stem}.zarr", engine="zarr", consolidated=False, decode_timedelta=False) as other,
    ):
        for data in (one, other):
            assert data["issue_time"].values.tolist() == np.array(["1970-01-01T00:24"], "M8[ns]").tolist()
            assert data["lead"].values.tolist() == list(range(6, 126, 6))
            assert dict(data["rain_rate"].sizes) == {"issue_time": 1, "lead": 20, "y": 4, "x": 8}
            assert data["rain_rate"].attrs["units"] == "mm/h"
            expected = levels([24])[0] / np.float32(255) * 70 - 10
            np.testing.assert_allclose(data["reflectivity"].values[0, 3], expected, atol=1e-4)
            assert float(data.attrs["seconds_to_forecast"]) >= 0
        np.testing.assert_array_equal(one["rain_rate"], other["rain_rate"])


def test_results_are_those_of_the_evaluation_of_the_finished_archive(finished, unbroken, tmp_path):
    for _ in range(2):  # a second call changes nothing
        results = {r.agent: r for r in write_results(unbroken, tmp_path / "results")}
        for agent in (LAST, MOODY):
            expected = evaluate(Plan(agent, True, str(finished)), tmp_path / "evaluated")
            assert results[agent].tally == expected.tally
            assert results[agent].episodes == expected.episodes == 2


def test_a_learner_has_the_scores_of_the_evaluation_within_an_episode(tmp_path):
    """In later episodes it has learned from sequences that the official walk leaves out."""
    archive, out = tmp_path / "one.zarr", tmp_path / "live"
    create(archive, shape=(4, 8)).append(MINUTES[:48], levels(MINUTES[:48]))
    run(archive, out, {LEARNER: {}})
    (found,) = write_results(out, tmp_path / "results")
    assert found.tally == evaluate(Plan(LEARNER, True, str(archive)), tmp_path / "evaluated").tally
    assert found.tally.sequences == 6


def test_the_report_compares_a_live_run_with_evaluations(finished, unbroken, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("hko7env.report.report_page.SECTIONS", (headline.make, provenance.make))  # which draw nothing
    results = tmp_path / "results"
    assert main(["live-results", str(unbroken), "--out", str(results)]) == 0
    assert re.search(rf"\| {LAST} +\| live +\|", capsys.readouterr().out)
    evaluate(Plan(LAST, True, str(finished)), results)
    assert main(["report", str(results), "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "live = online" in page
    assert main(["report", str(unbroken), "--out", str(tmp_path / "none.html")]) == 1
    assert "hko7env live-results" in capsys.readouterr().err


class Killed(BaseException):
    """Ends a process wherever it is; nothing catches it."""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_writes_it_ends_with_the_same_tallies(finished, unbroken, tmp_path, monkeypatch, seed):
    """Each process dies at some write to the disk, before the data are there; the last one may finish."""
    rng, out, sync = np.random.default_rng(seed), tmp_path / "live", os.fsync
    for _ in range(8):
        left = int(rng.integers(1, 60))

        def dying(number):
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            sync(number)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(os, "fsync", dying)
            run(finished, out)
            raise Killed
    assert run(finished, out) == "ended"
    assert_same(out, unbroken)


def test_a_stop_ends_after_the_step_and_the_next_process_continues(finished, unbroken, tmp_path):
    out, asked = tmp_path / "live", iter([False, False, False, True, True, True])
    assert run(finished, out, stopped=lambda: next(asked)) == "stopped"
    facts = health(out)
    assert facts["status"] == "stopped"
    assert {one["forecasts"] for one in facts["agents"].values()} == {facts["steps"]}
    assert 0 < facts["steps"] < 10
    assert run(finished, out) == "ended"
    assert_same(out, unbroken)


def test_frames_that_come_while_it_is_down_are_caught_up_with_and_late(tmp_path, unbroken):
    archive, out = tmp_path / "growing.zarr", tmp_path / "live"
    half = len(MINUTES) // 2
    grown = create(archive, shape=(4, 8))
    grown.append(MINUTES[:half], levels(MINUTES[:half]))
    assert run(archive, out) == "ended"
    grown.append(MINUTES[half:], levels(MINUTES[half:]))
    assert run(archive, out) == "ended"
    assert_same(out, unbroken)
    one = health(out)["agents"][LAST]
    assert one["late"] == one["forecasts"] - 1, "all but the newest; that of the first process is before a gap"


@pytest.mark.parametrize("how", ["raises", "range"])
def test_an_agent_that_fails_misses_a_step_and_the_others_go_on(finished, unbroken, tmp_path, how):
    broken = "tests.helpers.toys:liar" if how == "range" else "tests.helpers.toys:make"
    options = {"fail_at": 2} | ({"label": "range"} if how == "range" else {})
    out = tmp_path / "live"
    assert run(finished, out, {broken: options, LAST: {}}) == "ended"
    facts = health(out)["agents"]
    assert facts[LAST]["missing"] == 0
    assert facts[broken]["missing"] > 0
    error = health(out)["errors"][0]
    assert "step 2, issued 1970-01-01T01:24" in error["where"]
    assert ("the toy is broken" if how == "raises" else "a forecast lies in [0, 1]") in error["error"]
    assert_same(out, unbroken, [LAST])
    results = {r.agent: r.tally.sequences for r in write_results(out, tmp_path / "results")}
    assert results[LAST] == results[broken] < len(records(out)[LAST])


def test_a_failing_learner_goes_on_from_its_last_state_also_after_a_restart(finished, tmp_path):
    failing = {"tests.helpers.failing:make": {}}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(finished, whole, failing) == "ended"
    assert health(whole)["agents"]["tests.helpers.failing:make"]["missing"] == 2
    for calls in (3, 9, 2):
        asked = iter([False] * calls + [True] * 5)
        run(finished, parts, failing, stopped=lambda asked=asked: next(asked, True))
    assert run(finished, parts, failing) == "ended"
    assert_same(parts, whole)


def test_a_kill_in_the_first_step_leaves_the_step_to_the_next_process(finished, unbroken, tmp_path, monkeypatch):
    """The last of the agents never ends its first step, in three processes."""
    out = tmp_path / "live"
    original = AgentRun.take

    def dying(self, step, segment):
        if self.name == LAST:
            raise Killed
        original(self, step, segment)

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(AgentRun, "take", dying)
            run(finished, out)
    assert run(finished, out) == "ended"
    assert_same(out, unbroken)


def test_an_agent_that_joins_later_begins_there(finished, tmp_path):
    out, asked = tmp_path / "live", iter([False, False, False, False, True, True, True])
    run(finished, out, {LAST: {}}, stopped=lambda: next(asked))
    done = health(out)["steps"]
    assert run(finished, out, {LAST: {}, LEARNER: {}}) == "ended"
    found = health(out)["agents"]
    assert found[LEARNER]["forecasts"] == found[LAST]["forecasts"] - done
    assert records(out)[LEARNER.replace(":", ".")][0][0] == done


def test_a_damaged_pending_forecast_is_named_and_not_scored(tmp_path):
    archive, out = tmp_path / "growing.zarr", tmp_path / "live"
    grown = create(archive, shape=(4, 8))
    grown.append(range(0, 60, 6), levels(range(0, 60, 6)))
    run(archive, out, {LAST: {}})
    (pending,) = folders(out)
    victim = sorted((pending / "pending").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:-3])
    grown.append(range(60, 300, 6), levels(range(60, 300, 6)))
    assert run(archive, out, {LAST: {}}) == "ended"
    assert [row[0] for row in records(out)[LAST]][:2] == [1, 2]
    assert "pending forecast is damaged" in health(out)["errors"][0]["error"]


def test_old_forecast_files_are_removed(tmp_path):
    archive, out = tmp_path / "growing.zarr", tmp_path / "live"
    times = [*range(0, 60, 6), *range(2880, 2910, 6)]
    create(archive, shape=(4, 8)).append(times, levels(times))
    run(archive, out, {LAST: {}}, formats="zarr", keep_days=1)
    assert [p.name for p in (out / "forecasts" / LAST).iterdir()] == ["19700103T0024.zarr"]


def test_it_waits_for_an_archive_to_be_made(tmp_path, radar):
    radar.plan({m: m for m in range(0, 60, 6)})
    late = tmp_path / "late.zarr"
    radar.at(70, lambda: shutil.copytree(radar.store, late))
    assert run(late, tmp_path / "live", {LAST: {}}, radar=radar, timeout=7200.0) == "ended"
    assert health(tmp_path / "live")["steps"] == 2
    assert run(tmp_path / "never.zarr", tmp_path / "other", {LAST: {}}) == "ended"
    assert health(tmp_path / "other")["steps"] == 0


def test_what_is_refused(finished, unbroken, tmp_path):
    out = tmp_path / "live"
    shutil.copytree(unbroken, out)
    with pytest.raises(RunError, match="another cleaned"):
        run(finished, out, cleaned=True)
    other = tmp_path / "other.zarr"
    create(other, shape=(4, 8), cadence=5).append([0], levels([0]))
    with pytest.raises(RunError, match="another archive"):
        run(other, out)
    assert health(out)["status"] == "failed"
    with pytest.raises(ValueError, match="keep_days"):
        LiveOptions(keep_days=0)
    with pytest.raises(ValueError, match="poll"):
        LiveOptions(poll=0.0)
    log = out / "steps.jsonl"
    log.write_text(log.read_text().replace('"step": 3', '"step": 4'))
    with pytest.raises(RunError, match=r"steps\.jsonl is damaged"):
        run(finished, out)
    log.write_text("{not json}\n")
    with pytest.raises(RunError, match=r"steps\.jsonl is damaged"):
        run(finished, out)
    with pytest.raises(RunError, match="holds no live run"):
        write_results(tmp_path, tmp_path / "results")
    with pytest.raises(RunError, match="no sequence that all"):
        run(finished, tmp_path / "new", {LAST: {}}, stopped=lambda: True)
        write_results(tmp_path / "new", tmp_path / "results")
