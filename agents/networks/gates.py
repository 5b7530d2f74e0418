"""The gates of recurrent layers; Shi et al. 2017, eq. 1. Order: reset, update, new."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor

SLOPE = 0.2  # of every leaky ReLU


def apply_gates(i2h: Tensor | None, h2h: Tensor, state: Tensor) -> Tensor:
    """The next state (B, C, H, W).

    Args:
        i2h: (B, 3 C, H, W) the contribution of the input to reset gate r, update gate z and new state n, or None.
        h2h: (B, 3 C, H, W) that of the state.
        state: (B, C, H, W).
    """
    following: Tensor = _Gates.apply(i2h, h2h, state)  # type: ignore[no-untyped-call]
    return following


class _Gates(torch.autograd.Function):
    """The new state z h + (1 - z) n, from i2h (or None) and h2h (B, 3 C, H, W), and h (B, C, H, W).

    r, z = sigmoid(i2h + h2h), n = leaky_relu(i2h + r h2h): the reset gate applies after the convolution of the state.
    A function of its own because it keeps less for the backward pass than autograd would.
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
