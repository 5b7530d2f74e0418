"""Diagnostics in run folders: of the forecasts that are scored, whole after any stop, and never in the way of a run."""

import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hko7env.evaluation.jobs
from hko7env.commands.evaluate import main
from hko7env.diagnostics.sums import Diagnoser, Diagnostics
from hko7env.evaluation import diagnostics as kept
from hko7env.evaluation.diagnostics import Diagnosing, DiagnosticsFolder, agree
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError, sum_records
from hko7env.evaluation.recording import Extras
from hko7env.loading import load
from hko7env.runner import run
from hko7env.schedule import INPUTS
from tests.helpers.processes import wait_for
from tests.helpers.runs import ROOT, command, folder_of, plan, run_folder_of, stopped_after, unbroken

TOY, LEARNER = "tests.helpers.toys", "tests.helpers.toys:learner"
EVERY_3 = Extras(frozenset({"diagnostics"}), 3)
DIAGNOSED = [0, 3, 6, 9, 12]  # of 13 sequences


def diagnostics_of(out):
    folder = run_folder_of(out)
    return DiagnosticsFolder(folder.path, folder.run)


def by_hand(one):
    """Algorithm 1 written out, diagnosing every third forecast outside the environment."""
    env = one.environment()
    agent = load(one.agent, env.task, **one.options)
    diagnoser = Diagnoser(env.view.scored, env.archive.zr)
    total = Diagnostics.zero(env.task.leads, diagnoser.spectrum.rings)
    observation, info = env.reset()
    over = False
    while not over:
        agent.store(observation)
        agent.update()
        forecast = agent.predict()
        if info["sequence"] % 3 == 0:
            truth, present = env.view.frames_at(env.schedule.slots(info["sequence"])[INPUTS:])
            total += diagnoser.measure(truth, present, env.view.mask_of(truth, present), forecast)
        observation, _, over, _, info = env.step(forecast)
    return total


def files(out):
    return {path.name: path.read_bytes() for path in (folder_of(out) / "diagnostics").iterdir()}


@pytest.mark.parametrize(
    "agent, online, workers", [(TOY, True, 1), (LEARNER, True, 1), (TOY, False, 1), (TOY, False, 3)]
)
def test_the_forecasts_that_are_scored_are_diagnosed(small_archive, tmp_path, agent, online, workers):
    one = plan(small_archive, agent, online)
    assert evaluate(one, tmp_path, extras=EVERY_3, workers=workers).tally == unbroken(one)
    folder = diagnostics_of(tmp_path)
    assert folder.indices() == DIAGNOSED
    assert folder.total() == by_hand(one)


def test_counts_are_those_of_the_tallies(small_archive, tmp_path):
    one = plan(small_archive)
    evaluate(one, tmp_path, extras=EVERY_3)
    records, zr = run_folder_of(tmp_path).records(), one.environment().archive.zr
    for index, diagnostics in diagnostics_of(tmp_path).each():
        assert agree(diagnostics, sum_records(records[records["index"] == index], 20), zr)
    assert not agree(diagnostics, sum_records(records[records["index"] == 0], 20), zr), "of another sequence"


@pytest.mark.parametrize("agent, online", [(TOY, True), (LEARNER, True), (TOY, False)])
def test_a_complete_run_gets_diagnostics_later_and_stays_the_same_run(small_archive, tmp_path, agent, online):
    one = plan(small_archive, agent, online)
    first = evaluate(one, tmp_path).tally
    before = {p.name: p.read_bytes() for p in folder_of(tmp_path).iterdir() if p.is_file()}
    assert evaluate(one, tmp_path, extras=EVERY_3).tally == first
    there = {p.name: p.read_bytes() for p in folder_of(tmp_path).iterdir() if p.is_file() and p.stat().st_size}
    assert {n: d for n, d in there.items() if n in before} == {n: d for n, d in before.items() if d}
    assert diagnostics_of(tmp_path).total() == by_hand(one)
    assert len(run_folder_of(tmp_path).records()) == 13, "no tally is recorded twice"


def test_what_is_there_is_not_forecast_again(small_archive, tmp_path, monkeypatch):
    one = plan(small_archive)
    evaluate(one, tmp_path, extras=EVERY_3)
    monkeypatch.setattr(hko7env.evaluation.jobs, "load", None)
    evaluate(one, tmp_path, extras=EVERY_3)
    evaluate(one, tmp_path)


