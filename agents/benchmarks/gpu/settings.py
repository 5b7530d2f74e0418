"""What the items of the benchmark of a GPU share: the device, the sizes of networks and frames, exact float32."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ...learning.cuda_graph import GraphedForecast, GraphedLoss, Value
from ...networks.network import Network
from ...networks.paper_tables import TABLES, Table, is_recurrent, narrow_table
from ...networks.registry import make_network

Tensor = torch.Tensor
Forward = Callable[[Tensor], Tensor]

FIRST = ("hko7 trajgru", "hko7 convgru", "mnist trajgru L13", "mnist convgru K5D1", "hko7 conv2d", "hko7 conv3d")
NETWORKS = (*FIRST, *(name for name in TABLES if name not in FIRST))  # in the order in which they are measured


@dataclass(frozen=True)
class Settings:
    """On what to measure.

    Attributes:
        device: "cuda", or "cpu" to try the benchmark itself.
        tiny: Networks of a few channels and small frames, also to try the benchmark itself.
    """

    device: str
    tiny: bool = False

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.place.type == "cuda"

    @property
    def batch(self) -> int:
        """Windows of a training step."""
        return 1 if self.tiny else 4

    @property
    def seconds(self) -> float:
        """For how long one group of jobs is timed."""
        return 0.02 if self.tiny else 5.0

    @property
    def least(self) -> int:
        """Least number of times that something is done to be timed."""
        return 1 if self.tiny else 3

    @property
    def record(self) -> Any:
        """Records work as a graph; without a GPU, work that is replayed is done again."""
        return None if self.cuda else lambda work: work

    def table(self, name: str) -> Table:
        """The rows of the network ``name``, as wide as in the paper unless tiny."""
        if not self.tiny:
            return TABLES[name]
        return narrow_table(TABLES[name], (2, 2, 2, 2) if is_recurrent(TABLES[name]) else (1,), links=2)

    def side(self, name: str) -> int:
        """Height and width of its frames in px."""
        if not self.tiny:
            return 64 if name.startswith("mnist") else 480
        return self.small_side(name)

    def small_side(self, name: str) -> int:
        """The least side at which every layer still has a neighbourhood to read, for comparisons with the CPU."""
        if name.startswith("mnist"):
            return 16 if is_recurrent(TABLES[name]) else 32
        return 60 if is_recurrent(TABLES[name]) else 120

    def network(self, name: str, *, precision: str = "float32", device: str | None = None, **options: Any) -> Network:
        """The network ``name`` with random weights and links that reach out; its batch normalisation learns nothing.

        ``options`` are more arguments of ``make_network``.
        """
        inputs, leads = frames_of(name)
        device = device or self.device
        net = make_network(self.table(name), inputs, leads, precision=precision, device=device, **options)
        for cell in net.cells():
            cell.initialise_links(1.0)
        return net.train(False)

    def graphed_loss(self, net: Network, value: Value) -> GraphedLoss:
        """The loss and gradients of ``net`` as a graph."""
        return GraphedLoss(net, value, self.record)

    def graphed_forecast(self, forward: Forward) -> GraphedForecast:
        """The forecast of a network as a graph."""
        return GraphedForecast(forward, self.record)

    def compile(self, net: Network) -> Any:
        """The network compiled; tiny ones only as far as their operations are traced."""
        return torch.compile(net, backend="eager" if self.tiny else "inductor")

    def release(self) -> None:
        """Give back the memory of what was measured before: networks, graphs and compiled code."""
        gc.collect()
        if self.cuda:
            torch.compiler.reset()
            torch.cuda.empty_cache()

    def wait(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.cuda:
            torch.cuda.synchronize()


def frames_of(name: str) -> tuple[int, int]:
    """Frames in and frames out of the network ``name``."""
    return (10, 10) if name.startswith("mnist") else (5, 20)


def noise(batch: int, inputs: int, side: int, device: str) -> Tensor:
    """Uniform noise (B, J, side, side), always the same."""
    return torch.rand(batch, inputs, side, side, generator=torch.Generator().manual_seed(0)).to(device)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Inside, convolutions and products of float32 on a GPU are not rounded to TF32."""
    backends: Any = torch.backends
    switches: list[tuple[Any, str, Any]]
    if hasattr(backends.cudnn, "conv"):  # torch 2.9 and later
        switches = [(backends.cudnn.conv, "fp32_precision", "ieee"), (backends.cuda.matmul, "fp32_precision", "ieee")]
    else:
        switches = [(backends.cudnn, "allow_tf32", False), (backends.cuda.matmul, "allow_tf32", False)]
    before = [getattr(place, name) for place, name, _ in switches]
    for place, name, value in switches:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(switches, before, strict=True):
            setattr(place, name, value)
