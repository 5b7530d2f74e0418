"""Which runs can be compared, how they are named, and what is said about folders that cannot be used."""

import json
import re
import shutil

import numpy as np
import pytest

from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.report.reading import read_comparisons
from hko7env.scores import averages
from tests.helpers.report_runs import days, forecasts, observed, write_run, write_runs
from tests.helpers.runs import folder_of, plan


def test_runs_are_ranked_and_have_short_names(tmp_path):
    write_runs(tmp_path, {"agents.poor": 0.3, "agents.good": 0.8})
    (comparison,) = read_comparisons([tmp_path])
    assert [run.name for run in comparison.runs] == ["good", "poor"]
    errors = [float(averages(run.tally)["b_mse"]) for run in comparison.runs]
    assert errors == sorted(errors)
    assert len(comparison.index) == len(days(12))
    assert comparison.bootstrap.blocks == 12
    assert comparison.minutes.tolist() == list(range(6, 121, 6))
    assert (comparison.issued - comparison.schedule.starts == 24).all()


def test_names_tell_settings_options_and_versions_apart(tmp_path):
    walk = days(3)
    seen = observed(len(walk))
    for number, (setting, options, code) in enumerate(
        [("offline", {"n": 1}, "c"), ("online", {"n": 1}, "c"), ("online", {"n": 2}, "c"), ("online", {"n": 2}, "d")]
    ):
        parts = forecasts(seen, 0.5, number)
        write_run(tmp_path, "agents.a", walk, *parts, setting=setting, options=options, code=code * 64)
    (comparison,) = read_comparisons([tmp_path])
    names = {run.name for run in comparison.runs}
    assert {"a offline", "a online (n 1)"} < names
    assert len(names) == 4
    assert sum(bool(re.fullmatch(r"a online \(n 2\) \[[0-9a-f]{6}\]", name)) for name in names) == 2


def test_settings_that_agree_in_every_tally_are_one_row(tmp_path):
    walk = days(3)
    parts = forecasts(observed(len(walk)), 0.5, 0)
    for setting in ("offline", "online"):
        write_run(tmp_path, "agents.a", walk, *parts, setting=setting)
    (comparison,) = read_comparisons([tmp_path])
    (run,) = comparison.runs
    assert (run.name, run.settings, len(run.same)) == ("a", "offline = online", 1)


def test_runs_of_other_data_stand_apart(tmp_path):
    write_runs(tmp_path, {"agents.a": 0.5, "agents.b": 0.6})
    write_runs(tmp_path, {"agents.a": 0.5}, archive="b" * 64)
    write_runs(tmp_path, {"agents.a": 0.5}, walk=days(2))
    assert sorted(len(comparison.runs) for comparison in read_comparisons([tmp_path])) == [1, 1, 2]


def test_a_real_run_is_read_as_it_was_scored(small_archive, tmp_path):
    for online in (True, False):
        row = evaluate(plan(small_archive, "agents.last_frame", online), tmp_path)
    (comparison,) = read_comparisons([tmp_path])
    (run,) = comparison.runs
    assert run.tally == row.tally
    assert np.array_equal(run.counts.sum(axis=0)[0], row.tally.hits)
    assert comparison.episode.tolist() == [0] * 8 + [1] * 5
    assert comparison.data["shape"] == [48, 64]
    assert run.shown_command.startswith("hko7env evaluate agents.last_frame --env o")
    assert str(small_archive) in run.shown_command


def test_the_command_of_a_run_names_its_options(small_archive, tmp_path):
    evaluate(plan(small_archive, online=False, delay=0.0, loud=False, label="a b"), tmp_path)
    (comparison,) = read_comparisons([tmp_path])
    assert "--delay 0.0 --no-loud --label 'a b' --env offline" in comparison.runs[0].shown_command


def test_a_run_without_its_times_says_how_to_get_them(small_archive, tmp_path):
    """As run folders of earlier versions are."""
    one = plan(small_archive, "agents.last_frame")
    evaluate(one, tmp_path)
    (folder_of(tmp_path) / "sequences.csv").unlink()
    with pytest.raises(RunError, match=r"lacks sequences.csv.*complete it with `hko7env evaluate agents.last_frame"):
        read_comparisons([tmp_path])
    evaluate(one, tmp_path)
    assert len(read_comparisons([tmp_path])) == 1


# ---------------------------------------------------------------- what cannot be compared


