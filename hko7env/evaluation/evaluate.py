"""Evaluate an agent into a run folder: resumable after any stop, over worker processes where order does not matter.

Offline sequences are independent, so any missing ones are run, by any number of workers. Online, an agent that does
not learn is brought back by showing it its episode again; a learner goes on from its last checkpoint.
"""

import hashlib
import importlib.metadata
import inspect
import json
import multiprocessing
import platform
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import gymnasium

import hko7env
from hko7env import progress
from hko7env.contract import Agent, Learner
from hko7env.env import NowcastingEnv
from hko7env.evaluation.results import Journal, Row, RunError, RunFolder, read_facts, writing
from hko7env.files import write_atomically
from hko7env.loading import check_options, find, load
from hko7env.runner import run
from hko7env.scores import Tally

CHECKPOINT_SECONDS = 60.0
_SPARE_CHECKPOINTS = 2  # that a resume could use: if one is damaged there is another


@dataclass(frozen=True)
class Plan:
    """What to evaluate: an agent's name and options, on-line or not, on a split of an archive (None = the defaults).

    ``limit`` keeps to the first sequences of the stream, ``cleaned`` shows the agent frames without noise.
    """

    agent: str
    online: bool
    archive: str | None = None
    split: str | None = None
    limit: int | None = None
    cleaned: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def environment(self) -> NowcastingEnv:
        """A fresh environment as planned."""
        name = "HKO7-Online-v0" if self.online else "HKO7-Offline-v0"
        env = gymnasium.make(name, archive=self.archive, split=self.split, cleaned=self.cleaned).unwrapped
        assert isinstance(env, NowcastingEnv)
        return env

    @property
    def setting(self) -> str:
        """``online`` or ``offline``."""
        return "online" if self.online else "offline"


