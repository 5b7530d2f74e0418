"""Run folders after kills, full disks and damage: the next start ends with the exact tallies, or names the file."""

import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import google_crc32c
import numpy as np
import pytest

import hko7env.evaluation.jobs
import hko7env.evaluation.run_folder
from hko7env.archive import create
from hko7env.commands import evaluate as evaluate_command
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.plan import Plan, open_folder
from hko7env.evaluation.run_folder import RunFolder
from hko7env.files import write_atomically
from hko7env.loading import load
from hko7env.runner import run
from hko7env.scores import Tally
from tests.helpers.processes import wait_for
from tests.helpers.runs import ROOT, command, folder_of, heed_interrupts, plan, unbroken

LEARNER = "tests.helpers.toys:learner"


def rain(path, seed):
    """Sixty frames of 4 x 8, eight sequences in one episode."""
    frames = np.random.default_rng(seed).integers(71, 256, (60, 4, 8), np.uint8)
    create(str(path), shape=(4, 8), splits={"test": [("1970-01-01", "1971-01-01")]}).append(6 * np.arange(60), frames)
    return path


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Two archives that differ in their frames."""
    folder = tmp_path_factory.mktemp("archives")
    return [rain(folder / f"{seed}.zarr", seed) for seed in (0, 1)]


def full(*names):
    """A write_atomically on a disk that has no room for files of these names."""

    def write(path, data, original=write_atomically):
        if path.name in names:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(path, data)

    return write


# ---------------------------------------------------------------- stopped before the mark


@pytest.mark.parametrize("online", [True, False])
def test_a_run_killed_after_its_last_record_is_completed(archives, tmp_path, online):
    one = Plan("agents.last_frame", online, str(archives[0]))
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from hko7env.evaluation.evaluate import evaluate;"
        "from hko7env.evaluation.plan import Plan; from hko7env.evaluation.run_folder import RunFolder;"
        "RunFolder.finish = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        f"evaluate(Plan('agents.last_frame', {online}, sys.argv[1]), Path(sys.argv[2]))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(archives[0]), str(tmp_path)], cwd=ROOT, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    folder = folder_of(tmp_path)
    assert not (folder / "complete.json").exists()
    journals = {path.name: path.read_bytes() for path in folder.glob("*.journal")}
    assert evaluate(one, tmp_path).tally == unbroken(one)
    assert {path.name: path.read_bytes() for path in folder.glob("*.journal")} == journals


@pytest.mark.parametrize("name", ["tally.npz", "table.md", "complete.json"])
def test_a_disk_that_is_full_at_the_mark_leaves_a_run_that_can_be_completed(archives, tmp_path, monkeypatch, name):
    one = Plan("agents.last_frame", False, str(archives[0]))
    with monkeypatch.context() as patch:
        patch.setattr(hko7env.evaluation.run_folder, "write_atomically", full(name))
        for _ in range(3):
            with pytest.raises(RunError, match=rf"cannot write .*/{re.escape(name)} \(No space left.*make room"):
                evaluate(one, tmp_path)
            assert len(list(folder_of(tmp_path).glob("*.journal"))) == 1, "a try adds no journal"
    assert evaluate(one, tmp_path).tally == unbroken(one)


def test_tries_that_finish_nothing_leave_one_journal(archives, tmp_path):
    for _ in range(4):
        with pytest.raises(RuntimeError, match="the toy is broken"):
            evaluate(plan(archives[0], online=False, fail_at=0), tmp_path)
    assert len(list(folder_of(tmp_path).glob("*.journal"))) == 1


# ---------------------------------------------------------------- what a killed run leaves


LEFTOVERS = (
    "config.json.77.partial", "tally.npz.77.partial", "leads.csv.77.partial", "table.md.77.partial",
    "complete.json.77.partial", "000003.checkpoint.77.partial", "000003.json.77.partial", "000003.partial",
    "000003.partial.77.partial", "000004.checkpoint", "000005.json", "0007.journal",
    "0002.claim", "0002.claim.77.partial",
)  # fmt: skip
FOREIGN = ("notes.txt", "mine.partial", "mine.json", "12.partial")


def test_the_next_start_removes_what_a_killed_run_has_left(archives, tmp_path):
    one = plan(archives[0], LEARNER, fail_at=5)
    with pytest.raises(RuntimeError):
        evaluate(one, tmp_path, checkpoint_seconds=1000)
    folder = folder_of(tmp_path)
    for name in LEFTOVERS:
        (folder / name).write_bytes(b"" if name.endswith("journal") else b"half a file")
    for name in FOREIGN:
        (folder / name).write_text("keep me")
    with pytest.raises(RuntimeError):
        evaluate(one, tmp_path, checkpoint_seconds=1000)
    there = {path.name for path in folder.iterdir()}
    assert there >= set(FOREIGN), "only its own"
    # the second try begins at the first sequence, so the journal it needs is the only new file
    assert sorted(there - set(FOREIGN)) == [".lock", "0000.journal", "0001.journal", "config.json", "sequences.csv"]


def test_files_of_a_run_that_is_going_on_stay(archives, tmp_path):
    one = plan(archives[0])
    env = one.environment()
    folder = open_folder(one, env, 8, tmp_path)
    with folder.held():
        live = folder.path / "complete.json.77.partial"
        live.write_text("half a file")
        with pytest.raises(RunError, match="another process"):
            evaluate(one, tmp_path)
        assert live.exists()
    evaluate(one, tmp_path)
    assert not live.exists()


def test_a_checkpoint_that_could_not_be_written_leaves_nothing(archives, tmp_path, monkeypatch):
    one = plan(archives[0], LEARNER)

    def save(self, path):
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["tests.helpers.toys"].Learner, "save", save)
        with pytest.raises(RunError, match=r"cannot write .*/000001.checkpoint \(No space left.*make room"):
            evaluate(one, tmp_path, checkpoint_seconds=0)
    assert not list(folder_of(tmp_path).glob("*partial*"))
    assert evaluate(one, tmp_path).tally == unbroken(one)


def test_a_full_disk_is_named_by_whoever_writes_a_file(tmp_path, monkeypatch):
    def sync(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match=r"No space left on device: '.*/page.html'"):
        write_atomically(tmp_path / "page.html", b"text")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("name", ["abc.journal", "1.journal", "mine.checkpoint", "٠٠٠٣.journal"])
def test_foreign_journals_and_checkpoints_are_named(archives, tmp_path, name):
    one = plan(archives[0], LEARNER, fail_at=5)
    with pytest.raises(RuntimeError):
        evaluate(one, tmp_path)
    stray = folder_of(tmp_path) / name
    stray.write_bytes(b"something")
    with pytest.raises(RunError, match=f"{re.escape(str(stray))} does not belong to this run: move it elsewhere"):
        evaluate(one, tmp_path)
    assert stray.read_bytes() == b"something"


def stopped(archive, out, agent=LEARNER, online=True):
    """A run that stands at its sixth of eight sequences, with checkpoints; returns the plan that completes it."""
    one = plan(archive, agent, online)
    original = hko7env.evaluation.jobs.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hko7env.evaluation.jobs, "load", lambda name, task, **_: original(name, task, fail_at=6))
        with pytest.raises(RuntimeError):
            evaluate(one, out, checkpoint_seconds=0)
    return one


def begun(monkeypatch):
    """The options with which every later pass of the evaluation begins."""
    found, original = [], run
    monkeypatch.setattr(
        hko7env.evaluation.jobs,
        "run",
        lambda *a, options, **k: found.append(options) or original(*a, options=options, **k),
    )
    return found


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"sha256": 3}', b'{"sha256": "0"}', "folder", "missing"]
)
def test_a_damaged_sidecar_falls_back_to_the_checkpoint_before(archives, tmp_path, monkeypatch, damage):
    one = stopped(archives[0], tmp_path)
    folder = folder_of(tmp_path)
    marks = sorted(path for path in folder.glob("0*.json") if int(path.stem) <= 3)
    assert len(marks) == 2, "those that a resume at the first missing sequence, 3, could use"
    marks[-1].unlink()
    if damage == "folder":
        marks[-1].mkdir()
        with pytest.raises(RunError, match=f"{re.escape(str(marks[-1]))} should be a file: move it elsewhere"):
            evaluate(one, tmp_path)
        marks[-1].rmdir()
    elif damage != "missing":
        marks[-1].write_bytes(damage)
    options = begun(monkeypatch)
    assert evaluate(one, tmp_path).tally == unbroken(one)
    assert options[0]["start"] == int(marks[0].stem)


def test_checkpoints_of_another_place_or_run_are_passed_over(archives, tmp_path, monkeypatch):
    one, other = (stopped(archive, tmp_path / name) for archive, name in zip(archives, "ab", strict=True))
    mine, theirs = folder_of(tmp_path / "a"), folder_of(tmp_path / "b")
    for suffix in (".checkpoint", ".json"):
        shutil.copyfile(mine / f"000002{suffix}", mine / f"000003{suffix}")
        shutil.copyfile(mine / f"000002{suffix}", theirs / f"000003{suffix}")
    options = begun(monkeypatch)
    assert evaluate(one, tmp_path / "a").tally == unbroken(one)
    assert evaluate(other, tmp_path / "b").tally == unbroken(other)
    assert [given["start"] for given in options] == [2, 2]


def mutate(path, kind, dice, foreign):
    """Damage ``path`` in one of the ways of KINDS."""
    data = path.read_bytes()
    path.unlink()
    if kind == "flip":
        at = dice.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :])
    elif kind == "cut":
        path.write_bytes(data[: dice.randrange(len(data))])
    elif kind == "drop":
        at = dice.randrange(len(data))
        path.write_bytes(data[:at] + data[at + 1 :])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "foreign":
        path.write_bytes(foreign)
    elif kind == "junk":
        path.write_bytes(dice.choice([b"null", b"[]", b"{}", b"7", b'{"identity": {}}', dice.randbytes(2000)]))


KINDS = ("flip", "flip", "cut", "drop", "empty", "folder", "foreign", "junk", "removed")


def damage_of(folders, trial, dice):
    """A file of the first folder, the way to damage it, and what the same file of the other folder holds."""
    files = sorted(path for path in folders[0].iterdir() if path.suffix not in ("", ".csv", ".md"))
    path = files[trial % len(files)]
    other = folders[1] / path.name
    return path, dice.choice(KINDS), other.read_bytes() if other.exists() else b"nothing"


@pytest.mark.parametrize("state", ["complete", "stopped", "stopped offline"])
def test_any_damage_is_named_or_harmless(archives, tmp_path, state):
    """Seeded trials over every file of a run folder: exact tallies or an error that names the file, nothing else."""
    plans = []
    for archive, name in zip(archives, "ab", strict=True):
        if state == "stopped offline":
            plans.append(stopped(archive, tmp_path / name, "tests.helpers.toys", online=False))
        else:
            plans.append(stopped(archive, tmp_path / name))
        if state == "complete":
            evaluate(plans[-1], tmp_path / name)
    exact = unbroken(plans[0])
    dice, named = random.Random(state), 0
    folders = [folder_of(tmp_path / name) for name in "ab"]
    for trial in range(50 if state == "complete" else 27):
        out = tmp_path / f"trial {trial}"
        copy = out / folders[0].name
        shutil.copytree(folders[0], copy)
        path, kind, foreign = damage_of((copy, folders[1]), trial, dice)
        mutate(path, kind, dice, foreign)
        try:
            assert evaluate(plans[0], out).tally == exact, f"{kind} {path.name} changed the tallies"
        except RunError as error:
            named += 1
            assert path.name in str(error), f"{kind} {path.name}: {error}"
            # the remedy: what is damaged is moved away, and with damaged scores the mark is
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if path.name == "tally.npz":
                (copy / "complete.json").unlink()
            assert evaluate(plans[0], out).tally == exact, f"{kind} {path.name}, then removed"
        shutil.rmtree(out)
    assert named > 2, "some damage was met"


def test_another_runs_files_never_count(archives, tmp_path):
    """All files of a complete run laid over those of another."""
    plans = [plan(archive) for archive in archives]
    for one, name in zip(plans, "ab", strict=True):
        evaluate(one, tmp_path / name)
    mine, theirs = (folder_of(tmp_path / name) for name in "ab")
    for name in ("tally.npz", "complete.json"):
        shutil.copyfile(theirs / name, mine / name)
    with pytest.raises(RunError, match=r"complete\.json is damaged, or belongs to another run"):
        evaluate(plans[0], tmp_path / "a")
    (mine / "complete.json").unlink()
    (journal,) = mine.glob("*.journal")
    shutil.copyfile(theirs / journal.name, journal)
    assert evaluate(plans[0], tmp_path / "a").tally == unbroken(plans[0])
    shutil.copyfile(theirs / "config.json", mine / "config.json")
    with pytest.raises(RunError, match=r"config\.json is damaged, or belongs to another run"):
        evaluate(plans[0], tmp_path / "a")


def test_a_lock_that_cannot_be_taken_is_named(tmp_path):
    folder = RunFolder(tmp_path, "x", {"a": 1}, {}, 20)
    (folder.path / ".lock").mkdir(parents=True)
    with pytest.raises(RunError, match=r"cannot write .*/\.lock"), folder.held():
        pass
    with pytest.raises(RunError, match=r"cannot write .*choose another output folder"):
        folder = RunFolder(tmp_path / "file", "x", {"a": 1}, {}, 20)
        (tmp_path / "file").write_text("in the way")
        with folder.held():
            pass


# ---------------------------------------------------------------- interrupts


def test_an_interrupt_while_workers_start_shows_no_traceback(archives, tmp_path):
    words = command(archives[0], tmp_path, "--workers", "2")
    words[words.index("online")] = "offline"
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - no thread is running
    ) as process:  # fmt: skip
        wait_for(lambda: len(list(tmp_path.glob("*/*.journal"))) >= 2, process)
        time.sleep(0.3)  # the workers are importing now
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "Traceback" not in said


# ---------------------------------------------------------------- what config.json says


def test_config_json_says_what_was_used(archives, tmp_path):
    """None is kept apart from the word that an agent may give a meaning."""
    folders = []
    for label in (None, "none"):
        one = plan(archives[0], label=label)
        evaluate(one, tmp_path / str(label))
        folders.append(folder_of(tmp_path / str(label)))
        config = json.loads((folders[-1] / "config.json").read_text())
        assert config["identity"]["options"]["label"] == config["context"]["options"]["label"] == label
    assert folders[0].name != folders[1].name


def test_checkpoint_none_is_an_untrained_network(tmp_path, one_thread):
    agent = "agents.convgru"
    frames = np.random.default_rng(0).integers(71, 256, (30, 30, 60), np.uint8)
    create(str(tmp_path / "a.zarr"), shape=(30, 60)).append(6 * np.arange(30), frames)
    env = Plan(agent, False, str(tmp_path / "a.zarr")).environment()
    untrained, shipped = (
        run(env, load(agent, env.task, **options), options={"stop": 1}) for options in ({"checkpoint": "none"}, {})
    )
    assert untrained != shipped
    words = [agent, "--env", "offline", "--archive", str(tmp_path / "a.zarr"), "--limit", "1"]
    for more, wanted, said in ((["--checkpoint", "none"], untrained, "none"), ([], shipped, None)):
        out = tmp_path / f"results {said}"
        assert evaluate_command.main([*words, "--out", str(out), *more]) == 0
        with np.load(folder_of(out) / "tally.npz") as saved:
            np.testing.assert_array_equal(saved["squared"], wanted.squared)
        config = json.loads((folder_of(out) / "config.json").read_text())
        assert config["identity"]["options"]["checkpoint"] == said
        assert config["context"]["options"]["checkpoint"] == said


# ---------------------------------------------------------------- run folders of earlier versions

OLD_IDENTITY = {
    "agent": "agents.last_frame", "options": {}, "setting": "online", "archive": "f" * 64, "split": "test",
    "cleaned": False, "schedule": "5" * 64, "sequences": 3, "code": "c" * 64,
    "versions": {"hko7env": "0.1.0", "numpy": "2.2.0", "torch": "2.6.0"},
}  # fmt: skip
OLD_CONTEXT = {
    "archive": "default", "options": {},
    "versions": {"python": "3.11.0", "numpy": "2.2.0", "zarr": "3.1.0", "gymnasium": "1.0.0", "torch": "2.6.0"},
    "protocol": {"inputs": 5, "leads": 20, "cadence": 6}, "started": "2026-01-01T00:00:00Z",
}  # fmt: skip
OLD_RECORD = np.dtype([("index", "<i8"), ("counts", "<i4", (4, 20, 5)), ("sums", "<f8", (4, 20)), ("crc", "<u4")])


def old_run(out, complete, marked=True):
    """A run folder as earlier code wrote it, the first without the run's digest in its files; and its tally."""
    digest = hashlib.sha256(json.dumps(OLD_IDENTITY, sort_keys=True).encode()).hexdigest()
    folder = out / f"agents.last_frame-online-test-{digest[:10]}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"identity": OLD_IDENTITY, "context": OLD_CONTEXT}, indent=1))
    rng = np.random.default_rng(0)
    records = np.zeros(3, OLD_RECORD)
    records["index"] = range(3)
    records["counts"], records["sums"] = rng.integers(0, 2**30, (3, 4, 20, 5)), rng.random((3, 4, 20))
    for record in records:
        start = google_crc32c.value(digest.encode() if marked else b"")
        record["crc"] = google_crc32c.extend(start, record.tobytes()[:-4])
    (folder / "0000.journal").write_bytes(records[:2].tobytes())
    (folder / "0001.journal").write_bytes(records[2:].tobytes())
    counts, sums = records["counts"].sum(axis=0, dtype=np.int64), np.cumsum(records["sums"], axis=0)[-1]
    tally = Tally(3, *counts, *sums)
    if complete:
        np.savez(folder / "tally.npz", **vars(tally))
        seal = hashlib.sha256((folder / "tally.npz").read_bytes()).hexdigest()
        facts = ({"run": digest} if marked else {}) | {"sequences": 3, "tally_sha256": seal}
        (folder / "complete.json").write_text(json.dumps(facts, indent=1))
    return folder, tally


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("marked", [True, False])
def test_a_run_folder_of_an_earlier_version_opens(tmp_path, complete, marked):
    path, tally = old_run(tmp_path, complete, marked)
    folder = RunFolder.open(path)
    assert (folder.path, folder.identity, folder.context) == (path, OLD_IDENTITY, OLD_CONTEXT)
    assert folder.finished() == (tally if complete else None)
    assert folder.tally() == tally
    with folder.held():
        pass
    assert sorted(folder.records()["index"].tolist()) == [0, 1, 2]


def test_todays_runs_are_identified_by_the_same_facts(archives, tmp_path):
    evaluate(plan(archives[0], "agents.last_frame"), tmp_path)
    config = json.loads((folder_of(tmp_path) / "config.json").read_text())
    assert config["identity"].keys() == OLD_IDENTITY.keys()
    assert config["identity"]["versions"].keys() == OLD_IDENTITY["versions"].keys()
    assert config["context"].keys() == OLD_CONTEXT.keys() | {"command", "data"}
    assert RunFolder.open(folder_of(tmp_path)).finished().sequences == 8


@pytest.mark.parametrize("damage", ["missing", "not JSON", "other run", "no leads"])
def test_a_folder_that_is_no_run_is_named(tmp_path, damage):
    path, _ = old_run(tmp_path, complete=False)
    config = path / "config.json"
    if damage == "missing":
        config.unlink()
    else:
        text = config.read_text()
        other, without = text.replace("agents.last", "agents.first"), text.replace("leads", "x")
        bad = {"not JSON": "x", "other run": other, "no leads": without}
        config.write_text(bad[damage])
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        RunFolder.open(path)