def test_an_incomplete_run_is_listed_beside_complete_ones(tmp_path):
    walk = days(3)
    seen = observed(len(walk))
    write_run(tmp_path, "agents.a", walk, *forecasts(seen, 0.5, 0))
    write_run(tmp_path, "agents.b", walk, *forecasts(seen, 0.5, 1), finished=False)
    (comparison,) = read_comparisons([tmp_path])
    assert [run.name for run in comparison.runs] == ["a"]
    (stopped,) = comparison.incomplete
    assert stopped.lacks == f"was interrupted after {len(walk)} of {len(walk)} sequences"
    assert stopped.command.startswith("hko7env evaluate agents.b ")


def test_an_incomplete_run_of_other_data_is_listed_too(tmp_path):
    write_runs(tmp_path, {"agents.a": 0.5, "agents.b": 0.6})
    write_runs(tmp_path, {"agents.c": 0.5}, walk=days(2), finished=False)
    (comparison,) = read_comparisons([tmp_path])
    assert [stopped.path.name.split("-")[0] for stopped in comparison.incomplete] == ["agents.c"]


def test_incomplete_runs_alone_are_refused_with_the_command(tmp_path):
    walk = days(3)
    write_run(tmp_path, "agents.b", walk, *forecasts(observed(len(walk)), 0.5, 1), finished=False)
    with pytest.raises(RunError, match=r"of \d+ sequences: complete it with .hko7env evaluate agents.b"):
        read_comparisons([tmp_path])


def test_other_observations_are_refused(tmp_path):
    walk = days(3)
    for agent, seed in (("agents.a", 0), ("agents.b", 1)):
        write_run(tmp_path, agent, walk, *forecasts(observed(len(walk), seed), 0.5, 0))
    with pytest.raises(RunError, match="scored against different observations"):
        read_comparisons([tmp_path])


def test_missing_forecasts_are_refused_unless_all_lack_them(tmp_path):
    walk = days(3)
    seen = observed(len(walk))
    write_run(tmp_path / "one", "agents.a", walk, *forecasts(seen, 0.5, 0))
    parts = forecasts(seen, 0.5, 1)
    path = write_run(tmp_path / "one", "agents.b", walk, *parts)
    (path / "0000.journal").write_bytes((path / "0000.journal").read_bytes()[:-3000])
    with pytest.raises(RunError, match=rf"sound records of {len(walk) - 2} of {len(walk)} sequences"):
        read_comparisons([tmp_path / "one"])


@pytest.mark.parametrize(
    "name, message",
    [("nowhere", "nowhere is no folder"), ("empty", "holds no run folder"), ("foreign", "config.json is damaged")],
)
def test_what_is_no_run_folder_is_named(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/config.json").write_text('{"model": "resnet"}')
    with pytest.raises(RunError, match=message):
        read_comparisons([tmp_path / name])


def test_a_renamed_folder_is_named(tmp_path):
    (path,) = write_runs(tmp_path, {"agents.a": 0.5})
    path.rename(tmp_path / "mine")
    with pytest.raises(RunError, match="belongs to another run"):
        read_comparisons([tmp_path])


def test_a_folder_that_is_given_twice_counts_once(tmp_path, monkeypatch):
    paths = write_runs(tmp_path, {"agents.a": 0.5, "agents.b": 0.6})
    (comparison,) = read_comparisons([*paths, tmp_path])
    assert len(comparison.runs) == 2
    monkeypatch.chdir(paths[0])
    assert len(read_comparisons([paths[0].relative_to(paths[0])])[0].runs) == 1, "the current folder"


def test_a_copy_under_another_root_is_a_run_of_its_own(tmp_path):
    (path,) = write_runs(tmp_path / "one", {"agents.a": 0.5})
    shutil.copytree(path, tmp_path / "two" / path.name)
    (comparison,) = read_comparisons([tmp_path / "one", tmp_path / "two"])
    first, second = (run.name for run in comparison.runs)
    assert second == f"{first} #2"
    for difference in comparison.bootstrap.differences.values():
        assert all((part[0] == 0).all() for part in difference)


def test_damage_to_the_context_is_found(tmp_path):
    (path,) = write_runs(tmp_path, {"agents.a": 0.5})
    config = path / "config.json"
    text = config.read_text()
    config.write_text(text.replace("made up", "real rain"))
    with pytest.raises(RunError, match=r"config.json is damaged \(its context\)"):
        read_comparisons([tmp_path])
    config.write_text(json.dumps(json.loads(text) | {"identity": []}))
    with pytest.raises(RunError, match=r"config.json is damaged"):
        read_comparisons([tmp_path])
