"""Evaluate an agent into a run folder, resumable after any stop.

Offline sequences are independent, so any missing ones are run, by any number of workers. Online, an agent that does
not learn is shown the current episode again; a learner continues from its last checkpoint.
"""

import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium

import hko7env
from hko7env import progress
from hko7env.contract import Learner
from hko7env.env import NowcastingEnv
from hko7env.evaluation.checkpoints import restore_checkpoint, save_checkpoint
from hko7env.evaluation.code_digest import code_digest
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.provenance import archive_facts, evaluate_command
from hko7env.evaluation.recording import NOTHING, Extras, Recorder, Work, remaining
from hko7env.evaluation.run_folder import RunFolder
from hko7env.evaluation.table import Result
from hko7env.evaluation.workers import is_orphan, run_processes
from hko7env.loading import check_options, find, load
from hko7env.parallel import chunked
from hko7env.runner import run
from hko7env.scores import Tally
from hko7env.split_view import SplitView

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
        agent: Name of the agent, ``module`` or ``module:function``.
        online: Whether the agent sees episodes and may learn.
        archive: Path or URL of an archive; None means the default synthetic one.
        split: A split of the archive, or ``all``; None means ``test``, or all frames of an archive without splits.
        limit: Number of sequences to run, the first ones of the split; None means all.
        cleaned: Whether the agent sees masked locations and small echo as 0.
        options: Fields of the agent's ``Config``.

    Raises:
        ValueError: If ``limit`` is below 1.
    """

    agent: str
    online: bool
    archive: str | None = None
    split: str | None = None
    limit: int | None = None
    cleaned: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")

    def environment(self) -> NowcastingEnv:
        """Make the environment."""
        name = "HKO7-Online-v0" if self.online else "HKO7-Offline-v0"
        env = gymnasium.make(name, archive=self.archive, split=self.split, cleaned=self.cleaned).unwrapped
        assert isinstance(env, NowcastingEnv)
        return env

    @property
    def setting(self) -> str:
        """``online`` or ``offline``."""
        return "online" if self.online else "offline"

    def words(self, out: Path) -> list[str]:
        """The words of the command that runs this plan into the folder ``out`` of run folders."""
        return evaluate_command(
            self.agent,
            self.setting,
            archive=self.archive,
            split=self.split,
            limit=self.limit,
            cleaned=self.cleaned,
            options=self.options,
            out=out,
        )


def evaluate(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    extras: Extras = NOTHING,
) -> Result:
    """Run ``plan``, or what is missing of it, in its folder under ``out``.

    Args:
        plan: What to evaluate.
        out: Folder of run folders; it is created if necessary.
        workers: Number of processes of an offline run. Online runs always use one, because order matters.
        checkpoint_seconds: Seconds between the checkpoints of a learner.
        extras: What to keep besides tallies. It does not change the run: what a run lacks is added by forecasting
            the sequences again.

    Returns:
        The result of the whole run.

    Raises:
        ValueError: For fewer than one worker, an unknown agent, option or split.
        RunError: If another process runs the same plan, a file cannot be used, or a worker failed. Errors of the
            agent are raised as they are, with a note of the sequence. All finished sequences are kept.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    env = plan.environment()
    count = min(plan.limit or len(env.schedule), len(env.schedule))
    folder = open_folder(plan, env, count, out)
    data, episodes = describe(env.view, count), env.schedule.episode(count - 1) + 1
    with folder.held():
        folder.add_sequences(env.schedule)
        tally = folder.finished()
        work = remaining(folder, env.view, count, extras) if tally is None or extras else None
        if work and work.missing:  # else it was stopped between its last record and complete.json
            with progress.bar(count, f"{plan.agent} {plan.setting}", "seq", done=count - len(work.missing)) as bar:
                if plan.online:
                    _run_online(plan, env, folder, work, count, bar, checkpoint_seconds)
                elif workers > 1 and len(work.missing) > 1:
                    _run_workers(plan, folder, work, workers, bar)
                else:
                    _run_parts(plan, env, work, folder.new_journal(), bar)
        if tally is not None:
            return Result(plan.agent, plan.setting, data, tally, episodes)
        result = Result(plan.agent, plan.setting, data, folder.tally(), episodes)
        if result.tally.sequences != count:
            raise RunError(f"{folder.path} holds {result.tally.sequences} of {count} sequences: run it again")
        folder.finish(result, env.task.cadence)
    return result


def describe(view: SplitView, count: int) -> str:
    """Describe the data of a table in one line: source, split, the first ``count`` sequences, fingerprint."""
    source = view.archive.attributes.get("source") or "source unknown"
    caution = (
        "; synthetic rain ranks implementations, it does not prove skill on real rain" if "synthetic" in source else ""
    )
    part = "" if count == len(view.schedule) else f" (first {count} of {len(view.schedule)} sequences)"
    split = f"split {view.split}" if view.split in view.archive.splits else "all frames"
    return f"Data: {source}, {split}{part}, fingerprint {view.archive.fingerprint[:10]}{caution}."


