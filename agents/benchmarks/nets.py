"""Forecasts, training steps and online steps of the networks at full size on the CPU; ``gpu`` has those on a GPU.

All are compared with a TrajGRU that samples one link at a time (``plain_trajgru.py``).
"""

import argparse
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from hko7env.contract import Observation, Task
from hko7env.naming import suggest

from ..learning.network_agent import Config, NetworkAgent
from ..networks.paper_tables import TABLES
from ..networks.registry import make_network
from .plain_trajgru import plain
from .timing import Jobs, Line, compare

Job = Callable[[], None]

REFERENCES = {"mnist": "mnist trajgru L13", "hko7": "hko7 trajgru"}  # networks that the plain TrajGRU is made of


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Median milliseconds and their ratio to the reference, or with ``args.list`` the numbers of parameters.

    Raises:
        ValueError: If there is no network of a given name.
    """
    if args.list:
        yield from list_nets()
        return
    names = args.models or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        raise ValueError(f"there is no network {unknown[0]!r}, {suggest(unknown[0], TABLES)}")
    rounds = max(args.rounds // 5, 1)
    for data in REFERENCES:
        chosen = [name for name in names if name.startswith(data)]
        if chosen:
            yield from _measure_data(data, chosen, args.precisions, rounds)


def list_nets() -> Iterator[Line]:
    """Parameters of every network of the paper."""
    for name, table in TABLES.items():
        net = make_network(table, *frames_of(name)[:2], device="meta")
        yield {"name": name, "parameters": sum(p.numel() for p in net.parameters())}


def frames_of(name: str) -> tuple[int, int, int]:
    """Frames in, frames out and px a side of a network's data set."""
    return (10, 10, 64) if name.startswith("mnist") else (5, 20, 480)


def _measure_data(data: str, names: list[str], precisions: list[str], rounds: int) -> Iterator[Line]:
    """The networks ``names``, all of one data set; bytes of a training step: what is kept for the backward pass."""
    reference = f"{REFERENCES[data]}, link by link"
    nets: dict[str, Any] = {reference: plain(build(REFERENCES[data], "float32"))}
    for name, precision in itertools.product(names, precisions):
        nets[f"{name}, {precision}"] = build(name, precision)
    size = frames_of(data)
    for what, make in (("forward", forecasts), ("training step", trainings), ("online step", online)):
        if what == "online step" and data == "mnist":
            continue
        jobs: Jobs = {}
        for name, net in nets.items():
            jobs[name] = make(net, size)
        medians = compare(jobs, rounds)
        for name, seconds in medians.items():
            counted = what == "training step" and name in nets
            yield {
                "name": f"nets/cpu/{name}/{what}",
                "median": round(1e3 * seconds, 1),
                "unit": "ms",
                "ratio": round(seconds / medians[reference], 3),
                "bytes": kept(nets[name], size) if counted else 0,
            }


def build(name: str, precision: str) -> Any:
    """The network of ``TABLES[name]``; batch normalisation uses its statistics, as in fine-tuning."""
    return make_network(TABLES[name], *frames_of(name)[:2], precision=precision).train(False)


def noise(size: tuple[int, int, int]) -> torch.Tensor:
    """Uniform noise (1, J, px, px), always the same."""
    inputs, _, px = size
    return torch.rand(1, inputs, px, px, generator=torch.Generator().manual_seed(0))


def forecasts(net: Any, size: tuple[int, int, int]) -> Job:
    """One forecast."""
    frames = noise(size)

    def work() -> None:
        with torch.no_grad():
            net(frames)

    return work


def trainings(net: Any, size: tuple[int, int, int]) -> Job:
    """Forecast and gradients; the optimiser is the same for all and left out."""
    frames = noise(size)

    def work() -> None:
        net.zero_grad()
        net(frames).square().mean().backward()

    return work


def online(net: Any, size: tuple[int, int, int]) -> Job:
    """Five new frames stored and one step of AdaGrad on the newest 25, at rate 0."""
    inputs, leads, px = size
    task = Task(inputs, leads, px, px, 6, np.ones((px, px), bool))
    frames = np.random.default_rng(0).integers(0, 256, (inputs, px, px), dtype=np.uint8)
    shown = Observation(frames=frames, present=np.ones(inputs, np.int8), time=np.arange(inputs), new_episode=0)
    agent = NetworkAgent(task, copy.deepcopy(net), Config(online_rate=0))
    for _ in range(leads // inputs):
        agent.store(shown)

    def work() -> None:
        agent.store(shown)
        agent.update()

    return work


def kept(net: Any, size: tuple[int, int, int]) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights not counted."""
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = net(noise(size))
    total = sum(size for pointer, size in storages.items() if pointer not in own)
    del result
    return total
