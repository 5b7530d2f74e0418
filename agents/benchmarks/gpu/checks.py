"""Do results on the device agree with the CPU's? Networks: forecasts, gradients, graphs, compiled, online, training.

Errors are relative: the norm of the difference over the norm of the CPU's result. The bounds are for float32 (sums in
another order), for TF32, in which a GPU rounds the factors of convolutions to 10 bits unless told otherwise, and for
bfloat16 (7 bits).
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from hko7env.loading import load
from hko7env.testing import forecast, observation, task

from ...learning.loss import rain_loss
from ...learning.train_config import Optimisation
from ...learning.trainer import Trainer
from ...networks.network import Network
from ...networks.registry import build, make_network
from ..timing import Line
from .settings import NETWORKS, Settings, exact_float32, frames_of, noise

Tensor = torch.Tensor

LEARNERS = ("hko7 trajgru", "hko7 convgru", "hko7 conv2d", "mnist trajgru L13")  # whose gradients are compared
FORECAST_BOUNDS = {"float32": 1e-4, "TF32": 5e-3, "bf16": 5e-2}
GRADIENT_BOUNDS = {"float32": 1e-3, "TF32": 5e-2, "bf16": 2e-1}
REPEATED = 1e-3  # bound of the same computation done again: gradients with respect to sampled states are atomic sums
TRAINED = 1e-2  # bound after some steps of an optimiser that divides gradients by their size


def compared(name: str, error: float, bound: float) -> Line:
    """One line: an error and what it may be."""
    return {"name": name, "error": float(f"{error:.3g}"), "bound": bound, "passed": bool(error <= bound)}


def skipped(name: str, reason: str) -> Line:
    """One line for what this device cannot do."""
    return {"name": name, "skipped": reason}


def relative(ours: Any, reference: Any) -> float:
    """The norm of a difference over that of ``reference``; tensors, arrays or lists of them. NaN counts as infinite."""
    difference = total = 0.0
    pairs = zip(ours, reference, strict=True) if isinstance(reference, list) else [(ours, reference)]
    for pair in pairs:
        one, other = (torch.as_tensor(each).detach().cpu().double() for each in pair)
        difference += float((one - other).square().sum())
        total += float(other.square().sum())
    error = (difference / max(total, 1e-300)) ** 0.5
    return error if np.isfinite(error) else float("inf")


def _precisions(settings: Settings) -> Iterator[tuple[str, str, AbstractContextManager[None]]]:
    """Name in the table, precision of the network, and what to compute inside."""
    yield "float32", "float32", exact_float32()
    if settings.cuda:
        yield "TF32", "float32", nullcontext()
    yield "bf16", "bf16", nullcontext()


def check_forecasts(settings: Settings) -> Iterator[Line]:
    """The forecast of every network."""
    for name in NETWORKS[: 4 if settings.tiny else None]:
        frames = noise(2, frames_of(name)[0], settings.small_side(name), "cpu")
        with torch.no_grad():
            expected = settings.network(name, device="cpu")(frames)
        for shown, precision, inside in _precisions(settings):
            net = settings.network(name, precision=precision)
            with torch.no_grad(), inside:
                error = relative(net(frames.to(settings.device)), expected)
            yield compared(f"forecast, {name}, {shown}", error, FORECAST_BOUNDS[shown])


def gradients(net: Any, frames: Tensor) -> list[Tensor]:
    """Gradients of the mean square of a forecast."""
    net.zero_grad()
    squared(net, frames).backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


def squared(net: Any, frames: Tensor) -> Tensor:
    """A scalar to differentiate: the mean square of the forecast."""
    value: Tensor = net(frames).square().mean()
    return value


def check_gradients(settings: Settings) -> Iterator[Line]:
    """The gradients of a training step."""
    for name in LEARNERS[: 1 if settings.tiny else None]:
        frames = noise(2, frames_of(name)[0], settings.small_side(name), "cpu")
        expected = gradients(settings.network(name, device="cpu"), frames)
        for shown, precision, inside in _precisions(settings):
            with inside:
                found = gradients(settings.network(name, precision=precision), frames.to(settings.device))
            yield compared(f"gradients, {name}, {shown}", relative(found, expected), GRADIENT_BOUNDS[shown])


def check_graphs(settings: Settings) -> Iterator[Line]:
    """Forecasts and gradients by a CUDA graph, with other frames than those it was recorded with, beside eager ones."""
    for name in ("hko7 trajgru", "hko7 convgru")[: 1 if settings.tiny else None]:
        net = settings.network(name)
        frames = noise(2, frames_of(name)[0], settings.small_side(name), settings.device)
        expected = gradients(net, frames / 2)
        ahead = net(frames / 2).detach()
        foreseen = settings.graphed_forecast(net)
        foreseen(frames)
        yield compared(f"forecast by a graph, {name}", relative(foreseen(frames / 2), ahead), REPEATED)
        own = copy.deepcopy(net)
        recorded = settings.graphed_loss(own, lambda batch, own=own: squared(own, *batch))  # type: ignore[misc]
        recorded((frames,))
        recorded((frames / 2,))
        found = [parameter.grad for parameter in own.parameters()]
        yield compared(f"gradients by a graph, {name}", relative(found, expected), REPEATED)


def fused_ways(settings: Settings, name: str) -> tuple[str, ...]:
    """Values of make_network's option ``fused`` that can be compared for a network; none where there is no choice."""
    known = "fused" in inspect.signature(make_network).parameters
    return ("off", "on") if known and settings.cuda and "trajgru" in name else ()


