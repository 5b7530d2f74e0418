"""Evaluate agents into run folders, resumable after any stop, by any number of processes or machines.

A run is cut into jobs (:mod:`hko7env.evaluation.jobs`). They are done in this process, by worker processes of this
machine, or by a dask cluster; the results are the same. This process holds the folders of the runs.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from hko7env import progress
from hko7env.env import NowcastingEnv
from hko7env.evaluation.claims import issue, name_command
from hko7env.evaluation.cluster import ClusterWorkers
from hko7env.evaluation.jobs import FEWEST, Failure, Job, Kind, attempt_job, divide, first_kind, run_job
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.open_run import OpenRun, open_run
from hko7env.evaluation.plan import Plan, open_folder
from hko7env.evaluation.recording import NOTHING, Extras
from hko7env.evaluation.table import Result
from hko7env.evaluation.workers import DeadWorkerError, LocalWorkers
from hko7env.parallel import connect

CHECKPOINT_SECONDS = 60.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Execution:
    """How plans are evaluated; none of it is part of a run.

    Attributes:
        workers: Number of processes; with 1, everything runs in this one.
        scheduler: Address of a dask scheduler whose workers are used instead.
        threads: Number of torch threads of each process. It may change roundings; the number of processes does not.
        checkpoint_seconds: Seconds between the checkpoints of a learner.
        extras: What to keep besides tallies. What a run lacks is added by forecasting the sequences again.

    Raises:
        ValueError: If ``workers`` or ``threads`` is below 1.
    """

    workers: int = 1
    scheduler: str | None = None
    threads: int = 1
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    extras: Extras = NOTHING

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def first_job(self, run: OpenRun) -> Job:
        """All that is missing of a run as one job."""
        return Job(run.plan, first_kind(run.plan), run.work, run.count, self.checkpoint_seconds, self.threads)


class Workers(Protocol):
    """What does jobs, see :class:`~hko7env.evaluation.workers.LocalWorkers`."""

    size: int
    pending: int

    def submit(self, item: Job, /, priority: int) -> None:
        """Queue a job."""

    def collect(self, timeout: float) -> list[tuple[Job, Any]]:
        """Wait for results."""


def evaluate(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    extras: Extras = NOTHING,
) -> Result:
    """Run ``plan``, or what is missing of it, in its folder under ``out``: :func:`evaluate_all` of one plan."""
    execution = Execution(workers=workers, checkpoint_seconds=checkpoint_seconds, extras=extras)
    (result,) = evaluate_all([plan], out, execution)
    return result


def evaluate_all(
    plans: Sequence[Plan],
    out: Path,
    execution: Execution | None = None,
    *,
    finished: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Run ``plans``, or what is missing of them, in their folders under ``out``.

    Args:
        plans: What to evaluate.
        out: Folder of run folders; it is created if necessary.
        execution: How this is done; None for the defaults.
        finished: Called with the result of each run as soon as it is complete, unless it was so before.

    Returns:
        The results of the whole runs, in the order of the plans.

    Raises:
        ValueError: For an unknown agent, option or split, or if a scheduler is given and dask is not installed.
        OSError: If the scheduler does not answer.
        RunError: If another process runs one of the plans, a file cannot be used, or a worker failed. In this process
            errors of an agent are raised as they are, with a note of the sequence. All finished sequences are kept.
    """
    execution = execution or Execution()
    environments: dict[Any, NowcastingEnv] = {}
    results: dict[Path, Result] = {}
    paths: list[Path] = []  # of the runs of the plans, in their order; equal plans have one run
    with ExitStack() as stack:
        unfinished: list[OpenRun] = []
        for plan in plans:
            key = (plan.archive, plan.split, plan.cleaned, plan.online)
            env = environments[key] = environments.get(key) or plan.environment()
            count = min(plan.limit or len(env.schedule), len(env.schedule))
            folder = open_folder(plan, env, count, out)
            if folder.path not in paths:
                with ExitStack() as held:
                    run = held.enter_context(open_run(plan, env, folder, count, execution.extras))
                    if run.work.missing:
                        unfinished.append(run)
                        stack.push(held.pop_all())
                    else:  # perhaps it was stopped between its last record and complete.json
                        results[folder.path] = run.finish()
            paths.append(folder.path)
        if unfinished:
            done = sum(result.tally.sequences for result in results.values())
            completed = stack.enter_context(closing(_complete(unfinished, execution, done, one=len(plans) == 1)))
            for run in completed:
                known = run.tally is not None
                results[run.folder.path] = run.finish()
                if not known:
                    finished(results[run.folder.path])
    return [results[path] for path in paths]


