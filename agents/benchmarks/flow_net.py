"""What each choice in ``agents.flow_net`` is worth: short trainings that differ in one of them."""

import argparse
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hko7env.archive import Archive
from hko7env.schedule import INPUTS
from hko7env.split_view import SplitView
from hko7env.synthetic import default_archive

from ..learning.advected_sampler import AdvectedSampler, Windows
from ..learning.flow_training import CROP, AdvectedValidation, advected_loss
from ..learning.train_config import TrainConfig
from ..learning.trainer import Trainer
from ..networks.flow_net import FLOW_NET, WIDTHS, FlowNet
from .timing import Line

STEPS, BATCH, VALIDATED = 400, 4, 30  # steps of a training, windows of a step, batches of the validation


class AtRest(Windows):
    """Frames that are not advected."""

    def estimate(self, start: np.int64, stride: int) -> torch.Tensor:
        """No motion."""
        return torch.zeros_like(super().estimate(start, stride))


class NewestOnly(Windows):
    """The newest frame takes the place of the older ones; the motion is that of all."""

    def frames(self, start: np.int64, stride: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The newest frame; the others are missing."""
        frames, present = super().frames(start, stride)
        newest = np.arange(INPUTS) == INPUTS - 1
        return frames * newest[:, None, None], present & newest


class Variant(NamedTuple):
    """What differs from the training of the shipped network.

    Attributes:
        windows: How frames are advected.
        widths: Channels of the network.
        varied: Whether windows are varied.
        sources: "all" archives, "real" ones or "synthetic" ones.
    """

    windows: type[Windows] = Windows
    widths: tuple[int, ...] = WIDTHS
    varied: bool = True
    sources: str = "all"


VARIANTS: Mapping[str, Variant] = {
    "as shipped": Variant(),
    "frames at rest": Variant(windows=AtRest),
    "newest frame only": Variant(windows=NewestOnly),
    "half as wide": Variant(widths=tuple(width // 2 for width in WIDTHS)),
    "no variations": Variant(varied=False),
    "real rain only": Variant(sources="real"),
    "synthetic rain only": Variant(sources="synthetic"),
}


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """The validation loss of each variant, and its ratio to that of the first."""
    archives = [Archive(path) for path in args.archive or [str(default_archive())]]
    reference = None
    for name, variant in VARIANTS.items():
        losses = train_and_validate(variant, archives, STEPS)
        mean = float(np.mean(list(losses.values())))
        reference = reference or mean
        rounded = {archive: round(loss, 4) for archive, loss in losses.items()}
        yield {"name": f"flow-net/{name}", "loss": round(mean, 4), "ratio": round(mean / reference, 3), **rounded}


def train_and_validate(variant: Variant, archives: list[Archive], steps: int) -> dict[str, float]:
    """Train a variant on the splits ``train``, in equal shares, and validate it on the splits ``valid``.

    Args:
        variant: The variant.
        archives: Archives with these splits; those without ``valid`` are only trained on.
        steps: Number of steps of BATCH windows.

    Returns:
        The loss on each archive by the stem of its name.

    Raises:
        ValueError: If no archive is left to learn from.
    """
    synthetic = ["synthetic" in archive.attributes.get("source", "") for archive in archives]
    wanted = {"all": (True, False), "real": (False,), "synthetic": (True,)}[variant.sources]
    learned = [(SplitView(a, "train"), 1.0) for a, made in zip(archives, synthetic, strict=True) if made in wanted]
    net = FlowNet(INPUTS, variant.widths)
    net.initialise(0)
    loss = advected_loss(archives[0].zr, torch.device("cpu"))
    source = AdvectedSampler(learned, range(BATCH), crop=CROP, varied=variant.varied, windows=variant.windows)
    config = TrainConfig.for_model(FLOW_NET, {"steps": steps, "batch": BATCH, "weight_averaging": 0.0})
    with TemporaryDirectory() as folder:
        Trainer(net, source, loss, config, Path(folder) / "variant", {}).run()
    found = {}
    for archive in itertools.filterfalse(lambda archive: "valid" not in archive.splits, archives):
        fixed = AdvectedSampler(
            [(SplitView(archive, "valid"), 1.0)], range(4), seed=1, crop=CROP, varied=False, windows=variant.windows
        )
        found[Path(archive.name).stem] = AdvectedValidation(fixed, net, loss, VALIDATED)()
    return found
