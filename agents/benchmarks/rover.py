"""A forecast by ROVER, 20 frames of 480 x 480 px, compared with a plain ROVER that has the same result."""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from hko7env.archive import Archive
from hko7env.archive.format import minutes
from hko7env.contract import Observation, Task
from hko7env.synthetic import full_size_archive

from ..rover import Config, Rover
from .plain_rover import PlainRover
from .timing import Line, compare, lines

REFERENCE = "rover/plain"
TOLERANCE = 1e-4  # pixel


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds of processor time of the flow, the advection and the transforms, on the CPU.

    Raises:
        RuntimeError: If the forecasts differ.
    """
    archive = Archive(str(full_size_archive()))
    first = min(int(np.searchsorted(archive.times, minutes("2015-05-20T10:24"))), len(archive) - 5)
    height, width = archive.scored.shape
    task = Task(5, 20, height, width, 6, archive.scored)
    frames, times = archive.frames(first, first + task.inputs), archive.times[first : first + task.inputs]
    shown = Observation(frames=frames, present=np.ones(task.inputs, np.int8), time=times, new_episode=1)
    agents = {REFERENCE: PlainRover(task, Config(device="cpu")), "rover/hko7env": Rover(task, Config(device="cpu"))}
    for agent in agents.values():
        agent.store(shown)
    plain, ours = (agent.predict() for agent in agents.values())
    if not np.allclose(plain, ours, rtol=0, atol=TOLERANCE):  # products with matrices may round otherwise
        raise RuntimeError(f"the plain forecast differs by up to {np.abs(plain - ours).max()}: there is an error")
    jobs = {name: agent.predict for name, agent in agents.items()}
    yield from lines(compare(jobs, args.rounds, time.process_time), REFERENCE, "ms/forecast", size=ours.nbytes)