def _complete(runs: list[OpenRun], execution: Execution, done: int, one: bool) -> Generator[OpenRun, None, None]:
    """Do what is missing of ``runs`` and yield each when it is complete, with one progress bar for all.

    Args:
        runs: The runs.
        execution: How it is done.
        done: Number of sequences of other runs, which are complete.
        one: Whether there is only one run.
    """
    few = sum(len(run.work.missing) for run in runs) <= FEWEST  # starting processes would take longer
    name = runs[0].plan.label if one else "all runs"
    shown = done + sum(run.progress for run in runs)
    with progress.bar(done + sum(run.count for run in runs), name, "seq", done=shown) as bar:

        def show() -> None:
            nonlocal shown
            now = done + sum(run.progress for run in runs)
            bar.update(now - shown)
            shown = now

        if execution.scheduler is None and (execution.workers == 1 or few):
            yield from _run_here(runs, execution, show)
        else:
            with _open_workers(execution) as workers:
                yield from _share(runs, execution, workers, show)


@contextmanager
def _open_workers(execution: Execution) -> Iterator[Workers]:
    if execution.scheduler is None:
        with LocalWorkers(attempt_job, execution.workers) as local:
            yield local
    else:
        with connect(execution.scheduler) as client, ClusterWorkers(client) as cluster:
            yield cluster


def _run_here(runs: list[OpenRun], execution: Execution, show: Callable[[], None]) -> Iterator[OpenRun]:
    """Do the runs in their order in this process."""
    for run in runs:

        def step(run: OpenRun = run) -> None:
            run.done += 1
            show()

        run_job(execution.first_job(run), run.env, step)
        yield run


def _share(runs: list[OpenRun], execution: Execution, workers: Workers, show: Callable[[], None]) -> Iterator[OpenRun]:
    """Let workers do the runs, whose jobs may be done in any order, twice, and at the same time."""
    command = name_command()
    by_folder = {run.folder.path: run for run in runs}

    def submit(run: OpenRun, jobs: Iterable[Job]) -> None:
        for job in jobs:
            claim = issue(run.folder.path, run.issued, command)
            work = replace(job.work, recorded={})  # they are read again when the job begins
            workers.submit(replace(job, claim=claim, work=work), priority=job.kind.value)
            run.issued += 1
            run.jobs += 1

    for run in runs:
        job = execution.first_job(run)
        submit(run, [job] if job.kind is Kind.WHOLE else divide(job, run.env.schedule, workers.size))
    while workers.pending:
        for job, answer in workers.collect(_POLL_SECONDS):
            run = by_folder[job.work.folder]
            _check(answer, run)
            if answer:
                run.done += len(job.work.missing)
            else:
                submit(run, divide(job, run.env.schedule, workers.size))
            run.jobs -= 1
            if not run.jobs:
                yield run
        show()


def _check(answer: bool | Failure | DeadWorkerError, run: OpenRun) -> None:
    """Raise RunError if a job failed."""
    if isinstance(answer, bool):
        return
    if isinstance(answer, Failure) and answer.traceback:
        progress.write(answer.traceback)
    message = answer.message if isinstance(answer, Failure) else str(answer)
    raise RunError(
        f"{run.plan.label}: {message}; {run.folder.path} keeps the finished sequences: run it again to continue"
    )
