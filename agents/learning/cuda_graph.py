"""The loss of a batch and its gradients as one CUDA graph: thousands of small kernels start in one launch.

Clipping and the step of the optimiser stay outside: they are few launches, and a gradient that is not finite must be
seen before the weights are changed.
"""

from collections.abc import Callable

import torch
from torch import nn

from hko7env.contract import OptionError

from .batch import Tensors, like

Tensor = torch.Tensor
Work = Callable[[], None]
Value = Callable[[Tensors], Tensor]


def loss_and_gradients(net: nn.Module, value: Value, *, graph: bool) -> Value:
    """Make the function that computes the loss of a batch and leaves its gradients in the parameters.

    Args:
        net: The network.
        value: Returns the loss, a scalar, of a batch.
        graph: Record it as a CUDA graph instead of launching kernel by kernel.

    Returns:
        A function of a batch that returns its loss, detached.

    Raises:
        OptionError: If a step cannot be recorded, see :class:`GraphedLoss`.
    """
    if graph:
        return GraphedLoss(net, value)

    def compute(batch: Tensors) -> Tensor:
        net.zero_grad(set_to_none=True)
        loss = value(batch)
        loss.backward()
        return loss.detach()

    return compute


class GraphedLoss:
    """The loss of a batch and its gradients as CUDA graphs, one for each shape of a batch, recorded at its first use.

    Parameters and gradients must stay where they are in memory: between calls they must not be set to None.

    Args:
        net: The network.
        value: Returns the loss, a scalar, of a tuple of tensors.
        record: Runs a function and returns one that repeats it; default: :func:`record_graph`.

    Raises:
        OptionError: If the network is not on a GPU, or has batch normalisation, whose statistics the warm-up before a
            recording would change.
    """

    def __init__(self, net: nn.Module, value: Value, record: Callable[[Work], Work] | None = None) -> None:
        if record is None and next(net.parameters()).device.type != "cuda":
            raise OptionError("only a GPU can record a step as a graph: choose device cuda, or graph off")
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
            raise OptionError("a step of a network with batch normalisation cannot be recorded: choose graph off")
        self.net, self.value, self.record = net, value, record or record_graph
        self._graphs: dict[tuple[torch.Size, ...], tuple[Tensors, Tensor, Work]] = {}

    def __call__(self, batch: Tensors) -> Tensor:
        """The loss of a batch, whose gradients replace those in the parameters."""
        shapes = tuple(part.shape for part in batch)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._capture(like(batch, [part.clone() for part in batch]))
        inputs, loss, replay = self._graphs[shapes]
        for place, part in zip(inputs, batch, strict=True):
            place.copy_(part)
        replay()
        return loss.clone()

    def _capture(self, inputs: Tensors) -> tuple[Tensors, Tensor, Work]:
        loss = torch.zeros((), device=inputs[0].device)
        for parameter in self.net.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

        def work() -> None:
            for parameter in self.net.parameters():
                assert parameter.grad is not None
                parameter.grad.zero_()
            value = self.value(inputs)
            value.backward()
            loss.copy_(value.detach())

        return inputs, loss, self.record(work)


class GraphedForecast:
    """The forecast of a network as CUDA graphs, one for each shape of the input, recorded at its first use.

    Args:
        forward: Calls the network, whose weights stay where they are in memory.
        record: As of :class:`GraphedLoss`.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], record: Callable[[Work], Work] | None = None) -> None:
        self.forward, self.record = forward, record or record_graph
        self._graphs: dict[torch.Size, tuple[Tensor, list[Tensor], Work]] = {}

    def __call__(self, frames: Tensor) -> Tensor:
        """The forecast without gradients; the next call overwrites it."""
        if frames.shape not in self._graphs:
            self._graphs[frames.shape] = self._capture(frames.clone())
        place, results, replay = self._graphs[frames.shape]
        place.copy_(frames)
        replay()
        return results[-1]

    def _capture(self, frames: Tensor) -> tuple[Tensor, list[Tensor], Work]:
        results: list[Tensor] = []

        def work() -> None:
            with torch.no_grad():
                results[:] = [self.forward(frames)]

        return frames, results, self.record(work)


def record_graph(work: Work) -> Work:
    """Record ``work`` as a CUDA graph, after three warm-up runs in which libraries choose their kernels."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread prepares batches meanwhile
        work()
    replay: Work = graph.replay
    return replay