@pytest.mark.parametrize("agent, checkpoint_seconds", [(TOY, 0), (LEARNER, 0), (LEARNER, 1000)])
def test_resume_ends_with_the_same_bytes(small_archive, tmp_path, agent, checkpoint_seconds):
    """Stop before, at and after the end of an episode, always in the same folder."""
    one = plan(small_archive, agent)

    for stop in (2, 5, 7, 8, 9, 12):
        with stopped_after(stop):
            evaluate(one, tmp_path / "broken", checkpoint_seconds=checkpoint_seconds, extras=EVERY_3)
    assert evaluate(one, tmp_path / "broken", extras=EVERY_3).tally == unbroken(one)
    evaluate(one, tmp_path / "unbroken", extras=EVERY_3)
    assert files(tmp_path / "broken") == files(tmp_path / "unbroken")


def test_sigkill_between_diagnostics_and_tally_loses_nothing(small_archive, tmp_path):
    """The process dies at random file operations: just before or after a file of diagnostics takes its name."""
    one = plan(small_archive, LEARNER)
    evaluate(one, tmp_path / "unbroken", extras=EVERY_3)
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from hko7env.evaluation import diagnostics as d; from hko7env.evaluation.evaluate import evaluate;"
        "from hko7env.evaluation.plan import Plan;"
        "from hko7env.evaluation.recording import Extras; left, write = int(sys.argv[3]), d.write_atomically\n"
        "def dying(path, data):\n"
        "    global left\n"
        "    left -= 1\n"
        "    if left == 0: path.with_name(path.name + '.7.partial').write_bytes(data[:100]); os.kill(os.getpid(), 9)\n"
        "    write(path, data)\n"
        "    left -= 1\n"
        "    if left == 0: os.kill(os.getpid(), 9)\n"
        "d.write_atomically = dying\n"
        "evaluate(Plan('tests.helpers.toys:learner', True, sys.argv[1]), Path(sys.argv[2]), checkpoint_seconds=0,"
        " extras=Extras(frozenset({'diagnostics'}), 3))"
    )
    broken = tmp_path / "broken"
    for left in (1, 2, 3):
        words = [sys.executable, "-c", code, str(small_archive), str(broken), str(left)]
        killed = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
    assert evaluate(one, broken, extras=EVERY_3).tally == unbroken(one)
    assert files(broken) == files(tmp_path / "unbroken")


@pytest.mark.slow
def test_sigkill_at_random_moments_ends_with_the_same_bytes(small_archive, tmp_path):
    """The last process, which finishes, is this one, as is the one that is not killed."""
    more = ("--keep", "diagnostics", "--diagnose-every", "2")
    words = {name: command(small_archive, tmp_path / name, *more) for name in ("broken", "unbroken")}
    dice = random.Random(1)
    for _ in range(3):
        with subprocess.Popen(words["broken"], stderr=subprocess.DEVNULL) as process:
            wait_for(lambda: list((tmp_path / "broken").glob("*/*.journal")), process)
            time.sleep(dice.uniform(0.1, 1.0))
            process.kill()
    for one in words.values():
        assert main([*one[2:], "--workers", "1"]) == 0
    for folder in (tmp_path / "unbroken").iterdir():
        for path in (folder / "diagnostics").iterdir():
            assert (tmp_path / "broken" / folder.name / "diagnostics" / path.name).read_bytes() == path.read_bytes()


def damage(data, trial, others):
    """Bytes unlike ``data``, in one of six ways."""
    dice = random.Random(trial)
    at = dice.randrange(len(data))
    return [
        lambda: data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :],
        lambda: data[:at],
        lambda: data[:at] + data[at + 1 :],
        lambda: data + dice.randbytes(dice.randrange(1, 9)),
        lambda: dice.choice(others),
        lambda: dice.randbytes(dice.choice([0, 3, 4, 500])),
    ][trial % 6]()


def test_a_thousand_damaged_files_are_not_read(whole, tmp_path):
    _, folder = whole
    run_digest = run_folder_of(folder.parent).run
    content = {path.name: path.read_bytes() for path in sorted((folder / "diagnostics").iterdir())}
    copy = DiagnosticsFolder(tmp_path, run_digest)
    copy.path.mkdir()
    for trial in range(1000):
        name = sorted(content)[trial % len(content)]
        others = [data for other, data in content.items() if other != name]
        (copy.path / name).write_bytes(damage(content[name], trial, others))
        assert copy.load(int(name[:6])) is None, trial


