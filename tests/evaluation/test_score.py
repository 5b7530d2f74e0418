"""Scored files of forecasts: the tallies of an evaluation, missing sequences, resumption and damaged run folders."""

import json
import shutil

import numpy as np
import pytest

import hko7env.evaluation.score
from hko7env.archive import Archive
from hko7env.evaluation.diagnostics import DiagnosticsFolder
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.kept_forecasts import KeptForecasts
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.recording import Extras
from hko7env.evaluation.score import ScorePlan, score
from hko7env.forecast_files import ForecastFileError, write
from hko7env.report.reading import read_comparisons
from hko7env.scores import COUNTS, ERRORS, averages
from tests.helpers.forecasts import forecasts_of
from tests.helpers.runs import folder_of, run_folder_of

pytest.importorskip("h5netcdf")


@pytest.fixture(scope="module")
def archive(small_archive):
    return Archive(str(small_archive))


@pytest.fixture(scope="module")
def persistence(small_archive):
    return list(forecasts_of(small_archive, "agents.last_frame"))


def planned(path, small_archive, **more):
    return ScorePlan(path, str(small_archive), **more)


@pytest.mark.parametrize("agent", ["agents.last_frame", "agents.rover"])
@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_forecasts_that_went_through_a_file_have_the_tallies_of_their_agent(
    small_archive, archive, tmp_path, agent, suffix
):
    path = tmp_path / f"made elsewhere{suffix}"
    assert write(path, forecasts_of(small_archive, agent), archive) == 13
    scored = score(planned(path, small_archive), tmp_path / "results")
    own = evaluate(Plan(agent, False, str(small_archive)), tmp_path / "own")
    assert scored.result.tally == own.tally
    assert (scored.result.agent, scored.result.setting, scored.missing) == ("made elsewhere", "external", {})
    assert (scored.result.data, scored.result.episodes) == (own.data, own.episodes)
    here, there = run_folder_of(tmp_path / "results").records(), run_folder_of(tmp_path / "own").records()
    np.testing.assert_array_equal(np.sort(here, order="index")["sums"], np.sort(there, order="index")["sums"])
    names = {p.name for p in folder_of(tmp_path / "results").iterdir()}
    assert names >= {p.name for p in folder_of(tmp_path / "own").iterdir()} | {"missing.json"}


@pytest.mark.parametrize("units", ["dBZ", "mm/h", "kg m-2 s-1"])
def test_other_units_move_a_score_by_rounding_only(small_archive, archive, tmp_path, units):
    path = tmp_path / "f.zarr"
    write(path, forecasts_of(small_archive, "agents.rover"), archive, units=units)
    scored = score(planned(path, small_archive), tmp_path / "results").result.tally
    own = evaluate(Plan("agents.rover", False, str(small_archive)), tmp_path / "own").tally
    for name in ERRORS:
        np.testing.assert_allclose(getattr(scored, name), getattr(own, name), rtol=1e-5)
    for name in COUNTS:  # a pixel within 1e-6 of a threshold may change its side
        np.testing.assert_allclose(getattr(scored, name), getattr(own, name), atol=2)


def lacking(persistence, *, gone):
    """The forecasts without those of the indices ``gone``."""
    for index, (time, forecast) in enumerate(persistence):
        if index not in gone:
            yield time, forecast


def test_missing_sequences_are_listed_and_not_scored(small_archive, archive, persistence, tmp_path):
    path = tmp_path / "f.zarr"
    write(path, lacking(persistence, gone=(0, 7, 12)), archive)
    scored = score(planned(path, small_archive), tmp_path / "results")
    assert list(scored.missing) == [0, 7, 12]
    assert scored.result.tally.sequences == 10
    assert sorted(run_folder_of(tmp_path / "results").records()["index"]) == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    listed = json.loads((folder_of(tmp_path / "results") / "missing.json").read_text())["missing"]
    assert [row["sequence"] for row in listed] == [0, 7, 12]
    assert listed[0] == {
        "sequence": 0, "issue_time": "2015-05-20T00:24", "reason": "no forecast of this issue time", "where": "",
    }  # fmt: skip
    # a second call reads the results
    again = score(planned(path, small_archive), tmp_path / "results")
    assert (again.missing, again.result.tally) == (scored.missing, scored.result.tally)
    # and the rest is what an evaluation has
    evaluate(Plan("agents.last_frame", False, str(small_archive)), tmp_path / "own")
    own = run_folder_of(tmp_path / "own").records()
    assert own[~np.isin(own["index"], [0, 7, 12])]["counts"].sum(axis=0)[0].sum() == scored.result.tally.hits.sum()