def evaluate(plan: Plan, out: Path, *, workers: int = 1, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> Row:
    """Run ``plan`` in its folder under ``out``, or what is missing of it, and return its line of the table.

    Online runs use one process, whatever ``workers`` says: there the order of sequences matters. Raises RunError if
    another process is at the same run, and whatever the agent raises; all finished sequences are then kept.
    """
    env = plan.environment()
    count = min(plan.limit or len(env.schedule), len(env.schedule))
    folder = open_folder(plan, env, count, out)
    data, episodes = describe(env, count), env.schedule.episode(count - 1) + 1
    with folder.held():
        tally = folder.finished()
        if tally is None:
            missing = sorted(set(range(count)) - set(folder.records()["index"].tolist()))
            if missing:  # else it was stopped between its last record and the mark
                with progress.bar(count, f"{plan.agent} {plan.setting}", "seq", done=count - len(missing)) as bar:
                    if plan.online:
                        _run_online(plan, env, folder, missing, count, bar, checkpoint_seconds)
                    elif workers > 1 and len(missing) > 1:
                        _run_workers(plan, folder, missing, workers, bar)
                    else:
                        _run_parts(plan, env, missing, folder.new_journal(), folder.run, bar)
            tally = folder.tally()
            if tally.sequences != count:
                raise RunError(f"{folder.path} holds {tally.sequences} of {count} sequences: run the command again")
            folder.finish(Row(plan.agent, plan.setting, data, tally, episodes), env.task.cadence)
    return Row(plan.agent, plan.setting, data, tally, episodes)


def describe(env: NowcastingEnv, count: int) -> str:
    """One line that says on what a table was made, with a caution if the rain is not real."""
    source = env.archive.attributes.get("source") or "source unknown"
    caution = (
        "; synthetic rain ranks implementations, it does not prove skill on real rain" if "synthetic" in source else ""
    )
    part = "" if count == len(env.schedule) else f" (first {count} of {len(env.schedule)} sequences)"
    split = f"split {env.split}" if env.split in env.archive.splits else "all frames"
    return f"Data: {source}, {split}{part}, fingerprint {env.archive.fingerprint[:10]}{caution}."


def open_folder(plan: Plan, env: NowcastingEnv, count: int, out: Path) -> RunFolder:
    """The run folder of ``plan``, made if need be: its name holds a digest of all that can move a score."""
    _, config = find(plan.agent)
    check_options(plan.agent, config, plan.options)
    options = asdict(config(**plan.options)) if config else {}  # defaults too: they may name a file, or change
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "zarr", "gymnasium", "torch")}
    identity = {
        "agent": plan.agent,
        "options": {name: _content(value) for name, value in options.items()},
        "setting": plan.setting,
        "archive": env.archive.fingerprint,
        "split": env.split,
        "cleaned": plan.cleaned,
        "schedule": env.schedule.sha256,
        "sequences": count,
        "code": code_digest(plan.agent),
        "versions": {"hko7env": hko7env.__version__, **{name: versions[name] for name in ("numpy", "torch")}},
    }
    context = {
        "archive": str(plan.archive or "default"),
        "options": {name: value if _is_plain(value) else str(value) for name, value in options.items()},
        "versions": {"python": platform.python_version(), **versions},
        "protocol": {"inputs": env.task.inputs, "leads": env.task.leads, "cadence": env.task.cadence},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    name = f"{plan.agent.replace(':', '.')}-{plan.setting}-{env.split}"
    return RunFolder(out, name, identity, context, env.task.leads)


def code_digest(agent: str) -> str:
    """sha256 over the sources of hko7env and of all that lies beside the agent, shipped weights too.

    A run is not resumed by other code.
    """
    make, _ = find(agent)
    beside = Path(inspect.getfile(make)).parent
    digest = hashlib.sha256()
    for path in [
        *sorted(Path(__file__).parent.parent.rglob("*.py")),
        *sorted(beside.glob("*.py")),
        *sorted(beside.glob("weights/*")),
    ]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    """Whether JSON keeps ``value`` apart from all others: None is not the word "none"."""
    return value is None or isinstance(value, bool | int | float | str)


def _content(value: Any) -> Any:
    """What an option stands for: the content of a file it names, so that another checkpoint is another run."""
    if isinstance(value, str | Path):
        try:
            return hashlib.sha256(Path(value).read_bytes()).hexdigest()
        except (OSError, ValueError):  # no file, a folder, or no legal name: the option stands for itself
            return str(value)
    return value


def _run_parts(
    plan: Plan, env: NowcastingEnv, missing: list[int], journal: Path, run_digest: str, bar: Any = None
) -> None:
    """Run offline sequences, in as few unbroken parts as they make, into a journal of the run named by its digest."""
    book = Journal(journal, env.task.leads, run_digest)

    parent = multiprocessing.parent_process()

    def record(index: int, tally: Tally) -> None:
        book.add(index, tally)
        if bar is not None:
            bar.update()
        if parent is not None and not parent.is_alive():
            raise SystemExit(1)  # killed: nobody waits for the rest

    try:
        agent = load(plan.agent, env.task, **plan.options)
        for start, stop in _unbroken(missing):
            run(env, agent, options={"start": start, "stop": stop}, record=record)
    finally:
        book.close()


def _unbroken(indices: list[int]) -> Iterator[tuple[int, int]]:
    start = None
    for here, following in pairwise([*indices, -1]):
        start = here if start is None else start
        if following != here + 1:
            yield start, here + 1
            start = None


def _run_workers(plan: Plan, folder: RunFolder, missing: list[int], workers: int, bar: Any) -> None:
    """Share offline sequences among processes, each with a journal of its own; results do not depend on the sharing."""
    context = multiprocessing.get_context("spawn")  # fork is unsafe once torch has threads
    size = -(-len(missing) // workers)
    shares = [missing[i : i + size] for i in range(0, len(missing), size)]
    before = folder.recorded()
    processes = [
        context.Process(target=_work, args=(plan, share, folder.new_journal(), folder.run), daemon=True)
        for share in shares
    ]
    done = 0
    try:
        # Workers are born with interrupts blocked, so that none stops their imports: the parent decides what one means.
        resource_tracker.ensure_running()  # which unblocks them itself, when it starts
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for process in processes:
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        while any(process.is_alive() for process in processes):
            time.sleep(0.1)
            now = folder.recorded() - before
            bar.update(now - done)
            done = now
            if any(process.exitcode for process in processes):
                break
        failed = [process.exitcode for process in processes if process.exitcode]
        if failed:
            raise RunError(
                f"a worker stopped with exit code {failed[0]} (its error is above); what was finished is kept in "
                f"{folder.path}, and the same command goes on from there"
            )
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
    bar.update(folder.recorded() - before - done)


def _work(plan: Plan, share: list[int], journal: Path, run_digest: str) -> None:
    _run_parts(plan, plan.environment(), share, journal, run_digest)


def _run_online(
    plan: Plan, env: NowcastingEnv, folder: RunFolder, missing: list[int], count: int, bar: Any, seconds: float
) -> None:
    """Run the stream from the first missing sequence on, with the agent that an unbroken run would have there."""
    agent = load(plan.agent, env.task, **plan.options)
    wanted, options, skip = set(missing), {"start": 0, "stop": count}, 0
    if isinstance(agent, Learner):
        start = _restore(agent, folder, missing[0])
        options |= {"start": start, "continued": start > 0}
    else:
        options["start"] = int(env.schedule.episode_starts[env.schedule.episode(missing[0])])
        skip = missing[0]
    book = Journal(folder.new_journal(), env.task.leads, folder.run)
    saved = time.monotonic()

    def record(index: int, tally: Tally) -> None:
        if index in wanted:
            book.add(index, tally)
            wanted.remove(index)
            bar.update()

    def after(index: int) -> None:
        nonlocal saved
        if isinstance(agent, Learner) and index + 1 < count and time.monotonic() - saved >= seconds:
            _save(agent, folder, index + 1, first_missing=min(wanted, default=count))
            saved = time.monotonic()

    try:
        run(env, agent, options=options, skip=skip, record=record, after=after)
    finally:
        book.close()


def _save(agent: Learner, folder: RunFolder, following: int, first_missing: int) -> None:
    """Write the checkpoint from which sequence ``following`` can be run, and drop those that no resume would use.

    What is still sealed is not recorded, so a resume begins with a checkpoint at or before ``first_missing``.
    """
    path = folder.path / f"{following:06d}.checkpoint"
    temporary, mark = path.with_suffix(".partial"), path.with_suffix(".json")
    with writing(path):
        try:
            agent.save(temporary)
            data = temporary.read_bytes()
        finally:
            temporary.unlink(missing_ok=True)
        write_atomically(path, data)
    with writing(mark):
        write_atomically(mark, json.dumps(_sidecar(folder, following, data)).encode())
    usable = [p for p in sorted(folder.path.glob("*.checkpoint")) if int(p.stem) <= first_missing]
    for old in usable[:-_SPARE_CHECKPOINTS]:
        with writing(old):
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink()


def _sidecar(folder: RunFolder, following: int, data: bytes) -> dict[str, Any]:
    """What stands beside a checkpoint: of which run and place it is, and the checksum of its ``data``."""
    return {"run": folder.run, "sequence": following, "sha256": hashlib.sha256(data).hexdigest()}


def _restore(agent: Agent, folder: RunFolder, first_missing: int) -> int:
    """Restore the newest sound checkpoint not beyond ``first_missing``; return the sequence it goes on with, or 0."""
    assert isinstance(agent, Learner)
    for path in sorted(folder.path.glob("*.checkpoint"), reverse=True):
        if int(path.stem) <= first_missing and _is_sound(path, folder):
            agent.restore(path)
            return int(path.stem)
    return 0


def _is_sound(path: Path, folder: RunFolder) -> bool:
    try:
        return read_facts(path.with_suffix(".json"), "") == _sidecar(folder, int(path.stem), path.read_bytes())
    except (OSError, RunError):  # damaged: there is another
        return False
