"""Plans, run folders and commands for tests of evaluations."""

import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import hko7env.evaluation.jobs
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.run_folder import RunFolder
from hko7env.loading import load

ROOT = Path(__file__).resolve().parent.parent.parent


def plan(archive, agent="tests.helpers.toys", online=True, **options):
    return Plan(agent, online, str(archive), options=options)


def folder_of(out):
    (folder,) = out.iterdir()
    return folder


def unbroken(one):
    """Algorithm 1 written out, as the oracle of what the runner does."""
    env = one.environment()
    agent = load(one.agent, env.task, **one.options)
    observation, _ = env.reset()
    over = False
    while not over:
        agent.store(observation)
        agent.update()  # offline nothing is learned
        observation, _, over, _, _ = env.step(agent.predict())
    return env.tally


def run_folder_of(out):
    return RunFolder.open(folder_of(out))


def command(archive, out, *more):
    return [
        sys.executable, str(ROOT / "tools/evaluate.py"), "tests.helpers.toys:learner",
        "tests.helpers.toys:make", "--delay", "0.12",
        "--archive", str(archive), "--out", str(out), "--env", "online", *more,
    ]  # fmt: skip


def heed_interrupts():
    """Undo what a shell does to its background jobs, whose children would not notice the signal either."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def stopped_after(stop):
    """Inside, an evaluation is stopped after step ``stop``; that none is stopped is an error."""

    class Stop(Exception):
        pass

    original = hko7env.evaluation.jobs.run

    def stopping(env, agent, *, after, **arguments):
        def count(index):
            after(index)
            if index + 1 == stop:
                raise Stop

        return original(env, agent, after=count, **arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hko7env.evaluation.jobs, "run", stopping)
        with pytest.raises(Stop):
            yield
