"""The four networks by name and size: their tables, how they are built, and which facts bind their weights."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hko7env.contract import OptionError, Task
from hko7env.naming import suggest

from ..learning.checkpoint import CheckpointError, fill, read, under
from .encoder_forecaster import CNN, EncoderForecaster, check_grid, network
from .paper_tables import TABLES, Table, narrowed

Network = EncoderForecaster | CNN
MODELS = ("conv2d", "conv3d", "convgru", "trajgru")
SIZES = ("small", "full")
SMALL = {
    "conv2d": (12,),
    "conv3d": (16,),
    "convgru": (8, 32, 32, 32),
    "trajgru": (8, 24, 32, 32),
}  # widths: see narrowed
SMALL_LINKS = 5
STEPS = {"conv2d": 80_000, "conv3d": 80_000, "convgru": 100_000, "trajgru": 100_000}  # of the released code's training
BATCH = {"conv2d": 8, "conv3d": 8, "convgru": 4, "trajgru": 4}  # windows a step of it
WEIGHTS = Path(__file__).parent.parent / "weights"  # what is shipped


def table(model: str, size: str) -> Table:
    """The rows of one of MODELS at one of SIZES. Raises OptionError, a ValueError, for another."""
    for what, given, known in (("network", model, MODELS), ("size", size, SIZES)):
        if given not in known:
            raise OptionError(f"there is no {what} {given!r}, {suggest(given, known)}")
    rows = TABLES[f"hko7 {model}"]
    if size == "full":
        return rows
    rows = narrowed(rows, SMALL[model])
    return tuple(row._replace(state=SMALL_LINKS) if row.type == "trajgru" else row for row in rows)


def build(
    model: str, size: str, task: Task, *, seed: int = 0, precision: str = "float32", device: str = "cpu"
) -> Network:
    """The network for ``task``, its weights drawn from ``seed``.

    Raises OptionError for names that are not known, a grid that does not go through the strides, a device that is not
    there, or a number of frames that the rows cannot make.
    """
    rows = table(model, size)
    try:
        check_grid(rows, torch.empty(1, task.inputs, task.height, task.width, device="meta"))
        return network(rows, task.inputs, task.leads, seed=seed, precision=precision, device=str(usable(device)))
    except ValueError as error:
        raise OptionError(f"{model}: {error}") from error


def usable(device: str) -> torch.device:
    """The device of that name. Raises OptionError if torch cannot use it here."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise OptionError(f"there is no device {device!r}: choose --device cpu or cuda") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise OptionError("this machine has no CUDA device that torch can use: choose --device cpu")
    return found


def table_digest(rows: Table) -> str:
    """Names the rows that weights are for."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def facts(model: str, size: str, task: Task) -> dict[str, Any]:
    """What weights are bound to: another network, size, number of frames or relation of level to rain is an error."""
    return {
        "model": model,
        "size": size,
        "table": table_digest(table(model, size)),
        "inputs": task.inputs,
        "leads": task.leads,
        "zr": [task.zr.a, task.zr.b],
    }


_REMEDIES = {
    "model": "evaluate it as agents.{found}",
    "size": "choose --size {found}",
    "table": "its rows have changed since: train again with tools/train.py",
    "zr": "use it on an archive with the same relation of level to rain rate, or train on this one",
}


def check_facts(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Raise CheckpointError, naming the difference and the remedy, unless all of ``wanted`` is in ``found``."""
    for name, value in wanted.items():
        if name not in found:
            raise CheckpointError(f"{path} does not say its {name}, needed is {value}: train again with tools/train.py")
        if found[name] != value:
            remedy = _REMEDIES.get(name, "train again with tools/train.py").format(found=found[name])
            raise CheckpointError(f"{path} has {name} {found[name]}, needed is {value}: {remedy}")


def load_weights(net: Network, path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Fill ``net`` with the weights in ``path``, of any kind of checkpoint, and return its facts.

    Raises FileNotFoundError and CheckpointError.
    """
    tensors, found = read(path)
    check_facts(found, wanted, path)
    fill(net, under("net", tensors), path)
    return found


def shipped(model: str, size: str) -> Path:
    """The weights that come with the package. Raises OptionError, with what to do, if these do not."""
    path = WEIGHTS / f"{model}-{size}.safetensors"
    if not path.is_file():
        raise OptionError(
            f"no weights of {model}, size {size}, come with this copy: train them with "
            f"python tools/train.py agents.{model} --size {size} --archive ARCHIVE and give --checkpoint "
            f"DIR/best.safetensors, or take --checkpoint none for weights drawn from --seed"
        )
    return path


@contextmanager
def fitting(remedy: str) -> Iterator[None]:
    """Turn torch's "out of memory", on any device, into a MemoryError that says what would fit."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise MemoryError(f"the network needs more memory than there is: {remedy}") from error