def test_a_hole_in_what_may_be_scored_makes_a_sequence_missing(small_archive, archive, persistence, tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "f.zarr"
    write(path, persistence, archive)
    values = zarr.open_group(path)["forecast"]
    inside = tuple(np.argwhere(archive.scored)[5])
    values[3, 19, *map(int, inside)] = np.nan
    values[4, 2] = np.nan
    if (~archive.scored).any():
        outside = tuple(map(int, np.argwhere(~archive.scored)[0]))
        values[5, 0, *outside] = np.nan
    scored = score(planned(path, small_archive), tmp_path / "results")
    assert scored.missing[3] == ("values are missing", "lead 20, 1 locations")
    assert scored.missing[4] == ("values are missing", f"lead 3, {archive.scored.sum()} locations")
    assert set(scored.missing) == {3, 4}
    assert np.isfinite(averages(scored.result.tally)["b_mse"])


def test_a_file_without_any_whole_forecast(small_archive, archive, persistence, tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "f.zarr"
    write(path, persistence[:2], archive)
    zarr.open_group(path)["forecast"][:, 5] = np.nan
    with pytest.raises(ForecastFileError, match=r"has no whole forecast: values are missing, lead 6, \d+ locations"):
        score(planned(path, small_archive), tmp_path / "results")


def test_issue_times_of_another_time(small_archive, archive, persistence, tmp_path):
    path = tmp_path / "f.zarr"
    write(path, [(time + 6, forecast) for time, forecast in persistence], archive)
    with pytest.raises(
        ForecastFileError, match=r"from 2015-05-20T00:30 .* issued from 2015-05-20T00:24 .*newest frame"
    ):
        score(planned(path, small_archive), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_stopped_run_goes_on_where_it_was(small_archive, archive, persistence, tmp_path, monkeypatch):
    path = tmp_path / "f.nc"
    write(path, lacking(persistence, gone=(2,)), archive)
    whole = score(planned(path, small_archive), tmp_path / "whole")
    original, read = hko7env.evaluation.score.ForecastFile.read, []

    class Stop(Exception):
        pass

    def stopping(self, time):
        if len(read) in (3, 4, 9):
            read.append(None)
            raise Stop
        read.append(time)
        return original(self, time)

    monkeypatch.setattr(hko7env.evaluation.score.ForecastFile, "read", stopping)
    for _ in range(3):
        with pytest.raises(Stop):
            score(planned(path, small_archive), tmp_path / "broken")
        assert not (folder_of(tmp_path / "broken") / "complete.json").exists()
    scored = score(planned(path, small_archive), tmp_path / "broken")
    times = [time for time in read if time is not None]
    assert len(set(times)) == len(times) == 12, "no sequence is scored twice"
    assert scored.result.tally == whole.result.tally
    assert scored.missing == whole.missing
    assert folder_of(tmp_path / "broken").name == folder_of(tmp_path / "whole").name


def test_what_can_move_a_score_makes_another_run(small_archive, archive, persistence, tmp_path):
    path, other = tmp_path / "f.zarr", tmp_path / "g.zarr"
    write(path, persistence, archive)
    write(other, persistence[1:], archive)
    copied = tmp_path / "elsewhere" / "f.zarr"
    shutil.copytree(path, copied)
    plans = [
        planned(path, small_archive),
        planned(other, small_archive, name="f"),
        planned(path, small_archive, name="other"),
        planned(path, small_archive, limit=5),
        planned(copied, small_archive),
    ]
    names = [score(one, tmp_path / "results").folder.name for one in plans]
    assert len(set(names)) == 4
    assert names[0] == names[4], "where the file lies does not matter"
    assert score(plans[3], tmp_path / "results").result.tally.sequences == 5


def test_a_file_that_changes_meanwhile_is_not_scored(small_archive, archive, persistence, tmp_path, monkeypatch):
    path = tmp_path / "f.nc"
    write(path, persistence, archive)
    original = hko7env.evaluation.score.ForecastFile.read

    def touching(self, time):
        path.touch()
        return original(self, time)

    with monkeypatch.context() as patch:
        patch.setattr(hko7env.evaluation.score.ForecastFile, "read", touching)
        with pytest.raises(ForecastFileError, match="was changed while it was scored"):
            score(planned(path, small_archive), tmp_path / "results")
    assert not (folder_of(tmp_path / "results") / "complete.json").exists()
    assert len(run_folder_of(tmp_path / "results").records()) == 0, "whose tallies they are is not known"
    assert score(planned(path, small_archive), tmp_path / "results").result.tally.sequences == 13


def test_a_file_that_changes_before_a_stop_leaves_no_tally(small_archive, archive, persistence, tmp_path, monkeypatch):
    path = tmp_path / "f.nc"
    write(path, persistence, archive)
    original, calls = hko7env.evaluation.score.ForecastFile.read, []

    def stopping(self, time):
        calls.append(time)
        if len(calls) == 3:
            path.touch()
            raise KeyboardInterrupt
        return original(self, time)

    monkeypatch.setattr(hko7env.evaluation.score.ForecastFile, "read", stopping)
    with pytest.raises(KeyboardInterrupt):
        score(planned(path, small_archive), tmp_path / "results")
    assert len(run_folder_of(tmp_path / "results").records()) == 0


def test_what_is_kept_is_what_an_evaluation_keeps(small_archive, archive, persistence, tmp_path):
    path = tmp_path / "f.zarr"
    write(path, lacking(persistence, gone=(4,)), archive)
    extras = Extras(frozenset({"diagnostics"}), 3, 4)
    evaluate(Plan("agents.last_frame", False, str(small_archive)), tmp_path / "own", extras=extras)
    whole = score(planned(path, small_archive), tmp_path / "whole", extras=extras)
    score(planned(path, small_archive), tmp_path / "later")
    later = score(planned(path, small_archive), tmp_path / "later", extras=extras)
    assert later.result.tally == whole.result.tally
    assert list(later.missing) == list(whole.missing) == [4]
    assert sorted(run_folder_of(tmp_path / "later").records()["index"]) == [0, 1, 2, 3, *range(5, 13)], "once each"
    folders = [run_folder_of(tmp_path / name) for name in ("own", "whole", "later")]
    own, *others = ([DiagnosticsFolder(f.path, f.run), KeptForecasts(f.path, f.run)] for f in folders)
    for diagnostics, kept in others:
        assert diagnostics.indices() == [0, 3, 6, 9, 12]
        assert all(diagnostics.load(index) == own[0].load(index) for index in diagnostics.indices())
        assert kept.sequences() == [0, 4, 8, 12]
        assert kept.load(4) is None
        for index in (0, 8, 12):
            np.testing.assert_array_equal(kept.load(index), own[1].load(index))


def test_runs_are_compared_only_where_the_same_sequences_are_missing(small_archive, archive, persistence, tmp_path):
    out = tmp_path / "results"
    evaluate(Plan("agents.last_frame", False, str(small_archive)), out)
    for name, gone in (("a", (1, 9)), ("b", (1, 9)), ("c", (1,)), ("whole", ())):
        write(tmp_path / f"{name}.zarr", lacking(persistence, gone=gone), archive)
        score(planned(tmp_path / f"{name}.zarr", small_archive), out / name)
    (together,) = read_comparisons([out / "a", out / "b"])
    assert {run.name for run in together.runs} == {"a", "b"}
    assert together.index.tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]
    (whole,) = read_comparisons([out, out / "whole"])
    assert {run.agent for run in whole.runs} == {"agents.last_frame", "whole"}
    assert whole.runs[0].shown_command.startswith("hko7env ")
    for others in ("c", "whole"):
        with pytest.raises(
            RunError, match=rf"a/a-external-test-.* lacks forecasts that .*{others}.* has, of sequences"
        ):
            read_comparisons([out / "a", out / others])
    listed = folder_of_runs(out / "a") / "missing.json"
    listed.unlink()
    with pytest.raises(RunError, match="has sound records of 11 of 13 sequences"):
        read_comparisons([out / "a"])


def test_a_damaged_list_of_missing_sequences_is_not_read(small_archive, archive, persistence, tmp_path):
    path = tmp_path / "f.nc"
    write(path, lacking(persistence, gone=(1,)), archive)
    score(planned(path, small_archive), tmp_path)
    listed = folder_of_runs(tmp_path) / "missing.json"
    for text in ("", "[]", "{}", '{"run": "x", "missing": []}', listed.read_text().replace('"sequence": 1', '"s": 1')):
        listed.write_text(text)
        with pytest.raises(RunError, match=r"missing.json is damaged .*: remove it and .*complete.json"):
            score(planned(path, small_archive), tmp_path)
    listed.unlink()
    (listed.parent / "complete.json").unlink()
    assert list(score(planned(path, small_archive), tmp_path).missing) == [1], "the remedy helps"


def folder_of_runs(out):
    (folder,) = (p for p in out.iterdir() if p.is_dir())
    return folder


@pytest.mark.parametrize(
    "words, message", [({"limit": 0}, "limit must be at least 1"), ({"name": "a/b"}, "a name has")]
)
def test_a_plan_that_cannot_be(tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        ScorePlan(tmp_path / "f.nc", **words)
