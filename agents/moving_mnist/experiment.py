"""Table 1 of Shi et al. 2017: ten networks on MovingMNIST++, with their training data, loss and test.

Ten frames of 64 x 64 px in, ten out; pixels 0 to 1 / 0.6, never clipped. Trainings with one seed learn from the same
sequences, whatever the network. States start at zero in each sequence; the released code carries them over from the
batch before, which the paper does not mention.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hko7env import progress
from hko7env.naming import suggest

from ..learning.checkpoint import CheckpointError, fill, number, read, under
from ..learning.trainer import LAST
from ..networks.devices import explain_out_of_memory
from ..networks.network import Network
from ..networks.paper_tables import Table, narrow_table, shape_digest
from ..networks.registry import DIGIT_NETWORKS, PRECISIONS, find_network, make_network
from .data import LEADS, POOL, ROTATION, RULE_VERSION, SEEN, Parameters, draw_parameters
from .rendering import render

Tensor = torch.Tensor
Images = npt.NDArray[np.uint8]
Forecast = Callable[[Tensor], Tensor]  # inputs (B, 10, 64, 64) to forecasts (B, 10, 64, 64)

DATA = "MovingMNIST++"
RATE = 1e-4  # learning rate in the paper


class Sequences(NamedTuple):
    """A batch to learn from: ``frames`` (B, 20, 64, 64) float32."""

    frames: Tensor


class DigitSource:
    """Batches of sequences to learn from; each depends on seed and step alone.

    Args:
        images: (N, 28, 28) uint8, of which the first 40,000 are used.
        size: Sequences per batch.
        seed: Of the sequences.
        rotation: The largest rotation in degrees per frame.
        device: Where to render.
    """

    def __init__(
        self,
        images: Images,
        size: int,
        *,
        seed: int = 0,
        rotation: float = ROTATION,
        device: str | torch.device = "cpu",
    ) -> None:
        self.images, self.size, self.seed, self.rotation, self.device = images[:POOL], size, seed, rotation, device

    def batch(self, step: int) -> Sequences:
        """The batch of ``step``, counted from 0."""
        drawn = draw_parameters(self.seed, step, self.size, pool=len(self.images), rotation=self.rotation)
        return Sequences(render(self.images, drawn, self.device))


def squared_error(forward: Forecast, batch: Any) -> Tensor:
    """The loss: mean squared error of ``forward`` over sequences, leads and pixels."""
    error: Tensor = (forward(batch.frames[:, :SEEN]) - batch.frames[:, SEEN:]).square().mean()
    return error


def digest_images(images: Images) -> str:
    """The identity of the images that sequences are made of; copies of MNIST may differ in their order."""
    return hashlib.sha256(np.ascontiguousarray(images[:POOL]).tobytes()).hexdigest()[:16]


# ---------------------------------------------------------------- networks


def narrow_network(model: str, widths: list[int] | None = None) -> Table:
    """The rows of one of ``DIGIT_NETWORKS``, as wide as in the paper or with other ``widths``; see ``narrow_table``.

    Raises:
        ValueError: If there is no such network, or the widths do not fit.
    """
    rows = find_network(model, DIGIT_NETWORKS).full
    if widths is None:
        return rows
    if min(widths, default=0) < 1:
        raise ValueError(f"widths are at least 1, got {widths}")
    return narrow_table(rows, widths)


def build_network(
    model: str, widths: list[int] | None, *, seed: int = 0, precision: str = "float32", device: str = "cpu"
) -> Network:
    """One of ``DIGIT_NETWORKS`` with random weights and its metadata.

    Raises:
        ValueError: If there is no such network, precision or device, or the widths do not fit.
    """
    spec = find_network(model, DIGIT_NETWORKS)
    rows = narrow_network(model, widths)
    net = make_network(rows, SEEN, LEADS, kind=spec.kind, seed=seed, precision=precision, device=device)
    net.metadata = describe_digit_weights(model, widths)
    return net


def describe_digit_weights(model: str, widths: list[int] | None) -> dict[str, Any]:
    """What weights were made for; the keys are those stored in checkpoints."""
    rows = shape_digest(narrow_network(model, widths))
    return {"data": DATA, "rule": RULE_VERSION, "model": model, "narrow": widths, "table": rows}


def describe_deviations(metadata: dict[str, Any]) -> str:
    """How a training differs from the paper's, apart from its steps; ``metadata`` are those of its checkpoint."""
    batch = find_network(str(metadata["model"]), DIGIT_NETWORKS).batch
    paper = {"batch": batch, "rate": RATE, "rotation": ROTATION, "precision": "float32"}
    parts = [f"widths {' '.join(map(str, metadata['narrow']))}"] if metadata["narrow"] else []
    parts += [f"{name} {metadata[name]:g}" for name in ("batch", "rate", "rotation") if metadata[name] != paper[name]]
    if metadata["precision"] != paper["precision"]:
        parts.append(metadata["precision"])
    return ", ".join(parts)