def open_folder(plan: Plan, env: NowcastingEnv, count: int, out: Path) -> RunFolder:
    """The run folder of ``plan`` under ``out``; its name holds a digest of everything that can change a score.

    Args:
        plan: What to evaluate.
        env: The environment of the plan.
        count: Number of sequences to run.
        out: Folder of run folders.

    Raises:
        ValueError: If there is no such agent, or it has no such option.
    """
    identity, context = agent_facts(plan.agent, plan.options)
    identity |= {
        "setting": plan.setting,
        "archive": env.archive.fingerprint,
        "split": env.split,
        "cleaned": plan.cleaned,
        "schedule": env.schedule.sha256,
        "sequences": count,
    }
    context |= {
        "archive": str(plan.archive or "default"),
        "command": plan.words(out),
        "data": archive_facts(env.archive),
        "protocol": {"inputs": env.task.inputs, "leads": env.task.leads, "cadence": env.task.cadence},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    name = f"{plan.agent.replace(':', '.')}-{plan.setting}-{env.split}"
    return RunFolder(out, name, identity, context, env.task.leads)


def agent_facts(agent: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What identifies an agent, and what readers of its run want to know of it, as JSON values.

    Args:
        agent: Name of the agent.
        options: Fields of its ``Config``.

    Returns:
        ``agent``, ``options``, ``code`` and ``versions`` for a run's identity; ``options`` and ``versions`` for its
        context.

    Raises:
        ValueError: If there is no such agent, or it has no such option.
    """
    _, config = find(agent)
    check_options(agent, config, options)
    complete = asdict(config(**options)) if config else {}  # with defaults: they may name a file, or change
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "zarr", "gymnasium", "torch")}
    identity = {
        "agent": agent,
        "options": {name: _content(value) for name, value in complete.items()},
        "code": code_digest(agent),
        "versions": {"hko7env": hko7env.__version__, **{name: versions[name] for name in ("numpy", "torch")}},
    }
    context = {
        "options": {name: value if _is_plain(value) else str(value) for name, value in complete.items()},
        "versions": {"python": platform.python_version(), **versions},
    }
    return identity, context


def _is_plain(value: Any) -> bool:
    """Whether JSON can represent ``value`` without confusing it with another one, as None with the string "none"."""
    return value is None or isinstance(value, bool | int | float | str)


def _content(value: Any) -> Any:
    """The value of an option in the identity: the digest of a file's content if it names one, else the value itself."""
    if isinstance(value, str | Path):
        try:
            return hashlib.sha256(Path(value).read_bytes()).hexdigest()
        except (OSError, ValueError):  # not a file, or not a legal name
            return str(value)
    return value


def _run_parts(plan: Plan, env: NowcastingEnv, work: Work, journal: Path, bar: Any = None) -> None:
    """Run offline sequences, in as few unbroken parts as possible, into the journal at ``journal``."""
    recorder = Recorder(work, journal, env)

    def record(index: int, tally: Tally) -> None:
        recorder.add(index, tally)
        if bar is not None:
            bar.update()
        if is_orphan():
            raise SystemExit(1)

    try:
        agent = load(plan.agent, env.task, **plan.options)
        for start, stop in _unbroken(work.missing):
            run(recorder.env, agent, options={"start": start, "stop": stop}, record=record)
    finally:
        recorder.close()


def _unbroken(indices: list[int]) -> Iterator[tuple[int, int]]:
    """Half-open ranges that hold exactly the increasing ``indices``."""
    start = None
    for here, following in pairwise([*indices, -1]):
        start = here if start is None else start
        if following != here + 1:
            yield start, here + 1
            start = None


def _run_workers(plan: Plan, folder: RunFolder, work: Work, workers: int, bar: Any) -> None:
    """Share offline sequences among processes, each with a journal of its own; the sharing does not change results."""
    before, shown = folder.recorded(), 0

    def poll() -> None:
        nonlocal shown
        done = folder.recorded() - before
        bar.update(done - shown)
        shown = done

    jobs = [
        partial(_run_share, plan, work.part(share), folder.new_journal()) for share in chunked(work.missing, workers)
    ]
    try:
        run_processes(jobs, poll)
    except RunError as error:
        raise RunError(f"{error}; {folder.path} keeps the finished sequences: run it again to continue") from error


def _run_share(plan: Plan, work: Work, journal: Path) -> None:
    _run_parts(plan, plan.environment(), work, journal)


def _run_online(
    plan: Plan, env: NowcastingEnv, folder: RunFolder, work: Work, count: int, bar: Any, seconds: float
) -> None:
    """Run from the first missing sequence on, with the agent in the state that it has there in an uninterrupted run."""
    agent = load(plan.agent, env.task, **plan.options)
    first, options, skip = work.missing[0], {"start": 0, "stop": count}, 0
    if isinstance(agent, Learner):
        start = restore_checkpoint(agent, folder, first)
        options |= {"start": start, "continued": start > 0}
    else:
        options["start"] = int(env.schedule.episode_starts[env.schedule.episode(first)])
        skip = first
    recorder = Recorder(work, folder.new_journal(), env)
    saved = time.monotonic()

    def record(index: int, tally: Tally) -> None:
        if recorder.add(index, tally):
            bar.update()

    def after(index: int) -> None:
        nonlocal saved
        if isinstance(agent, Learner) and index + 1 < count and time.monotonic() - saved >= seconds:
            save_checkpoint(agent, folder, index + 1, first_missing=min(recorder.wanted, default=count))
            saved = time.monotonic()

    try:
        run(recorder.env, agent, options=options, skip=skip, record=record, after=after)
    finally:
        recorder.close()
