"""All networks by name: their rows at each size, and steps, batch and clipping of their training.

A new network is an entry here, an agent of the same name in ``agents/`` and, if it has layers of its own, one file with
a recurrent cell or a subclass of :class:`Network`.
"""

from dataclasses import dataclass
from typing import Any

import torch

from hko7env.contract import OptionError, Task
from hko7env.naming import suggest

from .cnn import CNN
from .devices import select_device
from .encoder_forecaster import EncoderForecaster
from .network import Network, check_grid
from .paper_tables import TABLES, Table, is_recurrent, narrow_table, shape_digest
from .transition import Fused

PRECISIONS = ("float32", "bf16")
SIZES = ("small", "full")


@dataclass(frozen=True)
class NetworkSpec:
    """One network and its training, for radar as in the released code, for MovingMNIST++ as in the paper.

    Attributes:
        kind: Its class.
        full: Its rows, as wide as in the paper.
        small: Its rows with fewer channels and links, the size of the shipped weights; empty if there is no such size.
        steps: Optimiser steps.
        batch: Windows or sequences per step.
        clip: Largest norm of the gradients of each part of the network.
    """

    kind: type[Network]
    full: Table
    small: Table = ()
    steps: int = 100_000
    batch: int = 4
    clip: float = 50.0

    def select_table(self, size: str) -> Table:
        """The rows at one of ``SIZES``.

        Raises:
            OptionError: If there is no such size.
        """
        if size not in SIZES:
            raise OptionError(f"there is no size {size!r}, {suggest(size, SIZES)}")
        return self.full if size == "full" else self.small


def _specify_hko7(kind: type[Network], name: str, widths: tuple[int, ...], steps: int, batch: int) -> NetworkSpec:
    full = TABLES[name]
    return NetworkSpec(kind, full, narrow_table(full, widths, links=5), steps, batch)


def _specify_mnist(name: str) -> NetworkSpec:
    full = TABLES[name]
    if is_recurrent(full):
        return NetworkSpec(EncoderForecaster, full, steps=200_000, batch=4, clip=10.0)  # released options: clip 1
    return NetworkSpec(CNN, full, steps=100_000, batch=32)  # released options: 80,000 steps


NETWORKS: dict[str, NetworkSpec] = {  # for radar: 5 frames in, 20 out
    "conv2d": _specify_hko7(CNN, "hko7 conv2d", (12,), 80_000, 8),
    "conv3d": _specify_hko7(CNN, "hko7 conv3d", (16,), 80_000, 8),
    "convgru": _specify_hko7(EncoderForecaster, "hko7 convgru", (8, 32, 32, 32), 100_000, 4),
    "trajgru": _specify_hko7(EncoderForecaster, "hko7 trajgru", (8, 24, 32, 32), 100_000, 4),
}
DIGIT_NETWORKS: dict[str, NetworkSpec] = {  # for MovingMNIST++: 10 frames in, 10 out
    name.replace(" ", "-"): _specify_mnist(f"mnist {name}")
    for name in (
        "convgru K3D2", "convgru K5D1", "convgru K7D1", "trajgru L5", "trajgru L9", "trajgru L13", "trajgru L17",
        "dfn", "conv2d", "conv3d",
    )
}  # fmt: skip


def find_network(model: str, networks: dict[str, NetworkSpec] | None = None) -> NetworkSpec:
    """The entry of a network.

    Args:
        model: Its name.
        networks: Where to look; default: ``NETWORKS``.

    Raises:
        OptionError: If there is none of that name; the message suggests one.
    """
    networks = NETWORKS if networks is None else networks
    if model not in networks:
        raise OptionError(f"there is no network {model!r}, {suggest(model, networks)}")
    return networks[model]


def build(
    model: str,
    size: str,
    task: Task,
    *,
    seed: int = 0,
    precision: str = "float32",
    device: str = "cpu",
    fused: Fused = "auto",
) -> Network:
    """A network for radar with random weights and its ``metadata``.

    Args:
        model: One of ``NETWORKS``.
        size: One of ``SIZES``.
        task: The frames to forecast.
        seed: Of the weights.
        precision: One of ``PRECISIONS``; with "bf16" convolutions multiply in bfloat16.
        device: As :func:`select_device` takes it.
        fused: As :meth:`TrainableNetwork.select_transition` takes it.

    Raises:
        OptionError: If a name or choice is unknown, the grid is no multiple of the total stride, torch cannot use the
            device here, or the rows are for other numbers of frames.
    """
    spec = find_network(model)
    table = spec.select_table(size)
    try:
        check_grid(table, torch.empty(1, task.inputs, task.height, task.width, device="meta"))
        net = make_network(
            table, task.inputs, task.leads, kind=spec.kind, seed=seed, precision=precision, device=device, fused=fused
        )
    except ValueError as error:
        raise error if isinstance(error, OptionError) else OptionError(f"{model}: {error}") from error
    net.metadata = describe_weights(model, size, task)
    return net


def make_network(
    table: Table,
    inputs: int,
    leads: int,
    *,
    kind: type[Network] | None = None,
    seed: int = 0,
    precision: str = "float32",
    device: str = "cpu",
    fused: Fused = "auto",
) -> Network:
    """The network with the rows ``table`` and random weights.

    Args:
        table: Rows.
        inputs: J, number of input frames.
        leads: K, number of frames to forecast.
        kind: Class of the network; default: the paper's for such rows.
        seed: Of the weights.
        precision: One of ``PRECISIONS``.
        device: As :func:`select_device` takes it, or "meta" for a network without memory and weights.
        fused: As :meth:`TrainableNetwork.select_transition` takes it.

    Raises:
        ValueError: If there is no such precision, or the rows are for other numbers of frames.
        OptionError: If torch cannot use the device here, or for ``fused``.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"there is no precision {precision!r}, only {', '.join(PRECISIONS)}")
    if min(inputs, leads) < 1:
        raise ValueError(f"a network takes and gives at least one frame, not {inputs} -> {leads}")
    kind = kind or (EncoderForecaster if is_recurrent(table) else CNN)
    with torch.device("meta"):  # where PyTorch's own initialisation leaves the global random state alone
        net = kind(table, inputs, leads, low_precision=precision == "bf16")
    if device != "meta":
        net.to_empty(device=select_device(device))
        net.initialise(seed)
    net.select_transition(fused)
    return net


def describe_weights(model: str, size: str, task: Task) -> dict[str, Any]:
    """What weights were made for: they are refused for another network, size, number of frames or Z-R relation.

    The keys are those stored in checkpoints; "table" is the digest of the rows.
    """
    return {
        "model": model,
        "size": size,
        "table": shape_digest(find_network(model).select_table(size)),
        "inputs": task.inputs,
        "leads": task.leads,
        "zr": [task.zr.a, task.zr.b],
    }
