"""Time and memory of an online step of agents that need no GPU, learning included, beside ROVER's."""

import argparse
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count, islice

from hko7env.loading import load
from hko7env.testing import observation, task

from .timing import Line, compare, line, peak_memory

ROVER = "agents.rover"
OURS = ("agents.calibrated_flow", "agents.flow_net")
SIDE = 480  # px
WARM_UP = 5  # steps, after which four forecasts wait for their truth
MEMORY_STEPS = 30  # of the run in which memory is measured


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds of a step at 480 x 480, and the peak memory of a process that runs nothing else."""
    walks = {name: walk(name) for name in (ROVER, *OURS)}
    for steps in walks.values():
        list(islice(steps, WARM_UP))
    medians = compare({name: partial(next, steps) for name, steps in walks.items()}, args.rounds)
    peaks = {name: _peak(name) for name in walks}
    for name, seconds in medians.items():
        ratio, memory = seconds / medians[ROVER], round(peaks[name] / peaks[ROVER], 3)
        yield line(f"steps/{name}", seconds, "ms/step", ratio, peaks[name], **{"memory ratio": memory})


def walk(name: str, side: int = SIDE) -> Iterator[None]:
    """Online steps of the agent ``name`` through eight repeating segments of ``side`` x ``side`` px, without end."""
    some = task(side, side)
    agent = load(name, some)
    shown = [observation(some, step=step, new_episode=step == 0) for step in range(8)]
    for step in count():
        one = shown[step % len(shown)].copy()
        one["time"] = shown[0]["time"] + some.cadence * some.inputs * step
        one["new_episode"] = int(step == 0)
        agent.store(one)
        agent.update()
        agent.predict()
        yield


def _peak(name: str) -> int:
    """Bytes that a new process holds at most while it runs the agent ``name``."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run_and_measure, name).result()


def _run_and_measure(name: str) -> int:
    list(islice(walk(name), MEMORY_STEPS))
    return peak_memory()
