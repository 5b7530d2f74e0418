"""Evaluations interrupted and resumed at any point, over workers, by killed commands: the tallies are exact."""

import errno
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hko7env.evaluation.jobs
from hko7env.commands.evaluate import main
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import Journal, RunError, record_dtype, sum_records
from hko7env.evaluation.plan import Plan, open_folder
from hko7env.loading import load
from hko7env.runner import run
from hko7env.scores import COUNTS, ERRORS
from tests.helpers.processes import wait_for
from tests.helpers.runs import command, folder_of, heed_interrupts, plan, run_folder_of, stopped_after, unbroken


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("agent", ["tests.helpers.toys", "tests.helpers.toys:learner", "agents.last_frame"])
def test_a_run_holds_what_algorithm_1_gives(small_archive, tmp_path, agent, online):
    one = plan(small_archive, agent, online)
    row = evaluate(one, tmp_path)
    assert row.tally == unbroken(one)
    folder = folder_of(tmp_path)
    assert {p.name for p in folder.iterdir()} >= {"config.json", "tally.npz", "leads.csv", "table.md", "complete.json"}
    config = json.loads((folder / "config.json").read_text())
    assert config["identity"]["sequences"] == 13
    assert set(config["context"]["versions"]) == {"python", "numpy", "zarr", "gymnasium", "torch"}
    with np.load(folder / "tally.npz") as saved:
        for name in COUNTS + ERRORS:
            np.testing.assert_array_equal(saved[name], getattr(row.tally, name))


def test_a_learner_learns_online_only(small_archive):
    online, offline = (unbroken(plan(small_archive, "tests.helpers.toys:learner", o)) for o in (True, False))
    assert not np.array_equal(online.squared, offline.squared)


def test_a_damaged_result_is_not_shown(small_archive, tmp_path):
    evaluate(plan(small_archive), tmp_path)
    saved = folder_of(tmp_path) / "tally.npz"
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"damaged or missing: remove .*complete\.json"):
        evaluate(plan(small_archive), tmp_path)
    saved.unlink()
    with pytest.raises(RunError, match=r"damaged or missing: remove .*complete\.json"):
        evaluate(plan(small_archive), tmp_path)
    (folder_of(tmp_path) / "complete.json").unlink()
    assert evaluate(plan(small_archive), tmp_path).tally == unbroken(plan(small_archive)), "the remedy helps"


def test_a_complete_run_is_read_not_run_again(small_archive, tmp_path, monkeypatch):
    first = evaluate(plan(small_archive), tmp_path)
    monkeypatch.setattr(hko7env.evaluation.jobs, "load", None)
    assert evaluate(plan(small_archive), tmp_path).tally == first.tally


def test_what_can_move_a_score_makes_another_run(small_archive, tmp_path):
    checkpoint = tmp_path / "weights"
    checkpoint.write_text("1")
    plans = [
        plan(small_archive),
        plan(small_archive, online=False),
        plan(small_archive, "tests.helpers.toys:learner"),
        plan(small_archive, delay=0.001),
        Plan("tests.helpers.toys", True, str(small_archive), limit=5),
        Plan("tests.helpers.toys", True, str(small_archive), split="train"),
        plan(small_archive, label=str(checkpoint)),
    ]
    names = [open_folder(p, p.environment(), p.limit or 13, tmp_path).path.name for p in plans]
    checkpoint.write_text("2")
    names.append(open_folder(plans[-1], plans[-1].environment(), 13, tmp_path).path.name)
    assert len(set(names)) == len(names)


def test_imported_code_and_files_named_by_default_are_part_of_the_run(small_archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "weights").write_text("1")
    (tmp_path / "beside.py").write_text("GAIN = 1\n")
    (tmp_path / "somebody.py").write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\nfrom agents.last_frame import LastFrame\n"
        "import beside\n"
        "@dataclass(frozen=True)\nclass Config:\n    weights: str = 'weights'\n    folder: Path = Path('.')\n"
        "class make(LastFrame):\n    def __init__(self, task, config):\n        super().__init__(task)\n"
    )
    names = []
    for change in (None, "weights", "beside.py"):
        if change:
            (tmp_path / change).write_text("GAIN = 2\n")
        one = plan(small_archive, "somebody")
        names.append(open_folder(one, one.environment(), 13, tmp_path / "out").path.name)
    assert len(set(names)) == 3
    assert evaluate(plan(small_archive, "somebody"), tmp_path / "out").tally.sequences == 13


