"""Recurrent layers over a whole sequence: ConvGRU and TrajGRU. Shi et al. 2017, eq. 1 and 3.

A sequence is (T B, C, H, W), time-major. The contribution of the inputs is computed for all T steps at once; only what
depends on the state is computed step by step. A new cell is a subclass of :class:`RecurrentCell` and an entry in
``CELLS``.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from .gates import SLOPE, apply_gates
from .paper_tables import Row
from .transition import Fused, advance, round_weight
from .warp import product_type

Tensor = torch.Tensor

FLOW_WIDTH, FLOW_KERNEL = 32, 5  # channels and kernel size of the network that generates the links
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # rad between successive points of a Vogel spiral


class RecurrentCell(nn.Module):
    """A layer with a state. Subclasses are made as ``Cell(row, has_input=...)`` and define two private methods.

    ``_prepare(inputs, steps)`` returns a list with the contribution of the inputs to each step, ``_step(given, state)``
    the next state from one item of it. ``has_input`` is False for the first layer of the forecaster, which has no
    parameters for an input.
    """

    def __init__(self, row: Row, *, has_input: bool = True) -> None:
        super().__init__()

    def forward(self, inputs: Tensor | None, state: Tensor, steps: int) -> list[Tensor]:
        """Advance the state.

        Args:
            inputs: (T B, C', H, W), time-major, or None for a layer without input.
            state: (B, C, H, W), the state before the first step.
            steps: T.

        Returns:
            The T states (B, C, H, W) that follow.
        """
        prepared, states = self._prepare(inputs, steps), []
        for given in prepared:
            state = self._step(given, state)
            states.append(state)
        return states

    def set_update_gate_bias(self, bias: float) -> None:
        """Set the bias of the update gate. With zero input the time constant of the state is 1 + e^bias steps.

        Raises:
            ValueError: If the cell has no update gate.
        """
        raise ValueError(f"{type(self).__name__} layers have no update gate")

    def link_parameters(self) -> list[nn.Parameter]:
        """The parameters of the network that generates the links; none for a cell without links."""
        return []

    def initialise_links(self, spacing: float) -> None:
        """Initialise the links with the given spacing in px; does nothing for a cell without links."""

    def _prepare(self, inputs: Tensor | None, steps: int) -> list[Any]:
        raise NotImplementedError

    def _step(self, given: Any, state: Tensor) -> Tensor:
        raise NotImplementedError


class ConvGRU(RecurrentCell):
    """A GRU with convolutions of input and state; Shi et al. 2017, eq. 1. Order of the gates: reset, update, new."""

    def __init__(self, row: Row, *, has_input: bool = True) -> None:
        super().__init__(row, has_input=has_input)
        gates = 3 * row.channels_out  # reset, update, new
        self.i2h = _same_size(row.channels_in, gates, row.kernel) if has_input else None
        self.h2h = self._state_convolution(row)

    def set_update_gate_bias(self, bias: float) -> None:
        """Set the bias of the update gate. With zero input the time constant of the state is 1 + e^bias steps."""
        assert self.h2h.bias is not None
        with torch.no_grad():
            self.h2h.bias.chunk(3)[1].fill_(bias)

    def _state_convolution(self, row: Row) -> nn.Conv2d:
        return _same_size(row.channels_out, 3 * row.channels_out, row.state, row.dilation)

    def _prepare(self, inputs: Tensor | None, steps: int) -> list[Any]:
        return _split_steps(self.i2h, inputs, steps)

    def _step(self, given: Any, state: Tensor) -> Tensor:
        return apply_gates(given, self.h2h(state).to(state.dtype), state)


class TrajGRU(ConvGRU):
    """A GRU whose state is read along links that a small network generates; Shi et al. 2017, eq. 3.

    A link is a displacement (dx, dy) in px of the layer's map, two channels per link; see
    :mod:`agents.networks.warp` for the sign.

    Attributes:
        fused: Whether transitions are fused, see :func:`agents.networks.transition.advance`.
    """

    def __init__(self, row: Row, *, has_input: bool = True) -> None:
        super().__init__(row, has_input=has_input)
        self.links = row.state
        self.i2f = _same_size(row.channels_in, FLOW_WIDTH, FLOW_KERNEL) if has_input else None
        self.h2f = _same_size(row.channels_out, FLOW_WIDTH, FLOW_KERNEL)
        self.flow = _same_size(FLOW_WIDTH, 2 * row.state, FLOW_KERNEL)
        self.fused: Fused = "auto"

    def link_parameters(self) -> list[nn.Parameter]:
        """The parameters of the network that generates the links."""
        layers = (layer for layer in (self.i2f, self.h2f, self.flow) if layer is not None)
        return [parameter for layer in layers for parameter in layer.parameters()]

    def initialise_links(self, spacing: float) -> None:
        """Initialise link offsets on a Vogel spiral with the given spacing (px), independent of input and state.

        Link l starts at distance ``spacing`` sqrt(l), the first at the location itself. The layer then begins as a
        convolution over a neighbourhood; with ``spacing`` 0, as in the released code, all links read the location
        itself. Weights and biases of the last layer that generates the links are overwritten.
        """
        link = torch.arange(self.links)
        distance, angle = spacing * link.sqrt(), GOLDEN_ANGLE * link
        assert self.flow.bias is not None
        offsets = torch.stack([distance * angle.cos(), distance * angle.sin()], 1) + 0.0  # no negative zeros
        with torch.no_grad():
            self.flow.weight.zero_()
            self.flow.bias.copy_(offsets.flatten())

    def generate_flow(self, to_flow: Tensor | None, state: Tensor) -> Tensor:
        """The links (B, L, 2, H, W) in px, from ``state`` (B, C, H, W) and the inputs' contribution (B, 32, H, W)."""
        hidden = self.h2f(state).to(state.dtype)
        hidden = F.leaky_relu_(hidden if to_flow is None else hidden + to_flow, SLOPE)
        with torch.autocast(state.device.type, enabled=False):  # bfloat16 is too coarse for positions of hundreds of px
            flow: Tensor = self.flow(hidden)
        unflattened: Tensor = flow.unflatten(1, (self.links, 2))
        return unflattened

    def _state_convolution(self, row: Row) -> nn.Conv2d:
        return nn.Conv2d(row.state * row.channels_out, 3 * row.channels_out, 1)

    def _prepare(self, inputs: Tensor | None, steps: int) -> list[Any]:
        weight = self.h2h.weight
        rounded = None if self.fused == "off" else round_weight(weight, product_type(weight))  # once for all steps
        to_state, to_flow = _split_steps(self.i2h, inputs, steps), _split_steps(self.i2f, inputs, steps)
        return [(*given, rounded) for given in zip(to_state, to_flow, strict=True)]

    def _step(self, given: Any, state: Tensor) -> Tensor:
        to_state, to_flow, rounded = given
        weight, bias, flow = self.h2h.weight, self.h2h.bias, self.generate_flow(to_flow, state)
        assert bias is not None
        return advance(to_state, state, flow, weight, bias, rounded=rounded, fused=self.fused)


CELLS: dict[str, type[RecurrentCell]] = {"convgru": ConvGRU, "trajgru": TrajGRU}  # by the type of a table's row


def _same_size(channels_in: int, channels_out: int, kernel: Any, dilation: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2 * dilation, dilation=dilation)


def _split_steps(convolution: nn.Conv2d | None, inputs: Tensor | None, steps: int) -> list[Any]:
    """The convolution of all inputs (T B, C, H, W) as T tensors (B, C', H, W); without inputs T times None."""
    if convolution is None or inputs is None:
        return [None] * steps
    return list(convolution(inputs).split(len(inputs) // steps))
