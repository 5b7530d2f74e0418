"""How much a second: ROVER in batches, synthetic rain, digits, whole trainings, and 200 sequences online."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch

from hko7env.archive import create
from hko7env.archive.format import minutes
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.plan import Plan
from hko7env.testing import task

from ...learning.cuda_graph import record_graph
from ...learning.device_sources import RainSource
from ...learning.loss import rain_loss
from ...learning.prefetch import prefetched
from ...learning.radar_training import RAIN_STEPS
from ...learning.torch_rain import TorchRain
from ...learning.train_config import Optimisation
from ...learning.trainer import REPORT_EVERY, Trainer
from ...moving_mnist.data import draw_parameters
from ...moving_mnist.experiment import DigitSource, squared_error
from ...moving_mnist.rendering import render
from ...networks import transition
from ..moving_mnist import noise_digits
from ..timing import Line
from .checks import skipped
from .data_checks import rover
from .settings import Settings, noise
from .speed import race

HKO7_TEST = 6053  # sequences of HKO-7's test split
SEQUENCES, EPISODES = 200, 10  # of the evaluation


def measure_rover(settings: Settings) -> Iterator[Line]:
    """Flow and twenty advections of a batch of 16, eager and as a CUDA graph; milliseconds a sequence."""
    side, batch = (48, 2) if settings.tiny else (480, 16)
    pair = TorchRain((side, side), 2, batch, seed=2, device=settings.device).batch(0)[0]

    def work() -> None:
        rover(pair)

    makers: dict[str, Callable[[], Callable[[], Any]]] = {"eager": lambda: work}
    if settings.cuda:
        makers["graph"] = lambda: record_graph(work)
    for each in race(settings, makers):
        if "median" in each:
            each |= {key: round(each[key] / batch, 4) for key in ("median", "least", "most")}
        yield {"name": f"ROVER, batches of {batch}, {side} x {side} px", **each, "unit": "ms/sequence"}


def measure_sources(settings: Settings) -> Iterator[Line]:
    """Sequences a second of the sources that make their batches on the device."""
    side, batch = (48, 2) if settings.tiny else (480, 16)
    rain = TorchRain((side, side), 25, batch, seed=2, device=settings.device)
    images, drawn = noise_digits(), draw_parameters(0, 0, 2 * batch, pool=1000)
    jobs = {
        f"synthetic rain, 25 frames of {side} x {side} px, {batch} at a time": (batch, partial(rain.batch, 0)),
        f"MovingMNIST++, {2 * batch} at a time": (2 * batch, partial(render, images, drawn, settings.device)),
    }
    for name, (count, job) in jobs.items():
        for each in race(settings, {"": lambda job=job: job}):  # type: ignore[misc]
            yield {"name": name, "value": round(1e3 * count / each["median"], 1), "unit": "sequences/s"}


def measure_trainings(settings: Settings) -> Iterator[Line]:
    """Steps a second of whole trainings, with their data: on synthetic rain and on digits."""
    sizes = [("hko7 trajgru", settings.side("hko7 trajgru"), settings.batch)]
    if not settings.tiny:
        sizes += [("hko7 trajgru", 240, 8), ("hko7 convgru", 240, 8)]
        sizes += [("mnist trajgru L13", 64, 4), ("mnist convgru K5D1", 64, 4)]
    for precision in ("float32", "bf16")[: 1 if settings.tiny else None]:
        for name, side, batch in sizes:
            yield _train(settings, name, precision, side, batch)


def _train(settings: Settings, name: str, precision: str, side: int, size: int) -> Line:
    net: Any = settings.network(name, precision=precision)
    source: Any
    loss: Any
    if name.startswith("mnist"):
        source, loss = DigitSource(noise_digits(), size, device=settings.device), squared_error
    else:
        rain = TorchRain((side, side), 25, size * RAIN_STEPS, device=settings.device)
        source, loss = RainSource(rain, RAIN_STEPS), rain_loss(net, task(side, side))
    steps, begun = 0, 0.0
    with TemporaryDirectory() as folder:
        one = Trainer(net, source, loss, Optimisation(), Path(folder), {}, graph=settings.cuda)
        with prefetched(source, 0, 10**6, one.device) as batches:
            for batch in batches:
                one._learn(batch, 0.0)
                steps += 1
                if steps % REPORT_EVERY == 0 or steps == settings.least:  # as Trainer.run
                    settings.wait()
                if steps == settings.least:
                    begun = time.perf_counter()
                elif steps > settings.least and time.perf_counter() - begun > settings.seconds:
                    break
            settings.wait()
            seconds = time.perf_counter() - begun
    timed = steps - settings.least
    shown = f"training with data, {name}, {side} x {side} px, batch {size}, {precision}"
    return {"name": shown, "value": round(timed / seconds, 2), "unit": "steps/s", "steps": timed}


def measure_evaluation(settings: Settings) -> Iterator[Line]:
    """200 sequences online with untrained weights, from an archive of synthetic rain made on the spot."""
    side, sequences = (60, 2) if settings.tiny else (480, SEQUENCES)
    episodes = 1 if settings.tiny else EPISODES
    size, extrapolated = "small" if settings.tiny else "full", f"ms/sequence; {HKO7_TEST} sequences, extrapolated"
    runs: list[tuple[str, str, dict[str, Any]]] = [("last frame, for the environment alone", "agents.last_frame", {})]
    for precision in ("float32", "bf16"):
        options = {"size": size, "checkpoint": "none", "device": settings.device, "precision": precision}
        runs.append((f"TrajGRU online, {precision}", "agents.trajgru", {**options, "graph": settings.cuda}))
    with TemporaryDirectory() as folder:
        archive = _make_archive(settings, Path(folder) / "rain.zarr", side, episodes, 25 + 5 * (sequences // episodes))
        for name, agent, options in runs[: 2 if settings.tiny else None]:
            begun = time.perf_counter()
            plan = Plan(agent, True, str(archive), None, sequences, options=options)
            done = evaluate(plan, Path(folder) / "runs").tally.sequences
            seconds = time.perf_counter() - begun
            about = {
                "sequences": done,
                "seconds": round(seconds, 2),
                "minutes": round(seconds / done * HKO7_TEST / 60, 2),
            }
            yield {"name": name, "value": round(1e3 * seconds / done, 2), "unit": extrapolated, **about}


def _make_archive(settings: Settings, path: Path, side: int, episodes: int, frames: int) -> Path:
    """An archive of episodes of synthetic rain, a day apart each, made on the device."""
    rain = TorchRain((side, side), frames, episodes, seed=6, device=settings.device)
    levels = rain.batch(0)[0].cpu().numpy()
    archive = create(str(path), shape=(side, side), source="synthetic rain made for a benchmark")
    for episode, part in enumerate(levels):
        archive.append(minutes("2015-06-01") + 1440 * episode + 6 * np.arange(frames), part)
    return path


def describe_device(settings: Settings) -> Iterator[Line]:
    """What was measured on."""
    facts: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "numpy": np.__version__}
    if settings.cuda:
        about = torch.cuda.get_device_properties(settings.place)
        facts |= {"device": about.name, "memory": about.total_memory, "capability": f"{about.major}.{about.minor}"}
        facts |= {"CUDA": torch.version.cuda, "cuDNN": torch.backends.cudnn.version()}
    for name, value in facts.items():
        yield {"name": name, "fact": value}


def describe_choices(settings: Settings) -> Iterator[Line]:
    """The way to compute a transition that TrajGRU chooses by measurement, for each shape of its states."""
    net = settings.network("hko7 trajgru")
    with mock.patch.object(transition, "select_tiling", wraps=transition.select_tiling) as asked:
        for batch in (1, settings.batch):
            frames = noise(batch, 5, settings.side("hko7 trajgru"), settings.device)
            net(frames).square().mean().backward()
    cases = dict.fromkeys(call.args[0] for call in asked.call_args_list)
    for case in cases:
        chosen = transition.select_tiling(case)
        yield {"name": str(case), "fact": "PyTorch's way" if chosen is None else f"fused, {chosen}"}
    if not cases:
        yield skipped("choice of the transition", "this device has PyTorch's way only")