def test_limit_takes_the_first_sequences(small_archive, tmp_path):
    one = Plan("tests.helpers.toys", True, str(small_archive), limit=5)
    env = one.environment()
    part = run(env, load(one.agent, env.task), options={"stop": 5})
    assert evaluate(one, tmp_path).tally == part


@pytest.mark.parametrize("fail_at", [0, 4, 9, 12])
@pytest.mark.parametrize(
    "agent, online",
    [("tests.helpers.toys", True), ("tests.helpers.toys", False), ("tests.helpers.toys:learner", True)],
)
def test_an_agent_that_raises_is_named_and_loses_nothing(small_archive, tmp_path, agent, online, fail_at, monkeypatch):
    with pytest.raises(RuntimeError, match="the toy is broken") as caught:
        evaluate(plan(small_archive, agent, online, fail_at=fail_at), tmp_path, checkpoint_seconds=0)
    (note,) = caught.value.__notes__
    assert f"in sequence {fail_at}, issued 2015-" in note
    folder = folder_of(tmp_path)
    assert not (folder / "complete.json").exists(), "a partial run is never shown as complete"
    assert not (folder / "table.md").exists()
    recorded = run_folder_of(tmp_path).records()["index"]
    # online, the last four forecasts of an episode are still sealed; the other episode is revealed by then
    assert recorded.tolist() == list(range(fail_at - 3 if fail_at < 8 else max(8, fail_at - 3)) if fail_at > 3 else [])

    # the same command, with the toy mended, goes on and ends like an unbroken run
    steps = []
    module = sys.modules["tests.helpers.toys"]
    monkeypatch.setattr(module.Slow, "predict", lambda self: steps.append(1) or super(module.Slow, self).predict())
    row = evaluate(plan(small_archive, agent, online, fail_at=fail_at), tmp_path)
    assert row.tally == unbroken(plan(small_archive, agent, online))


@pytest.mark.parametrize(
    "agent, checkpoint_seconds",
    [
        ("tests.helpers.toys", 0),
        ("tests.helpers.toys:moody", 0),
        ("tests.helpers.toys:learner", 0),
        ("tests.helpers.toys:learner", 1000),  # the others have no checkpoints
    ],
)
def test_resume_at_every_point_equals_the_unbroken_run(small_archive, tmp_path, agent, checkpoint_seconds):
    """Stop after every step in turn, always in the same folder."""
    one = plan(small_archive, agent)

    for stop in range(1, 13):
        with stopped_after(stop):
            evaluate(one, tmp_path, checkpoint_seconds=checkpoint_seconds)
    assert evaluate(one, tmp_path).tally == unbroken(one)


@pytest.mark.parametrize("stop", range(1, 13))
def test_a_learner_goes_on_from_the_newest_checkpoint_that_loses_nothing(small_archive, tmp_path, stop, monkeypatch):
    one = plan(small_archive, "tests.helpers.toys:learner", fail_at=stop)
    with pytest.raises(RuntimeError):
        evaluate(one, tmp_path, checkpoint_seconds=0)
    recorded = run_folder_of(tmp_path).recorded()
    begun = []
    original = hko7env.evaluation.jobs.run
    monkeypatch.setattr(
        hko7env.evaluation.jobs,
        "run",
        lambda *a, options, **k: begun.append(options) or original(*a, options=options, **k),
    )
    module = sys.modules["tests.helpers.toys"]
    monkeypatch.setattr(module.Slow, "predict", lambda self: super(module.Slow, self).predict())
    evaluate(one, tmp_path, checkpoint_seconds=0)
    assert begun == [{"start": recorded, "stop": 13, "continued": recorded > 0}]
    assert len(list(folder_of(tmp_path).glob("*.checkpoint"))) <= 7, "old ones are dropped"


