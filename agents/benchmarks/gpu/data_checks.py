"""Do results on the device agree with the CPU's? Rain, digits, optical flow, and a training step that never waits."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from hko7env.archive import Archive, create
from hko7env.archive.format import minutes
from hko7env.loading import load
from hko7env.split_view import SplitView
from hko7env.testing import forecast, observation, task

from ...learning.archive_sampler import ArchiveSampler
from ...learning.device_sources import ResidentSampler
from ...learning.prefetch import prefetched
from ...learning.torch_rain import TorchRain
from ...moving_mnist.data import draw_parameters
from ...moving_mnist.rendering import render
from ...optical_flow.advection import advect
from ...optical_flow.segment_motion import departure_points, estimate_motion
from ...optical_flow.variational import estimate_flow
from ..moving_mnist import noise_digits
from ..timing import Line
from .checks import compared, make_small_trainer, relative, skipped
from .settings import Settings

FLOW = 1e-3  # bound of relative errors of motion and of what is advected by it


def check_rain(settings: Settings) -> Iterator[Line]:
    """Synthetic rain: random numbers differ between devices, its statistics must not."""
    side, count = (48, 4) if settings.tiny else (240, 64)
    found = []
    for device in (settings.device, "cpu"):
        frames = TorchRain((side, side), 4, count, seed=3, device=device).batch(0)[0].cpu().float()
        found.append([frames.gt(70).float().mean(), frames.mean(), frames.std(), frames.diff(dim=1).abs().mean()])
    for name, one, other in zip(("wet share", "mean", "deviation", "change in a step"), *found, strict=True):
        yield compared(f"synthetic rain, {name}", abs(float(one / other) - 1), 0.15)


def check_digits(settings: Settings) -> Iterator[Line]:
    """MovingMNIST++."""
    images, drawn = noise_digits(), draw_parameters(0, 0, 4 if settings.tiny else 32, pool=1000)
    yield compared("digits", relative(render(images, drawn, settings.device), render(images, drawn)), 1e-4)


def moving_rain(batch: int, frames: int, side: int) -> torch.Tensor:
    """(B, T, side, side) uint8 levels of synthetic rain, made on the CPU."""
    return TorchRain((side, side), frames, batch, seed=2).batch(0)[0]


def check_sampler(settings: Settings) -> Iterator[Line]:
    """Windows cut on the device beside those that are read from the archive; all of them must be equal."""
    with TemporaryDirectory() as folder:
        archive = create(f"{folder}/rain.zarr", shape=(60, 60))
        archive.append(minutes("2015-06-01") + 6 * np.arange(40), moving_rain(1, 40, 60)[0].numpy())
        view = SplitView(Archive(f"{folder}/rain.zarr"), "all")
        options: dict[str, Any] = {"seed": 1, "crop": 30, "stride": 30, "candidates": 3, "varied": True}
        read = ArchiveSampler(view, range(4), **options)
        cut: Any = ResidentSampler(view, range(4), device=settings.place, **options)
        pairs = [zip(read.batch(step), cut.batch(step), strict=True) for step in range(4)]
        differing = sum(int((torch.from_numpy(a) != b.cpu()).sum()) for pair in pairs for a, b in pair)
    yield compared("windows cut on the device, differing pixels", float(differing), 0.0)


def check_flow(settings: Settings) -> Iterator[Line]:
    """ROVER, one sequence and a batch of 16, and the motion of a segment, which calibrated_flow and flow_net use."""
    side = 48 if settings.tiny else 240
    some = task(side, side)
    shown = observation(some)
    ahead = [forecast(load("agents.rover", some, device=place), shown) for place in (settings.device, "cpu")]
    yield compared("ROVER", relative(*ahead), FLOW)
    rain = moving_rain(2 if settings.tiny else 16, 5, side)
    batch = [rover(rain[:, -2:].to(place)) for place in (settings.device, "cpu")]
    yield compared("ROVER, a batch", relative(*batch), FLOW)
    present = np.ones(5, np.bool_)
    motions = [estimate_motion(rain[0].to(place).float(), present) for place in (settings.device, "cpu")]
    yield compared("motion of a segment", relative(*motions), FLOW)
    points = [departure_points(motion, 20) for motion in motions]
    yield compared("trajectories of a segment", relative(*points), FLOW)


def rover(pair: torch.Tensor) -> torch.Tensor:
    """Flow between the two frames of each pair (B, 2, H, W), and twenty advections of the second."""
    motion = estimate_flow(pair[:, 0], pair[:, 1])
    return advect(pair[:, 1].float() / 255, motion, 20)


def check_waiting(settings: Settings) -> Iterator[Line]:
    """Training steps on rain made on the device, in which any wait for the GPU is an error."""
    name = "training steps never wait for the GPU"
    if not settings.cuda:
        yield skipped(name, "only CUDA tells; tests/learning/test_asynchronous.py counts reads on the CPU")
        return
    source: Any = TorchRain((30, 30), 25, 2, device=settings.device)
    with TemporaryDirectory() as folder:
        one = make_small_trainer(settings, Path(folder), source)
        with prefetched(source, 0, 20, one.device) as batches:
            for batch in itertools.islice(batches, 2):
                one._learn(batch, 1e-4)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for batch in itertools.islice(batches, 8):
                    one._learn(batch, 1e-4)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        yield compared(name, 0.0, 0.0)
