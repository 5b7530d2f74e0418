"""Table 1 of Shi et al. 2017, ten networks on MovingMNIST++: what they are, what they learn from, how they are scored.

Ten frames of 64 x 64 in, ten out; pixels 0 to 1 / 0.6, never clipped. All networks of a seed learn from one stream of
sequences, and states begin as zero in each.
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
from ..learning.trainer import LAST, Settings
from ..networks.encoder_forecaster import PRECISIONS, network
from ..networks.paper_tables import TABLES, Table, is_recurrent, narrowed
from ..networks.registry import Network, fitting, table_digest, usable
from .data import FRAMES, POOL, ROTATION, RULE_VERSION, SEEN, Parameters, draw, render

Tensor = torch.Tensor
Images = npt.NDArray[np.uint8]

MODELS = tuple(name.removeprefix("mnist ").replace(" ", "-") for name in TABLES if name.startswith("mnist "))
SCHEDULES = ("paper", "short")
LEADS = FRAMES - SEEN
DATA = "MovingMNIST++"


class Sequences(NamedTuple):
    """What :class:`Digits` gives for a step."""

    frames: Tensor  # (B, 20, 64, 64) float32


class Digits:
    """Batches to learn from, each a function of (seed, step) alone, rendered where the network is.

    The digits are the first 40,000 of ``images`` (N, 28, 28) uint8, or all if there are fewer.
    """

    def __init__(
        self, images: Images, batch: int, *, seed: int = 0, rotation: float = ROTATION, device: str = "cpu"
    ) -> None:
        self.images, self.size, self.seed, self.rotation, self.device = images[:POOL], batch, seed, rotation, device

    def batch(self, step: int) -> Sequences:
        """The batch of ``step``: as :func:`agents.moving_mnist.data.draw` has it."""
        drawn = draw(self.seed, step, self.size, pool=len(self.images), rotation=self.rotation)
        return Sequences(render(self.images, drawn, self.device))


def squared_error(forward: Any, batch: Sequences) -> Tensor:
    """Mean over sequences, leads and pixels of the squared error of ``forward``, a network; pixels not clipped."""
    error: Tensor = (forward(batch.frames[:, :SEEN]) - batch.frames[:, SEEN:]).square().mean()
    return error


def digest(images: Images) -> str:
    """Names the digits that sequences are made of: those of another copy of MNIST may be in another order."""
    return hashlib.sha256(np.ascontiguousarray(images[:POOL])).hexdigest()[:16]


# ---------------------------------------------------------------- networks and schedules


def table(model: str, narrow: list[int] | None = None) -> Table:
    """The rows of one of MODELS, of the width in the paper or ``narrow`` (see ``paper_tables.narrowed``).

    Raises ValueError for another name, or widths that do not fit.
    """
    if model not in MODELS:
        raise ValueError(f"there is no network {model!r}, {suggest(model, MODELS)}")
    rows = TABLES["mnist " + model.replace("-", " ")]
    if narrow is None:
        return rows
    if min(narrow, default=0) < 1:
        raise ValueError(f"widths are at least 1, got {narrow}")
    return narrowed(rows, narrow)


def schedule(
    model: str,
    name: str = "paper",
    *,
    steps: int | None = None,
    rate: float = 1e-4,
    decay_every: int | None = None,
    save_seconds: float = 120.0,
) -> Settings:
    """How one of MODELS is trained, by the name of a schedule or the number of its steps.

    "paper" is 200,000 steps of recurrent networks and 100,000 of others, the rate times 0.7 every 20,000; "short" a
    fifth of both, and ``steps`` keep the shape of the decay too, unless ``decay_every`` says otherwise. No validation:
    the last iterate counts. Raises ValueError for another name, or for what no training can have.
    """
    if name not in SCHEDULES:
        raise ValueError(f"there is no schedule {name!r}, {suggest(name, SCHEDULES)}")
    recurrent = is_recurrent(table(model))
    whole, decays = (200_000, 10) if recurrent else (100_000, 5)
    count = (whole if name == "paper" else whole // 5) if steps is None else steps
    every = max(1, count // decays) if decay_every is None else decay_every
    clip = 10.0 if recurrent else 50.0
    return Settings(count, rate, decay_every=every, clip=clip, valid_every=max(1, count), save_seconds=save_seconds)


def batch_size(model: str) -> int:
    """Sequences a step of one of MODELS in the paper."""
    return 4 if is_recurrent(table(model)) else 32


def build(
    model: str, narrow: list[int] | None, *, seed: int = 0, precision: str = "float32", device: str = "cpu"
) -> Network:
    """The network, its weights drawn from ``seed``. Raises ValueError as :func:`table` does, and for no such device."""
    return network(table(model, narrow), SEEN, LEADS, seed=seed, precision=precision, device=str(usable(device)))


def facts(model: str, narrow: list[int] | None) -> dict[str, Any]:
    """What the weights of a network are bound to."""
    rows = table_digest(table(model, narrow))
    return {"data": DATA, "rule": RULE_VERSION, "model": model, "narrow": narrow, "table": rows}


def unlike_paper(found: dict[str, Any]) -> str:
    """What of a training, but for its steps, is not the paper's; ``found`` are the facts of its checkpoint."""
    model = str(found["model"])
    paper = {"batch": batch_size(model), "rate": 1e-4, "rotation": ROTATION, "precision": "float32"}
    parts = [f"widths {' '.join(map(str, found['narrow']))}"] if found["narrow"] else []
    parts += [f"{name} {found[name]:g}" for name in ("batch", "rate", "rotation") if found[name] != paper[name]]
    if found["precision"] != paper["precision"]:
        parts.append(found["precision"])
    return ", ".join(parts)


