"""The loss of a batch and its gradients as one CUDA graph: thousands of small kernels start in one launch.

Clipping and the optimiser's step stay outside: they are few launches, and a gradient that is not finite must be seen
before a weight is moved.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from hko7env.contract import OptionError

Tensor = torch.Tensor
Replay = Callable[[], Any]


def gradients(net: nn.Module, value: Callable[[Any], Tensor], *, graph: bool) -> Callable[[Any], Tensor]:
    """What gives ``value(batch)`` and leaves its gradients in the parameters of ``net``: a graph, or kernel by kernel.

    Raises OptionError where there can be no graph, see :class:`Captured`.
    """
    if graph:
        return Captured(net, value)

    def plain(batch: Any) -> Tensor:
        net.zero_grad(set_to_none=True)
        loss = value(batch)
        loss.backward()
        return loss.detach()

    return plain


class Captured:
    """``value(batch)``, a scalar, and its gradients in the parameters of ``net``, as ``value(batch).backward()``.

    What is called with batches of one shape is recorded once and replayed from then on; other shapes have graphs of
    their own. Parameters and gradients stay where they are in memory: nobody may set them to None in between.
    ``record(work)`` does ``work`` once and gives what repeats it. Raises OptionError off a GPU, and for batch
    normalisation, whose statistics the trial runs before a recording would move.
    """

    def __init__(
        self, net: nn.Module, value: Callable[[Any], Tensor], record: Callable[[Replay], Replay] | None = None
    ):
        if record is None and next(net.parameters()).device.type != "cuda":
            raise OptionError("a graph of the step is a GPU's: choose --device cuda, or --graph false")
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
            raise OptionError("a network with batch normalisation has no graph of its step: choose --graph false")
        self.net, self.value, self.record = net, value, record or recorded
        self._graphs: dict[tuple[torch.Size, ...], tuple[Any, Tensor, Replay]] = {}

    def __call__(self, batch: Any) -> Tensor:
        """The loss of a tuple of tensors; the gradients are those of this batch, whatever was in them."""
        shapes = tuple(part.shape for part in batch)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._capture(alike(batch, [part.clone() for part in batch]))
        inputs, loss, replay = self._graphs[shapes]
        for place, part in zip(inputs, batch, strict=True):
            place.copy_(part)
        replay()
        return loss.clone()

    def _capture(self, inputs: Any) -> tuple[Any, Tensor, Replay]:
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


def alike(batch: Any, parts: list[Tensor]) -> Any:
    """``parts`` as the kind of tuple that ``batch`` is."""
    return batch._make(parts) if hasattr(batch, "_make") else tuple(parts)


def recorded(work: Replay) -> Replay:
    """``work`` as a CUDA graph; it is done three times before, as libraries choose their kernels at first."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    replay: Replay = graph.replay
    return replay