def test_a_damaged_checkpoint_is_passed_over(small_archive, tmp_path):
    one = plan(small_archive, "tests.helpers.toys:learner", fail_at=11)
    with pytest.raises(RuntimeError):
        evaluate(one, tmp_path, checkpoint_seconds=0)
    for path in folder_of(tmp_path).glob("*.checkpoint"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RuntimeError):  # begins at 0 again, so it fails at the same place
        evaluate(one, tmp_path, checkpoint_seconds=1000)
    assert sum_records(run_folder_of(tmp_path).records(), 20).sequences == 8


def test_workers_end_with_their_parent(small_archive, tmp_path):
    words = command(small_archive, tmp_path, "--workers", "2")
    words[words.index("online")] = "offline"
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: sum(p.stat().st_size for p in tmp_path.glob("*/*.journal")) > 0, process)
        process.send_signal(signal.SIGKILL)
    time.sleep(1)
    sizes = [p.stat().st_size for p in tmp_path.glob("*/*.journal")]
    time.sleep(1)
    assert [p.stat().st_size for p in tmp_path.glob("*/*.journal")] == sizes
    assert sum(sizes) < 13 * record_dtype(20).itemsize


def test_a_worker_that_fails_keeps_what_is_finished(small_archive, tmp_path, capfd):
    with pytest.raises(RunError, match=r"offline: RuntimeError: the toy is broken, in sequence 6, .* keeps the"):
        evaluate(plan(small_archive, online=False, fail_at=6), tmp_path, workers=2)
    assert "the toy is broken" in capfd.readouterr().err
    assert not (folder_of(tmp_path) / "complete.json").exists()


# ---------------------------------------------------------------- the command, killed


@pytest.mark.slow
def test_sigkill_at_random_moments_gives_the_same_counts(small_archive, tmp_path, capsys):
    """The last process, which finishes, is this one."""
    dice, words = random.Random(1), command(small_archive, tmp_path)
    for _ in range(3):
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
            wait_for(lambda: list(tmp_path.glob("*/*.journal")), process)
            time.sleep(dice.uniform(0.1, 1.0))
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
    assert main([*words[2:], "--workers", "1"]) == 0
    assert "tests.helpers.toys:learner" in capsys.readouterr().out
    assert len([folder for folder in tmp_path.iterdir() if (folder / "complete.json").exists()]) == 2
    for agent in ("tests.helpers.toys:learner", "tests.helpers.toys:make"):
        found = evaluate(plan(small_archive, agent, delay=0.12), tmp_path).tally
        assert found == unbroken(plan(small_archive, agent))
    assert len(list(tmp_path.iterdir())) == 2, "both were there"


def test_an_interrupt_says_how_to_go_on(small_archive, tmp_path):
    words = command(small_archive, tmp_path, "--limit", "9")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts) as process:  # noqa: PLW1509 - no thread is running
        wait_for(lambda: list(tmp_path.glob("*/*.journal")), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "same command continues" in process.stderr.read()


def test_two_processes_do_not_share_a_run(small_archive, tmp_path):
    one = plan(small_archive)
    folder = open_folder(one, one.environment(), 13, tmp_path)
    with folder.held(), pytest.raises(RunError, match="another process"):
        evaluate(one, tmp_path)
    evaluate(one, tmp_path)


class Full:
    """A file on a full disk."""

    def __init__(self, file):
        self.fileno, self.close = file.fileno, file.close

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_and_loses_nothing(small_archive, tmp_path, monkeypatch):
    original = Journal.add

    def full(self, index, tally):
        if index == 5:
            self._file = Full(self._file)
        original(self, index, tally)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", full)
        with pytest.raises(RunError, match=r"cannot write .*0000.journal \(No space left.*make room"):
            evaluate(plan(small_archive, online=False), tmp_path)
    assert sum_records(run_folder_of(tmp_path).records(), 20).sequences == 5
    assert evaluate(plan(small_archive, online=False), tmp_path).tally == unbroken(plan(small_archive, online=False))
