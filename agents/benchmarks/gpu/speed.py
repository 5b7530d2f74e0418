"""How long forecasts, training steps and online steps of the networks take, in every way to compute them.

The reference is a TrajGRU that samples one link at a time and launches kernel by kernel (``..plain_trajgru``), in
float32, measured in the same rounds. Convolutions in float32 use TF32 on a GPU, as PyTorch does unless told otherwise.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from hko7env.contract import Observation, Task

from ...learning.clipping import CLIP_NORM, scale_gradients
from ...learning.cuda_graph import loss_and_gradients
from ...learning.loss import rain_loss
from ...learning.network_agent import Config, NetworkAgent
from ...networks.encoder_forecaster import EncoderForecaster
from ..plain_trajgru import plain
from ..timing import Jobs, Line
from .checks import fused_ways
from .settings import Settings, frames_of, noise

Tensor = torch.Tensor
Job = Callable[[], Any]
Makers = dict[str, Callable[[], Job]]

REFERENCES = {"mnist": "mnist trajgru L13", "hko7": "hko7 trajgru"}  # networks that the reference is made of
LINK_BY_LINK = "link by link"
STEPS = ("forecast", "training", "online")
MOST = 100  # rounds


def measure_network(settings: Settings, name: str, step: str, *, compiled: bool = False) -> Iterator[Line]:
    """One step of one network: eager and by a graph, in float32 and bf16, or compiled.

    Args:
        settings: On what to measure.
        name: The network.
        step: One of ``STEPS``; a forecast has a batch of 1, a training step of 4, an online step learns from 1 window.
        compiled: Measure the compiled network beside the eager one.

    Yields:
        A line for each variant.
    """
    make = {"forecast": _forecast, "training": _training, "online": _online}[step]
    reference = REFERENCES[name.split()[0]]
    makers: Makers = {LINK_BY_LINK: lambda: make(settings, reference, _plain(settings, reference), False)}
    ways = ["compiled"] if compiled else ["eager", *(["graph"] if _has_graph(settings, name, step) else [])]
    for precision in ("float32", "bf16")[: 1 if settings.tiny and step != "forecast" else None]:
        for fused in ("",) if compiled else fused_ways(settings, name) or ("",):
            options = {"precision": precision, **({"fused": fused} if fused else {})}
            for way in ways:
                shown = ", ".join([precision, *([f"fused {fused}"] if fused else []), way])
                makers[shown] = partial(_make, settings, name, make, way, options)
    for each in race(settings, makers, LINK_BY_LINK):
        yield {"name": name, "step": step, **each}


def _has_graph(settings: Settings, name: str, step: str) -> bool:
    recurrent = issubclass(type(settings.network(name, device="meta")), EncoderForecaster)
    return (recurrent or step == "forecast") and (settings.cuda or step != "online")


def _plain(settings: Settings, name: str) -> Any:
    return plain(settings.network(name))  # type: ignore[arg-type]


def _make(settings: Settings, name: str, make: Callable[..., Job], way: str, options: Mapping[str, str]) -> Job:
    """The job of one variant."""
    net: Any = settings.network(name, **options)
    return make(settings, name, settings.compile(net) if way == "compiled" else net, way == "graph")


def _forecast(settings: Settings, name: str, net: Any, graph: bool) -> Job:
    frames = noise(1, frames_of(name)[0], settings.side(name), settings.device)
    if graph:
        return partial(settings.graphed_forecast(net), frames)

    def work() -> None:
        with torch.no_grad():
            net(frames)

    return work


def _training(settings: Settings, name: str, net: Any, graph: bool) -> Job:
    """A whole step: loss, gradients, clipping and Adam, at a rate of 0."""
    inputs, leads = frames_of(name)
    side, batch = settings.side(name), settings.batch
    frames = (255 * noise(batch, inputs + leads, side, settings.device)).to(torch.uint8)
    there = torch.ones(batch, inputs + leads, dtype=torch.bool, device=settings.device)
    static = torch.ones(side, side, dtype=torch.bool, device=settings.device)
    original = getattr(net, "_orig_mod", net)
    loss = rain_loss(original, Task(inputs, leads, side, side, 6, np.ones((side, side), bool)))

    def value(windows: tuple[Tensor, ...]) -> Tensor:
        return loss(net, windows)

    compute = settings.graphed_loss(net, value) if graph else loss_and_gradients(net, value, graph=False)
    adam = torch.optim.Adam(net.parameters(), lr=0.0, fused=settings.cuda or None)

    def work() -> None:
        compute((frames, there, static))
        scale_gradients(original, CLIP_NORM)
        adam.step()

    return work


def _online(settings: Settings, name: str, net: Any, graph: bool) -> Job:
    """Five new frames stored and one step of AdaGrad on the newest 25, at rate 0."""
    inputs, leads = frames_of(name)
    side = settings.side(name)
    task = Task(inputs, leads, side, side, 6, np.ones((side, side), bool))
    frames = np.random.default_rng(0).integers(0, 256, (inputs, side, side), dtype=np.uint8)
    shown = Observation(frames=frames, present=np.ones(inputs, np.int8), time=np.arange(inputs), new_episode=0)
    original = getattr(net, "_orig_mod", net)
    agent = NetworkAgent(task, original, Config(online_rate=0, graph=graph))
    for _ in range(leads // inputs):
        agent.store(shown)

    def work() -> None:
        agent.store(shown)
        agent.update()

    return work


def race(settings: Settings, makers: Mapping[str, Callable[[], Job]], reference: str = "") -> Iterator[Line]:
    """Time jobs in alternating rounds, after two calls to warm up; one that fails does not stop the others.

    Args:
        settings: The device, and for how long.
        makers: Make the jobs, by name.
        reference: The job that the others are compared with; empty for none.

    Yields:
        ``variant``, ``median`` ms with the least and largest, how many times as ``fast`` as the reference, and
        ``bytes``, by how much the first call raised the memory in use on the GPU at its peak, or ``failed``.
    """
    jobs: Jobs = {}
    memory: dict[str, int] = {}
    for name, make in makers.items():
        try:
            jobs[name], memory[name] = _prepare(settings, make)
        except Exception as error:  # whatever keeps one variant from running belongs into the table
            yield {"variant": name, "failed": f"{type(error).__name__}: {error}"[:2000]}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    begun = time.perf_counter()
    rounds = 0
    while jobs and rounds < MOST and (rounds < settings.least or time.perf_counter() - begun < settings.seconds):
        for name, job in jobs.items():
            settings.wait()
            start = time.perf_counter()
            job()
            settings.wait()
            times[name].append(time.perf_counter() - start)
        rounds += 1
    middle = {name: median(each) for name, each in times.items()}
    for name, each in times.items():
        yield {
            "variant": name,
            "median": round(1e3 * middle[name], 4),
            "unit": "ms",
            "least": round(1e3 * min(each), 4),
            "most": round(1e3 * max(each), 4),
            "rounds": rounds,
            **({"fast": round(middle[reference] / middle[name], 3)} if reference in middle else {}),
            "bytes": memory[name],
        }


def _prepare(settings: Settings, make: Callable[[], Job]) -> tuple[Job, int]:
    """A job after its first calls, and by how much these raised the memory in use at its peak."""
    before = 0
    if settings.cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    job = make()
    for _ in range(min(settings.least, 2)):
        job()
    settings.wait()
    return job, torch.cuda.max_memory_allocated() - before if settings.cuda else 0