@pytest.mark.parametrize("trial", range(6))
def test_damaged_files_are_measured_again(whole, tmp_path, trial):
    one, folder = whole
    target = tmp_path / folder.name
    shutil.copytree(folder, target)
    paths = sorted((target / "diagnostics").iterdir())
    path = paths[trial % len(paths)]
    sound = path.read_bytes()
    path.write_bytes(damage(sound, trial, [other.read_bytes() for other in paths if other != path]))
    evaluate(one, tmp_path, extras=EVERY_3)
    assert path.read_bytes() == sound


@pytest.fixture(scope="module")
def whole(small_archive, tmp_path_factory):
    one, out = plan(small_archive, online=False), tmp_path_factory.mktemp("whole")
    evaluate(one, out, extras=EVERY_3)
    return one, folder_of(out)


def test_files_of_another_run_or_version_are_not_read(whole, monkeypatch):
    _, folder = whole
    run_of = run_folder_of(folder.parent).run
    assert DiagnosticsFolder(folder, run_of).load(3) is not None
    assert DiagnosticsFolder(folder, run_of[::-1]).load(3) is None
    monkeypatch.setattr(kept, "VERSION", 2)
    assert DiagnosticsFolder(folder, run_of).load(3) is None


def test_a_full_disk_is_named_and_the_run_goes_on_later(small_archive, tmp_path, monkeypatch):
    one = plan(small_archive, online=False)

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kept, "write_atomically", full)
        with pytest.raises(RunError, match=r"cannot write .*000000\.sums \(No space left on device\): make room"):
            evaluate(one, tmp_path, extras=EVERY_3)
    assert len(run_folder_of(tmp_path).records()) == 0, "no tally without its diagnostics"
    assert evaluate(one, tmp_path, extras=EVERY_3).tally == unbroken(one)


def test_forecasts_that_cannot_be_repeated_are_refused(small_archive, tmp_path, monkeypatch):
    one = plan(small_archive, online=False)
    evaluate(one, tmp_path)
    module = sys.modules["tests.helpers.toys"]
    original = module.Slow.predict
    monkeypatch.setattr(module.Slow, "predict", lambda self: original(self) * np.float32(0.9))
    with pytest.raises(RunError, match=r"sequence 0 is not the one that was scored.*in another output folder"):
        evaluate(one, tmp_path, extras=EVERY_3)
    assert diagnostics_of(tmp_path).indices() == []


def test_nobody_gets_diagnostics_before_the_truth_is_revealed(small_archive, tmp_path):
    one = plan(small_archive)
    env = one.environment()
    folder = DiagnosticsFolder(tmp_path, "")
    diagnosing = Diagnosing(env, folder, set(range(13)))
    agent = load(one.agent, env.task)
    plain = unbroken(one)
    seen = []

    def record(index, tally):
        assert folder.indices() == seen, "only those revealed before"
        diagnosing.keep(index, tally)
        seen.append(index)

    assert run(diagnosing, agent, record=record) == plain
    assert seen == list(range(13))
    assert diagnosing.reset()[1] == env.reset()[1]
    action = np.zeros(env.action_space.shape, np.float32)
    stepped = diagnosing.step(action)
    env.reset()
    for one_part, other in zip(stepped[1:], env.step(action)[1:], strict=True):
        assert one_part == other, "a step gives what it gives without diagnostics"


@pytest.mark.parametrize(
    "words, said",
    [
        (["--keep", "nonsense"], "invalid choice: 'nonsense'"),
        (["--keep"], "expected at least one argument"),
        (["--keep", "diagnostics", "--diagnose-every", "0"], "must be at least 1, got 0"),
    ],
)
def test_wrong_words_are_named(words, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        main(["agents.last_frame", *words])


def test_extras_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="'pictures' cannot be kept, only diagnostics"):
        Extras(frozenset({"pictures"}))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Extras(diagnose_every=0)


def test_the_command_keeps_them(small_archive, tmp_path, capsys):
    words = ["--archive", str(small_archive), "--env", "offline", "--out", str(tmp_path)]
    main(["agents.last_frame", *words, "--keep", "diagnostics"])
    assert diagnostics_of(tmp_path).indices() == [0]
    main(["agents.last_frame", *words, "--keep", "diagnostics", "--diagnose-every", "5"])
    assert diagnostics_of(tmp_path).indices() == [0, 5, 10]
    assert capsys.readouterr().out.count("agents.last_frame") == 2