def check_fused(settings: Settings) -> Iterator[Line]:
    """The fused transition of TrajGRU beside separate operations: forecasts and gradients."""
    for name in (each for each in LEARNERS if "trajgru" in each):
        if not fused_ways(settings, name):
            yield skipped(f"fused transition, {name}", "there is none on this device")
            continue
        frames = noise(2, frames_of(name)[0], settings.small_side(name), settings.device)
        for shown, precision, inside in _precisions(settings):
            with inside:
                nets = [settings.network(name, precision=precision, fused=way) for way in ("on", "off")]
                ahead = [net(frames).detach() for net in nets]
                found = [gradients(net, frames) for net in nets]
            yield compared(f"fused transition, forecast, {name}, {shown}", relative(*ahead), FORECAST_BOUNDS[shown])
            yield compared(f"fused transition, gradients, {name}, {shown}", relative(*found), GRADIENT_BOUNDS[shown])


def check_compiled(settings: Settings) -> Iterator[Line]:
    """Forecasts and gradients of a small compiled network."""
    if settings.tiny:
        yield skipped("compiled networks", "compilation takes too long to try")
        return
    some = task(60, 60)
    net = build("trajgru", "small", some, device=settings.device)
    frames = noise(1, some.inputs, 60, settings.device)
    expected, ahead = gradients(net, frames), net(frames).detach()
    compiled = settings.compile(net)
    yield compared("forecast, compiled", relative(compiled(frames).detach(), ahead), REPEATED)
    net.zero_grad()
    squared(compiled, frames).backward()
    yield compared("gradients, compiled", relative([p.grad for p in net.parameters()], expected), REPEATED)


def check_online(settings: Settings) -> Iterator[Line]:
    """Forecasts of agents after online learning from eight segments."""
    some = task(60, 60)
    shown = [observation(some, step=step, new_episode=step == 0) for step in range(6 if settings.tiny else 8)]
    for name in ("agents.convgru", "agents.trajgru", "agents.flow_net")[: 1 if settings.tiny else None]:
        with exact_float32():
            ahead = [forecast(load(name, some, device=place), *shown) for place in (settings.device, "cpu")]
        yield compared(f"online learning, {name}", relative(*ahead), TRAINED)
    if settings.cuda:
        with exact_float32():
            graph = forecast(load("agents.trajgru", some, device=settings.device, graph=True), *shown)
            plain = forecast(load("agents.trajgru", some, device=settings.device), *shown)
        yield compared("online learning by graphs", relative(graph, plain), TRAINED)


class _Noise:
    """A source of windows of noise."""

    def batch(self, step: int) -> tuple[Any, ...]:
        frames = np.random.default_rng(step).integers(0, 256, (2, 25, 30, 30), dtype=np.uint8)
        return frames, np.ones((2, 25), bool), np.ones((30, 30), bool)


def make_small_trainer(settings: Settings, out: Path, source: Any = None, *, graph: bool = False) -> Trainer:
    """A training of three steps of a small network, by default on noise."""
    some = task(30, 30)
    net = build("convgru" if settings.tiny else "trajgru", "small", some, device=settings.device)
    config = Optimisation(steps=3)
    return Trainer(net, source or _Noise(), rain_loss(net, some), config, out, {}, graph=graph)


def check_training(settings: Settings) -> Iterator[Line]:
    """A training, in one go, stopped and continued, and by graphs, beside the CPU's."""
    with TemporaryDirectory() as folder, exact_float32():
        root = Path(folder)
        with_cpu = make_small_trainer(Settings("cpu", settings.tiny), root / "cpu")
        with_cpu.run()
        expected = list(with_cpu.net.parameters())
        whole = make_small_trainer(settings, root / "whole")
        whole.run()
        yield compared("training, beside the CPU", relative(list(whole.net.parameters()), expected), TRAINED)
        asked = iter([False, True])
        make_small_trainer(settings, root / "parts").run(lambda: next(asked))
        again = make_small_trainer(settings, root / "parts")
        again.run()
        yield compared("training, stopped and continued", relative(list(again.net.parameters()), expected), TRAINED)
        if settings.cuda:
            graph = make_small_trainer(settings, root / "graph", graph=True)
            graph.run()
            yield compared("training by graphs", relative(list(graph.net.parameters()), expected), TRAINED)


def check_batch_normalisation(settings: Settings) -> Iterator[Line]:
    """The path of several GPUs by one process: batch normalisation over all processes, gradients averaged."""
    name = "batch normalisation over processes"
    if not settings.cuda or not dist.is_nccl_available():
        yield skipped(name, "it needs a GPU and NCCL")
        return
    net: Network = settings.network("hko7 conv2d").train()
    frames = noise(2, 5, settings.small_side("hko7 conv2d"), settings.device)
    expected = gradients(copy.deepcopy(net), frames)
    with TemporaryDirectory() as folder:
        dist.init_process_group("nccl", init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            shared = nn.SyncBatchNorm.convert_sync_batchnorm(net)
            wrapped = nn.parallel.DistributedDataParallel(shared, device_ids=[torch.cuda.current_device()])
            yield compared(name, relative(gradients(wrapped, frames), expected), GRADIENT_BOUNDS["TF32"])
        finally:
            dist.destroy_process_group()
