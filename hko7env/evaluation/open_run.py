"""A run that is being evaluated: its folder, held by this process, and what is missing of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hko7env.env import NowcastingEnv
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.plan import Plan, describe
from hko7env.evaluation.recording import Extras, Work, remaining
from hko7env.evaluation.run_folder import RunFolder
from hko7env.evaluation.table import Result
from hko7env.scores import Tally


@dataclass(eq=False)
class OpenRun:
    """A run whose folder this process holds.

    Attributes:
        plan: What is evaluated.
        env: Its environment.
        folder: Its folder.
        count: Number of its sequences.
        work: What was missing when it was opened.
        tally: The tally of the whole run, once it is complete.
        done: Number of sequences of ``work`` that are known to be done; journals may hold more.
        jobs: Number of jobs that are not done.
        issued: Number of claims that were issued.
    """

    plan: Plan
    env: NowcastingEnv
    folder: RunFolder
    count: int
    work: Work
    tally: Tally | None
    done: int = 0
    jobs: int = 0
    issued: int = 0

    def __post_init__(self) -> None:
        self._before = self.folder.recorded()

    @property
    def progress(self) -> int:
        """Number of sequences of the run that are done."""
        missing = len(self.work.missing)
        recorded = self.folder.recorded() - self._before  # more than missing if a job was begun twice
        return self.count - missing + min(max(recorded, self.done), missing)

    def finish(self) -> Result:
        """Mark the folder as complete, unless it is.

        Returns:
            The result of the whole run.

        Raises:
            RunError: If sequences are missing, or a file cannot be written.
        """
        tally = self.tally or self.folder.tally()
        if tally.sequences != self.count:
            raise RunError(f"{self.folder.path} holds {tally.sequences} of {self.count} sequences: run it again")
        data, episodes = describe(self.env.view, self.count), self.env.schedule.episode(self.count - 1) + 1
        result = Result(self.plan.agent, self.plan.setting, data, tally, episodes)
        if self.tally is None:
            self.folder.finish(result, self.env.task.cadence)
            self.tally = tally
        return result


@contextmanager
def open_run(plan: Plan, env: NowcastingEnv, folder: RunFolder, count: int, extras: Extras) -> Iterator[OpenRun]:
    """Hold the folder of a run and find what is missing.

    Args:
        plan: What is evaluated.
        env: Its environment.
        folder: Its folder.
        count: Number of its sequences.
        extras: What is kept besides tallies.

    Raises:
        RunError: If another process holds the folder, or a file of it cannot be used.
    """
    with folder.held():
        folder.add_sequences(env.schedule)
        tally = folder.finished()
        work = Work(folder.path, folder.run, folder.leads, [])
        if tally is None or extras:
            work = remaining(folder, env.view, count, extras)
        yield OpenRun(plan, env, folder, count, work, tally)
