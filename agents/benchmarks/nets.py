"""The networks' part of ``tools/benchmark.py``: forecasts, training steps and online steps at full size.

All are measured beside a TrajGRU that samples one link at a time (``tools/reference_trajgru.py``). On a GPU a training
step has a batch of 4, and a recurrent network's steps are measured once more as one CUDA graph.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from agents.learning.cuda_graph import Captured
from agents.learning.network_agent import Config, NetworkAgent
from agents.networks.encoder_forecaster import EncoderForecaster, network
from agents.networks.paper_tables import TABLES
from hko7env.contract import Observation, Task
from tools.reference_trajgru import plain

Line = dict[str, Any]
Jobs = dict[str, Callable[[], Any]]


def list_nets() -> Iterator[Line]:
    """Parameters of every network of the paper."""
    for name, table in TABLES.items():
        net = network(table, *frames_of(name)[:2], device="meta")
        yield {"name": name, "parameters": sum(p.numel() for p in net.parameters())}


def frames_of(name: str) -> tuple[int, int, int]:
    """Frames in, frames out and px of a network's data set."""
    return (10, 10, 64) if name.startswith("mnist") else (5, 20, 480)


def measure_nets(
    compare: Callable[[Jobs, int], dict[str, float]], rounds: int, models: list[str] | None, precisions: list[str]
) -> Iterator[Line]:
    """Median milliseconds, ratio to the reference, and bytes of a training step.

    Bytes: on the CPU what the forward pass keeps for the backward pass, on a GPU the peak of the step.
    """
    names = models or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        raise SystemExit(f"there is no network {unknown[0]!r}, only {', '.join(TABLES)}")
    for device, data in itertools.product(["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"], ["mnist", "hko7"]):
        chosen = [name for name in names if name.startswith(data)]
        if not chosen:
            continue
        first = "mnist trajgru L13" if data == "mnist" else "hko7 trajgru"
        reference = f"{first}, link by link"
        nets: dict[str, Any] = {reference: plain(build(first, "float32", device))}
        for name, precision in itertools.product(chosen, precisions):
            nets[f"{name}, {precision}"] = build(name, precision, device)
        for what, make in (("forward", forecasts), ("training step", trainings), ("online step", online)):
            if what == "online step" and data == "mnist":
                continue
            jobs: Jobs = {}
            for name, net in nets.items():
                jobs |= make(name, net, frames_of(data), device, name != reference)
            medians = compare(jobs, max(rounds // 5, 1))
            for name, seconds in medians.items():
                counted = what == "training step" and name in nets
                yield {
                    "name": f"nets/{device}/{name}/{what}",
                    "median": round(1e3 * seconds, 1),
                    "unit": "ms",
                    "ratio": round(seconds / medians[reference], 3),
                    "bytes": kept(nets[name], jobs[name], frames_of(data)) if counted else 0,
                }


def build(name: str, precision: str, device: str) -> Any:
    """The network of ``TABLES[name]``; batch normalisation uses its statistics, as in fine-tuning."""
    return network(TABLES[name], *frames_of(name)[:2], precision=precision, device=device).train(False)


def noise(batch: int, size: tuple[int, int, int], device: str) -> torch.Tensor:
    """Frames (B, J, px, px)."""
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
        own = copy.deepcopy(net)  # its gradients must stay where they are
        captured = Captured(own, lambda batch: squared(own, *batch))
        jobs[f"{name}, graph"] = lambda: captured((frames,)).item()
    return jobs


def squared(net: Any, frames: torch.Tensor) -> torch.Tensor:
    """Something to descend."""
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
    """One step of the stream; it is finished, as clipping looks at the gradients' norm."""
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
