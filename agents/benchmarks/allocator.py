"""What it is worth that a process keeps freed memory: training steps of the small networks, with it and without."""

import argparse
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import cache, partial

import torch

from hko7env.allocator import keep_freed_memory

from ..networks.network import Network
from ..networks.registry import NETWORKS, make_network
from .timing import Line, compare, line, peak_memory

INPUTS, LEADS, WINDOWS, SIDE = 5, 20, 2, 240  # frames in and out, windows in a step, px
DEFAULT, KEEPING = "returned to the kernel", "kept"


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds of a training step in two processes that take turns, and the peak memory of each so far."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn, initializer=_start, initargs=(keeps,)))
            for name, keeps in ((DEFAULT, False), (KEEPING, True))
        }
        for model in args.models or NETWORKS:
            jobs = {name: partial(_wait_for_step, pool, model) for name, pool in pools.items()}
            medians = compare(jobs, args.rounds)
            for name, seconds in medians.items():
                peak = pools[name].submit(peak_memory).result()
                yield line(f"allocator/{model}/{name}", seconds, "ms", seconds / medians[DEFAULT], peak)


def _wait_for_step(pool: ProcessPoolExecutor, model: str) -> None:
    pool.submit(_step, model).result()


def _start(keeps: bool) -> None:
    torch.set_num_threads(1)
    if keeps:
        keep_freed_memory()


def _step(model: str) -> None:
    """One forecast of the small network and its gradients; one thread."""
    net = _network(model)
    net.zero_grad()
    net(torch.rand(WINDOWS, INPUTS, SIDE, SIDE)).square().mean().backward()


@cache
def _network(model: str) -> Network:
    return make_network(NETWORKS[model].small, INPUTS, LEADS, kind=NETWORKS[model].kind)