@dataclass(frozen=True)
class Run:
    """A trained network.

    Attributes:
        net: The network with the newest weights of a training.
        metadata: Of their checkpoint.
    """

    net: Network
    metadata: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, device: str = "cpu") -> "Run":
        """Read the newest weights of the training in ``folder``.

        Raises:
            FileNotFoundError: If there is no training.
            CheckpointError: If the checkpoint is damaged or the training is not on MovingMNIST++.
        """
        path = folder / LAST
        if not path.is_file():
            raise FileNotFoundError(f"no training at {folder}: give the folder of one, which contains {path.name}")
        tensors, metadata = read(path)
        if metadata.get("data") != DATA:
            raise CheckpointError(
                f"{path} is of {metadata.get('model')} trained on radar, not on {DATA}: give its weights as checkpoint "
                "to an agent of that network"
            )
        model, widths = _check_metadata(metadata, path)
        net = build_network(model, widths, precision=metadata["precision"], device=device)
        fill(net, under("net", tensors), path)
        return cls(net, metadata)


def _check_metadata(metadata: dict[str, Any], path: Path) -> tuple[str, list[int] | None]:
    """The network and its widths. Raises CheckpointError if a value is missing or does not fit."""
    for name in ("batch", "seed", "step"):
        number(metadata, name, path)
    for name in ("rate", "rotation", "seconds"):
        number(metadata, name, path, (int, float))
    model, widths = metadata.get("model"), metadata.get("narrow", "")
    try:
        wanted = describe_digit_weights(str(model), widths)
        if metadata.get("precision") not in PRECISIONS:
            raise ValueError(f"there is no precision {metadata.get('precision')!r}, {suggest('', PRECISIONS)}")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be used ({error}): train it again") from error
    for name, value in wanted.items():
        if metadata.get(name) != value:
            raise CheckpointError(f"{path}: {name} has changed since {model} was trained; train it again")
    return str(model), widths


# ---------------------------------------------------------------- test


def forecast_zero(inputs: Tensor) -> Tensor:
    """The trivial forecast of zero everywhere."""
    return torch.zeros_like(inputs[:, :1]).expand(-1, LEADS, -1, -1)


def forecast_last(inputs: Tensor) -> Tensor:
    """The trivial forecast that repeats the newest frame."""
    return inputs[:, -1:].expand(-1, LEADS, -1, -1)


TRIVIAL: dict[str, Forecast] = {"zero": forecast_zero, "last": forecast_last}


def measure_errors(
    forecast: Forecast,
    images: Images,
    parameters: Parameters,
    *,
    device: str | torch.device = "cpu",
    batch: int = 32,
    title: str = "test",
) -> npt.NDArray[np.float64]:
    """Mean squared error of each sequence at each lead, averaged in float64 from forecasts that are not clipped.

    Args:
        forecast: A function, or a network, which is put into evaluation mode.
        images: (M, 28, 28) uint8.
        parameters: Of N sequences.
        device: Where to compute.
        batch: Sequences at a time.
        title: Of the progress bar.

    Returns:
        (N, 10).

    Raises:
        ValueError: If ``batch`` is below 1.
        MemoryError: If the memory does not suffice.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    if isinstance(forecast, torch.nn.Module):
        forecast.train(False)
    found = []
    with progress.bar(len(parameters), title, "seq") as bar, torch.no_grad():
        for start in range(0, len(parameters), batch):
            with explain_out_of_memory(f"choose a batch below {batch}"):
                frames = render(images, parameters[start : start + batch], device)
                error = forecast(frames[:, :SEEN]) - frames[:, SEEN:]
            found.append(error.double().square().mean((2, 3)).cpu().numpy())
            bar.update(len(frames))
    return np.concatenate(found)