@dataclass(frozen=True)
class Run:
    """A network as the training in a folder left it."""

    net: Network
    facts: dict[str, Any]  # of its checkpoint

    @classmethod
    def read(cls, folder: Path, device: str = "cpu") -> "Run":
        """The newest weights of the training in ``folder``.

        Raises FileNotFoundError if there is no training, and CheckpointError for a damaged one and one on other data.
        """
        path = folder / LAST
        if not path.is_file():
            raise FileNotFoundError(
                f"no training at {folder}: give the folder of one, which holds {path.name}; to begin one, "
                "python tools/moving_mnist.py train MODEL"
            )
        tensors, found = read(path)
        if found.get("data") != DATA:
            raise CheckpointError(
                f"{path} is of {found.get('model')} trained on radar, not on {DATA}: evaluate it by tools/evaluate.py"
            )
        model, narrow = _checked(found, path)
        net = build(model, narrow, precision=found["precision"], device=device)
        fill(net, under("net", tensors), path)
        return cls(net, found)


def _checked(found: dict[str, Any], path: Path) -> tuple[str, list[int] | None]:
    """Network and widths of a training, from the facts of its checkpoint. Raises CheckpointError for bad ones."""
    for name in ("batch", "seed", "step"):
        number(found, name, path)
    for name in ("rate", "rotation", "seconds"):
        number(found, name, path, (int, float))
    model, narrow = found.get("model"), found.get("narrow", "")
    try:
        wanted = facts(str(model), narrow)
        if found.get("precision") not in PRECISIONS:
            raise ValueError(f"there is no precision {found.get('precision')!r}, {suggest('', PRECISIONS)}")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be used ({error}): train it again") from error
    for name, value in wanted.items():
        if found.get(name) != value:
            raise CheckpointError(f"{path}: {name} has changed since {model} was trained there; train it again")
    return str(model), narrow


# ---------------------------------------------------------------- the test

Forecast = Callable[[Tensor], Tensor]  # (B, 10, 64, 64) seen -> (B, 10, 64, 64)


def zero(seen: Tensor) -> Tensor:
    """The forecast of nothing."""
    return torch.zeros_like(seen[:, :1]).expand(-1, LEADS, -1, -1)


def last(seen: Tensor) -> Tensor:
    """The newest frame as it is."""
    return seen[:, -1:].expand(-1, LEADS, -1, -1)


TRIVIAL: dict[str, Forecast] = {"zero": zero, "last": last}


def errors(
    forecast: Forecast,
    images: Images,
    parameters: Parameters,
    *,
    device: str = "cpu",
    batch: int = 32,
    title: str = "test",
) -> npt.NDArray[np.float64]:
    """(N, 10) mean squared error of each of N sequences at each lead; a network is put into evaluation.

    Added in float64, from forecasts that are not clipped. Raises ValueError for a ``batch`` below 1.
    """
    if batch < 1:
        raise ValueError(f"at least 1 sequence must be in a batch, got {batch}")
    if isinstance(forecast, torch.nn.Module):
        forecast.train(False)
    found = []
    with progress.bar(len(parameters), title, "seq") as bar, torch.no_grad():
        for start in range(0, len(parameters), batch):
            with fitting(f"choose a --batch below {batch}"):
                frames = render(images, parameters[start : start + batch], device)
                off = forecast(frames[:, :SEEN]) - frames[:, SEEN:]
            found.append(off.double().square().mean((2, 3)).cpu().numpy())
            bar.update(len(frames))
    return np.concatenate(found)
