"""ConvGRU and TrajGRU: one recurrent layer over a whole sequence. Shi et al. 2017, eq. 1 and 3.

A sequence is (T B, C, H, W), time-major. What the inputs contribute is computed for all T steps at once; only what
depends on the state is left to the steps.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn
from torch.autograd.function import once_differentiable

from .paper_tables import Row
from .warp import aggregate

Tensor = torch.Tensor

SLOPE = 0.2  # of every leaky ReLU
FLOW_WIDTH, FLOW_KERNEL = 32, 5  # of the network that generates the links
GOLDEN = math.pi * (3 - math.sqrt(5))  # the angle by which points of a sunflower follow each other


class ConvGRU(nn.Module):
    """A recurrent layer whose state is convolved; ``row`` is one of a table.

    ``has_input`` is False for the top of the forecaster: the parameters that an input would need do not exist then.
    """

    def __init__(self, row: Row, *, has_input: bool = True) -> None:
        super().__init__()
        wide = 3 * row.channels_out  # reset, update, new
        self.i2h = _same(row.channels_in, wide, row.kernel) if has_input else None
        self.h2h = _same(row.channels_out, wide, row.state, row.dilation)

    def forward(self, inputs: Tensor | None, state: Tensor, steps: int) -> list[Tensor]:
        """The ``steps`` states (B, C, H, W) that follow ``state``; ``inputs`` (T B, C', H, W) or None."""
        prepared, states = self._prepare(inputs, steps), []
        for given in prepared:
            state = self._step(given, state)
            states.append(state)
        return states

    def prolong(self, bias: float) -> None:
        """Set the bias of the update gate: a state then lives about 1 + e^bias steps, if nothing else speaks."""
        assert self.h2h.bias is not None
        with torch.no_grad():
            self.h2h.bias.chunk(3)[1].fill_(bias)

    def _prepare(self, inputs: Tensor | None, steps: int) -> list[Any]:
        """What each step needs of the inputs."""
        return _by_step(self.i2h, inputs, steps)

    def _step(self, given: Any, state: Tensor) -> Tensor:
        new: Tensor = _Gates.apply(given, self.h2h(state).to(state.dtype), state)
        return new


class TrajGRU(ConvGRU):
    """A recurrent layer whose state is seen through links that a network of input and state generates.

    Links are (dx, dy) px of the layer's maps, two channels a link; see :mod:`agents.networks.warp` for their sign.
    """

    def __init__(self, row: Row, *, has_input: bool = True) -> None:
        super().__init__(row._replace(state=1, dilation=1), has_input=has_input)
        self.links = row.state
        self.h2h = nn.Conv2d(row.state * row.channels_out, 3 * row.channels_out, 1)
        self.i2f = _same(row.channels_in, FLOW_WIDTH, FLOW_KERNEL) if has_input else None
        self.h2f = _same(row.channels_out, FLOW_WIDTH, FLOW_KERNEL)
        self.flow = _same(FLOW_WIDTH, 2 * row.state, FLOW_KERNEL)

    def generator(self) -> Iterator[nn.Parameter]:
        """The parameters of the network that generates the links."""
        for layer in (self.i2f, self.h2f, self.flow):
            if layer is not None:
                yield from layer.parameters()

    def spread(self, apart: float) -> None:
        """Let the links look at points of a sunflower, whatever input and state are; their generator learns anew.

        Link l is ``apart`` sqrt(l) px away, the first at the location itself: the layer begins as a convolution of a
        neighbourhood, instead of one that sees its own location L times.
        """
        place = torch.arange(self.links)
        away, angle = apart * place.sqrt(), GOLDEN * place
        assert self.flow.bias is not None
        with torch.no_grad():
            self.flow.weight.zero_()
            self.flow.bias.copy_(torch.stack([away * angle.cos(), away * angle.sin()], 1).flatten())

    def _prepare(self, inputs: Tensor | None, steps: int) -> list[Any]:
        return list(zip(_by_step(self.i2h, inputs, steps), _by_step(self.i2f, inputs, steps), strict=True))

    def _step(self, given: Any, state: Tensor) -> Tensor:
        to_state, to_flow = given
        assert self.h2h.bias is not None
        projected = aggregate(state, self.generate(to_flow, state), self.h2h.weight, self.h2h.bias)
        new: Tensor = _Gates.apply(to_state, projected.to(state.dtype), state)
        return new

    def generate(self, to_flow: Tensor | None, state: Tensor) -> Tensor:
        """The flow (B, L, 2, H, W) of ``state`` (B, C, H, W) and the inputs' part (B, 32, H, W)."""
        hidden = self.h2f(state).to(state.dtype)
        hidden = F.leaky_relu_(hidden if to_flow is None else hidden + to_flow, SLOPE)
        with torch.autocast(state.device.type, enabled=False):  # places reach hundreds: they need all their digits
            flow: Tensor = self.flow(hidden)
        return flow.unflatten(1, (self.links, 2))


def _same(channels_in: int, channels_out: int, kernel: Any, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2 * dilation, dilation=dilation)


def _by_step(convolution: nn.Conv2d | None, inputs: Tensor | None, steps: int) -> list[Any]:
    """The convolution of all inputs (T B, C, H, W), T times (B, C', H, W); without inputs T times None."""
    if convolution is None or inputs is None:
        return [None] * steps
    return list(convolution(inputs).split(len(inputs) // steps))


class _Gates(torch.autograd.Function):
    """z h + (1 - z) n from i2h (or None) and h2h (B, 3 C, H, W), and h (B, C, H, W), keeping no more than it must.

    r, z = sigmoid(i2h + h2h), n = leaky(i2h + r h2h): the reset gate applies after the state's convolution.
    """

    @staticmethod
    def forward(ctx: Any, i2h: Tensor | None, h2h: Tensor, state: Tensor) -> Tensor:
        width = state.shape[1]
        gates, from_state = h2h[:, : 2 * width], h2h[:, 2 * width :].clone(memory_format=torch.preserve_format)
        gates = gates.sigmoid() if i2h is None else (gates + i2h[:, : 2 * width]).sigmoid_()
        new = gates[:, :width] * from_state
        if i2h is not None:
            new += i2h[:, 2 * width :]
        F.leaky_relu_(new, SLOPE)
        ctx.save_for_backward(gates, from_state, new, state)
        ctx.input_dtype = None if i2h is None else i2h.dtype
        return torch.lerp(new, state, gates[:, width:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gates, from_state, new, state = ctx.saved_tensors
        width = state.shape[1]
        reset, update = gates[:, :width], gates[:, width:]
        by_state = gradient * update
        by_new = gradient - by_state
        by_new = torch.where(new >= 0, by_new, by_new.mul(SLOPE))
        by_update = (state - new).mul_(by_state).mul_(1 - update)
        by_reset = (from_state * by_new).mul_(reset).mul_(1 - reset)
        by_h2h = torch.cat([by_reset, by_update, by_new * reset], 1)
        if ctx.input_dtype is None:
            return None, by_h2h, by_state
        by_i2h = torch.cat([by_reset, by_update, by_new], 1)
        return by_i2h.to(ctx.input_dtype), by_h2h, by_state
