"""Jobs: parts of a run that do not depend on each other, which any process that sees the run folder can do.

Sequences of an offline run are independent, and so are those of an agent that is declared memoryless. Episodes of an
online run are independent if the agent does not learn. The online run of a learner is one job, which goes on from its
last checkpoint. Each attempt at a job writes a journal of its own and begins with what no journal of the run holds.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby, pairwise
from typing import Any

from hko7env.contract import Agent, Learner, is_memoryless
from hko7env.env import NowcastingEnv
from hko7env.evaluation.checkpoints import restore_checkpoint, save_checkpoint
from hko7env.evaluation.claims import Claim
from hko7env.evaluation.journal import create_journal
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.recording import Recorder, Work, outstanding
from hko7env.evaluation.workers import is_orphan
from hko7env.loading import find, load
from hko7env.parallel import parts_of
from hko7env.runner import run
from hko7env.schedule import Schedule
from hko7env.scores import Tally

FEWEST, MOST = 8, 32  # sequences of a job: making an agent takes a while, and a job that is lost should not be long

_EXPECTED = (ValueError, OSError, MemoryError, FloatingPointError)  # errors whose message is enough


class Kind(Enum):
    """What a job runs; the value is its place in the queue, because long jobs must begin first."""

    WHOLE = 0  # an online run, all of it
    EPISODES = 1  # episodes of an online run
    SEQUENCES = 2  # sequences that are independent of each other


@dataclass(frozen=True)
class Job:
    """A part of a run.

    Attributes:
        plan: What is evaluated.
        kind: What the job runs.
        work: What is to be done, or a part of it.
        count: Number of sequences of the whole run.
        checkpoint_seconds: Seconds between the checkpoints of a learner.
        threads: Number of torch threads; it is the same for all jobs of a run, as it can change roundings.
        claim: The right to run it, if other processes may run it again; None in the process that holds the folder.
    """

    plan: Plan
    kind: Kind
    work: Work
    count: int
    checkpoint_seconds: float
    threads: int
    claim: Claim | None = None


@dataclass(frozen=True)
class Failure:
    """The error of a job in another process.

    Attributes:
        message: The error in one line.
        traceback: Where it was raised, if the message is not enough.
    """

    message: str
    traceback: str = ""


class _Attempt:
    """One attempt at a job: the environment and the agent, and the recording of what they do.

    Args:
        job: The job.
        env: The environment of the plan.
        agent: The agent of the plan.
        claim: The claim of this attempt.
        step: Called after each recorded sequence.
    """

    def __init__(
        self, job: Job, env: NowcastingEnv, agent: Agent, claim: Claim | None, step: Callable[[], None]
    ) -> None:
        self.job, self.agent, self.schedule = job, agent, env.schedule
        self._claim, self._step = claim, step
        self.recorder = Recorder(job.work, create_journal(job.work.folder), env)
        self._saved = time.monotonic()

    def run(self, skip: int = 0, **options: Any) -> None:
        """Run a part of the pass, see :func:`hko7env.runner.run`."""
        self._check()
        run(self.recorder.env, self.agent, options=options, skip=skip, record=self._record, after=self._after)

    def _record(self, index: int, tally: Tally) -> None:
        if self.recorder.add(index, tally):
            self._step()

    def _check(self) -> None:
        """Stop if nobody waits for this attempt any more."""
        if is_orphan():
            raise SystemExit(1)
        if self._claim:
            self._claim.check()

    def _after(self, index: int) -> None:
        self._check()
        following, job = index + 1, self.job
        learns = job.kind is Kind.WHOLE and isinstance(self.agent, Learner)
        if learns and following < job.count and time.monotonic() - self._saved >= job.checkpoint_seconds:
            assert isinstance(self.agent, Learner)
            first = min(self.recorder.wanted, default=job.count)
            save_checkpoint(self.agent, job.work.folder, job.work.run, following, first_missing=first)
            self._saved = time.monotonic()


def run_job(job: Job, env: NowcastingEnv | None = None, step: Callable[[], None] = lambda: None) -> bool:
    """Run a job, or what is left of it.

    Args:
        job: The job.
        env: The environment of its plan; None makes one.
        step: Called after each recorded sequence.

    Returns:
        Whether the job is done. It is not if it is an online run, other processes may share the work, and the agent
        does not learn: then nothing was run, and its episodes should be jobs of their own.

    Raises:
        Exception: Whatever the agent raises.
        RunError: If the claim of this attempt is lost, or a file cannot be written. All finished sequences are kept.
    """
    claim = job.claim.take() if job.claim else None
    job = replace(job, work=outstanding(job.work)) if claim else job
    if not job.work.missing:
        return True
    env = env or job.plan.environment()
    agent = load(job.plan.agent, env.task, **job.plan.options)
    learns = isinstance(agent, Learner)
    if job.kind is Kind.WHOLE and claim and not learns:
        return False
    with _torch_threads(job.threads):
        attempt = _Attempt(job, env, agent, claim, step)
        try:
            if job.kind is Kind.SEQUENCES:
                for start, stop in _unbroken(job.work.missing):
                    attempt.run(start=start, stop=stop)
            elif job.kind is Kind.WHOLE and learns:
                _run_learner(attempt)
            else:
                _run_episodes(attempt)
        finally:
            attempt.recorder.close()
    return True


def _run_learner(attempt: _Attempt) -> None:
    """Go on from the newest checkpoint from which no missing sequence is passed over."""
    work = attempt.job.work
    assert isinstance(attempt.agent, Learner)
    start = restore_checkpoint(attempt.agent, work.folder, work.run, work.missing[0])
    attempt.run(start=start, stop=attempt.job.count, continued=start > 0)


def _run_episodes(attempt: _Attempt) -> None:
    """Run each episode of which something is missing from its begin, as the agent may remember what it has seen."""
    schedule = attempt.schedule
    for episode, indices in groupby(attempt.job.work.missing, schedule.episode):
        missing = list(indices)
        attempt.run(skip=missing[0], start=int(schedule.episode_starts[episode]), stop=missing[-1] + 1)


def _unbroken(indices: list[int]) -> Iterator[tuple[int, int]]:
    """Half-open ranges that hold exactly the increasing ``indices``."""
    start = None
    for here, following in pairwise([*indices, -1]):
        start = here if start is None else start
        if following != here + 1:
            yield start, here + 1
            start = None


@contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    """Inside, torch computes with ``number`` threads, if anybody has imported it."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def attempt_job(job: Job, env: NowcastingEnv | None = None) -> bool | Failure:
    """Run a job in a worker, see :func:`run_job`; errors become a value that any process can read."""
    try:
        return run_job(job, env)
    except Exception as error:
        message = "".join(traceback.format_exception_only(error)).strip().replace("\n", ", ")  # with its notes
        if isinstance(error, _EXPECTED) and not getattr(error, "__notes__", None):  # nothing that an agent raised
            return Failure(str(error) or type(error).__name__)
        return Failure(message, traceback.format_exc())


def first_kind(plan: Plan) -> Kind:
    """What the first job of a run is."""
    independent = not plan.online or is_memoryless(find(plan.agent)[0])
    return Kind.SEQUENCES if independent else Kind.WHOLE


def divide(job: Job, schedule: Schedule, workers: int) -> list[Job]:
    """Cut a job into jobs that ``workers`` processes can share; the cut does not change any result.

    Args:
        job: The job. A whole run becomes jobs of episodes, so its agent must not learn.
        schedule: The schedule of the run.
        workers: Number of processes.
    """
    missing = job.work.missing
    size = min(MOST, max(FEWEST, -(-len(missing) // (4 * workers))))
    if job.kind is Kind.SEQUENCES:
        return [replace(job, work=job.work.part(share)) for share in parts_of(missing, size)]
    shares: list[list[int]] = [[]]
    for _, episode in groupby(missing, schedule.episode):
        if len(shares[-1]) >= size:
            shares.append([])
        shares[-1] += episode
    return [replace(job, kind=Kind.EPISODES, work=job.work.part(share)) for share in shares]
