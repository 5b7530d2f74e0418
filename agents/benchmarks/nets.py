"""Forecasts, training steps and online steps of the networks at full size, on the CPU and on a GPU if there is one.

All are compared with a TrajGRU that samples one link at a time (``plain_trajgru.py``). On a GPU a training step has
a batch of 4, and the steps of a recurrent network are measured once more as one CUDA graph.
"""

import argparse
import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from hko7env.contract import Observation, Task
from hko7env.naming import suggest

from ..learning.cuda_graph import GraphedLoss
from ..learning.network_agent import Config, NetworkAgent
from ..networks.encoder_forecaster import EncoderForecaster
from ..networks.paper_tables import TABLES
from ..networks.registry import make_network
from .plain_trajgru import plain
from .timing import Jobs, Line, compare

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
    for device, data in itertools.product(["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"], REFERENCES):
        chosen = [name for name in names if name.startswith(data)]
        if chosen:
            yield from _measure_data(data, chosen, args.precisions, device, rounds)


def list_nets() -> Iterator[Line]:
    """Parameters of every network of the paper."""
    for name, table in TABLES.items():
        net = make_network(table, *frames_of(name)[:2], device="meta")
        yield {"name": name, "parameters": sum(p.numel() for p in net.parameters())}


def frames_of(name: str) -> tuple[int, int, int]:
    """Frames in, frames out and px a side of a network's data set."""
    return (10, 10, 64) if name.startswith("mnist") else (5, 20, 480)


def _measure_data(data: str, names: list[str], precisions: list[str], device: str, rounds: int) -> Iterator[Line]:
    """The networks ``names``, all of one data set.

    Bytes of a training step: on the CPU what the forward pass keeps for the backward pass, on a GPU the peak.
    """
    reference = f"{REFERENCES[data]}, link by link"
    nets: dict[str, Any] = {reference: plain(build(REFERENCES[data], "float32", device))}
    for name, precision in itertools.product(names, precisions):
        nets[f"{name}, {precision}"] = build(name, precision, device)
    size = frames_of(data)
    for what, make in (("forward", forecasts), ("training step", trainings), ("online step", online)):
        if what == "online step" and data == "mnist":
            continue
        jobs: Jobs = {}
        for name, net in nets.items():
            jobs |= make(name, net, size, device, name != reference)
        medians = compare(jobs, rounds)
        for name, seconds in medians.items():
            counted = what == "training step" and name in nets
            yield {
                "name": f"nets/{device}/{name}/{what}",
                "median": round(1e3 * seconds, 1),
                "unit": "ms",
                "ratio": round(seconds / medians[reference], 3),
                "bytes": kept(nets[name], jobs[name], size) if counted else 0,
            }


def build(name: str, precision: str, device: str) -> Any:
    """The network of ``TABLES[name]``; batch normalisation uses its statistics, as in fine-tuning."""
    return make_network(TABLES[name], *frames_of(name)[:2], precision=precision, device=device).train(False)


def noise(batch: int, size: tuple[int, int, int], device: str) -> torch.Tensor:
    """Uniform noise (B, J, px, px), always the same."""
    inputs, _, px = size
    return torch.rand(batch, inputs, px, px, generator=torch.Generator().manual_seed(0)).to(device)


def forecasts(name: str, net: Any, size: tuple[int, int, int], device: str, _: bool) -> Jobs:
    """One forecast, finished when the job returns."""
    frames = noise(1, size, device)

    def work() -> None:
        with torch.no_grad():
            net(frames).sum().item()

    return {name: work}


def trainings(name: str, net: Any, size: tuple[int, int, int], device: str, graphs: bool) -> Jobs:
    """Forecast and gradients; the optimiser is the same for all and left out."""
    frames = noise(4 if device == "cuda" else 1, size, device)

    def work() -> None:
        net.zero_grad()
        squared(net, frames).backward()
        next(net.parameters()).grad.sum().item()

    jobs: Jobs = {name: work}
    if graphs and device == "cuda" and isinstance(net, EncoderForecaster):
        own = copy.deepcopy(net)  # a CUDA graph keeps the addresses of its gradients
        captured = GraphedLoss(own, lambda batch: squared(own, *batch))
        jobs[f"{name}, graph"] = lambda: captured((frames,)).item()
    return jobs


def squared(net: Any, frames: torch.Tensor) -> torch.Tensor:
    """A scalar to differentiate: the mean square of the forecast."""
    value: torch.Tensor = net(frames).square().mean()
    return value


def online(name: str, net: Any, size: tuple[int, int, int], device: str, graphs: bool) -> Jobs:
    """Five new frames stored and one step of AdaGrad on the newest 25, at rate 0."""
    inputs, leads, px = size
    task = Task(inputs, leads, px, px, 6, np.ones((px, px), bool))
    frames = np.random.default_rng(0).integers(0, 256, (inputs, px, px), dtype=np.uint8)
    shown = Observation(frames=frames, present=np.ones(inputs, np.int8), time=np.arange(inputs), new_episode=0)
    jobs: Jobs = {}
    for graph in (False, True) if graphs and device == "cuda" and isinstance(net, EncoderForecaster) else (False,):
        agent = NetworkAgent(task, copy.deepcopy(net), Config(online_rate=0, graph=graph))
        for _ in range(leads // inputs):
            agent.store(shown)
        jobs[f"{name}, graph" if graph else name] = functools.partial(learn, agent, shown)
    return jobs


def learn(agent: NetworkAgent, shown: Observation) -> None:
    """One step of the stream; on a GPU too it has ended on return, because clipping reads the norm of the gradients."""
    agent.store(shown)
    agent.update()


def kept(net: Any, work: Callable[[], Any], size: tuple[int, int, int]) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights not counted; on a GPU the peak of ``work``."""
    if next(net.parameters()).is_cuda:
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = net(noise(1, size, "cpu"))
    total = sum(size for pointer, size in storages.items() if pointer not in own)
    del result
    return total
