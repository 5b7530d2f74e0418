"""The transition of a TrajGRU step in one kernel; Shi et al. 2017, eq. 3.

The state is sampled along all links, projected and gated tile by tile, so that the warped states, L times the size of
the state, are never written to memory, neither forward nor backward; the backward pass samples again. Importing this
module imports Triton.

Sums over the locations that read a pixel are atomic additions in no certain order: the gradient with respect to the
state, and what is computed from it, differs in its last bits from run to run. The same holds for ``grid_sample`` on a
GPU. The next state and all other gradients of a transition are the same each time.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch.autograd.function import once_differentiable

from . import fused_kernels as kernels
from .gates import SLOPE

Tensor = torch.Tensor

PROGRAMS = 264  # of a sum over all pixels: two for each multiprocessor of a large GPU
SMALLEST = 16  # rows and columns of a block that tensor cores multiply


@dataclass(frozen=True)
class Tiling:
    """How much one program computes.

    Attributes:
        pixels: Locations.
        channels: Channels of the result.
        inner: Terms of a sum that are multiplied at once.
        gates: Rows of the weight's gradient.
        warps: Groups of 32 threads.
        stages: Loads that are under way at once.
    """

    pixels: int
    channels: int
    inner: int
    gates: int
    warps: int
    stages: int = 2


TILINGS = (  # from the smallest maps to the largest
    Tiling(pixels=16, channels=32, inner=64, gates=64, warps=4),
    Tiling(pixels=32, channels=64, inner=32, gates=64, warps=4),
    Tiling(pixels=64, channels=64, inner=32, gates=64, warps=8),
    Tiling(pixels=128, channels=64, inner=32, gates=128, warps=8),
)


def tilings_for(pixels: int) -> tuple[Tiling, Tiling]:
    """The tilings worth a measurement for maps of so many locations in all, the default last."""
    first = 0 if pixels <= 2048 else 1 if pixels <= 16384 else 2
    return TILINGS[first], TILINGS[first + 1]


def fused_transition(
    given: Tensor | None,
    state: Tensor,
    flow: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    rounded: Tensor,
    tiling: Tiling,
) -> Tensor:
    """The state that follows. Second derivatives are not supported.

    Args:
        given: (B, 3 C, H, W) the contribution of the input to reset gate, update gate and new state, or None.
        state: (B, C, H, W).
        flow: (B, L, 2, H, W) px, of the type of ``state``; see :mod:`agents.networks.warp` for the sign.
        weight: (3 C, L C, 1, 1) of the projection; column l C + c is channel c of the state as link l reads it.
        bias: (3 C,).
        rounded: ``weight`` in the number format of the products, without a gradient; sums have the type of ``state``.
        tiling: How the work is divided; the result depends on it by rounding only.

    Returns:
        (B, C, H, W), channels last in memory.
    """
    tensors = [tensor for tensor in (given, state, flow, weight, bias) if tensor is not None]
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    arguments = given, state, flow, weight, bias, rounded, tiling, keep
    with torch.cuda.device_of(state):  # Triton launches on the current device
        following: Tensor = _Transition.apply(*arguments)  # type: ignore[no-untyped-call]
    return following


class _Transition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        given: Tensor | None,
        state: Tensor,
        flow: Tensor,
        weight: Tensor,
        bias: Tensor,
        rounded: Tensor,
        tiling: Tiling,
        keep: bool,
    ) -> Tensor:
        (batch, channels, height, width), links = state.shape, flow.shape[1]
        pixels = batch * height * width
        state, flow, given = _channels_last(state), _channels_last(flow.flatten(1, 2)), _channels_last(given)
        rounded = rounded.contiguous()
        following = torch.empty_like(state)
        kept = state.new_empty(pixels if keep else 0, 4 * channels)
        block = _block(tiling.channels, channels)
        kernels.transition[triton.cdiv(pixels, tiling.pixels), triton.cdiv(channels, block)](
            state, flow, rounded, bias, rounded if given is None else given, following, kept if keep else state,
            pixels, links, height, width, SLOPE, 0 if given is None else pixels, len(kept), CHANNELS=channels,
            PRECISION=_precision(state.device), P=tiling.pixels, C=block, K=_block(tiling.inner, channels),
            num_warps=tiling.warps, num_stages=tiling.stages,
        )  # fmt: skip
        ctx.save_for_backward(state, flow, rounded, kept)
        ctx.tiling, ctx.input_dtype = tiling, None if given is None else given.dtype
        return following

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        state, flow, rounded, kept = ctx.saved_tensors
        wanted = dict(zip(("given", "state", "flow", "weight", "bias"), ctx.needs_input_grad, strict=False))
        channels, has_input = state.shape[1], ctx.input_dtype is not None
        by_state = torch.empty_like(state)
        by_projected = _maps(state, 3 * channels, rounded.dtype)
        by_given = _maps(state, 3 * channels, ctx.input_dtype) if has_input else None
        entries, block = state.numel(), 1024
        kernels.by_gates[(triton.cdiv(entries, block),)](
            _channels_last(gradient), state, kept, by_state, by_projected, by_given if has_input else by_projected,
            entries, SLOPE, CHANNELS=channels, HAS_INPUT=has_input, N=block,
        )  # fmt: skip
        by_flow = by_weight = by_bias = None
        if wanted["state"] or wanted["flow"]:
            by_flow = _by_samples(ctx.tiling, state, flow, rounded, by_projected, by_state)
        if wanted["weight"] or wanted["bias"]:
            by_weight, by_bias = _by_projection(ctx.tiling, state, flow, by_projected)
            by_weight = by_weight.view_as(rounded)
        return by_given, by_state, by_flow, by_weight, by_bias, None, None, None


def _by_samples(
    tiling: Tiling, state: Tensor, flow: Tensor, rounded: Tensor, by_projected: Tensor, by_state: Tensor
) -> Tensor:
    """The gradient with respect to the flow (B, L, 2, H, W); adds what the links read to ``by_state``."""
    (batch, channels, height, width), links = state.shape, flow.shape[1] // 2
    pixels, by_flow = batch * height * width, torch.empty_like(flow)
    kernels.by_samples[triton.cdiv(pixels, tiling.pixels), links](
        state, flow, rounded, by_projected, by_state, by_flow, pixels, links, height, width,
        CHANNELS=channels, PRECISION=_precision(state.device),
        P=tiling.pixels, C=_block(tiling.channels, channels), K=_block(tiling.inner, 3 * channels),
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip
    return by_flow.unflatten(1, (links, 2))


def _by_projection(tiling: Tiling, state: Tensor, flow: Tensor, by_projected: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients with respect to weight (3 C, L C) and bias (3 C,)."""
    (batch, channels, height, width), links = state.shape, flow.shape[1] // 2
    pixels, rows, block = batch * height * width, 3 * channels, _block(tiling.channels, channels)
    gates = _block(tiling.gates, rows)
    grid = links * triton.cdiv(channels, block), triton.cdiv(rows, gates)
    inner = min(max(tiling.pixels, 32), 64)
    share = inner * triton.cdiv(triton.cdiv(pixels, inner), triton.cdiv(PROGRAMS, grid[0] * grid[1]))
    parts = triton.cdiv(pixels, share)
    by_weight, by_bias = state.new_empty(parts, rows, links * channels), state.new_empty(parts, rows)
    kernels.by_projection[(*grid, parts)](
        state, flow, by_projected, by_weight, by_bias, pixels, links, height, width, share,
        CHANNELS=channels, PRECISION=_precision(state.device), P=inner, D=gates, C=block,
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip
    return by_weight.sum(0), by_bias.sum(0)


def _channels_last(tensor: Any) -> Any:
    return None if tensor is None else tensor.contiguous(memory_format=torch.channels_last)


def _maps(like: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Uninitialised maps of the size of ``like``, channels last in memory."""
    batch, _, height, width = like.shape
    return torch.empty(
        batch, channels, height, width, dtype=dtype, device=like.device, memory_format=torch.channels_last
    )


def _block(largest: int, entries: int) -> int:
    """The size of a block of at most ``largest`` of ``entries``: a power of two that tensor cores can multiply."""
    return int(min(largest, max(triton.next_power_of_2(entries), SMALLEST)))


def _precision(device: torch.device) -> str:
    """How float32 products are computed: as in convolutions, TF32 if PyTorch may use it there."""
    if device.type == "cpu":
        return "widened"
    convolutions = getattr(torch.backends.cudnn, "conv", None)  # since torch 2.9
    if hasattr(convolutions, "fp32_precision"):
        return "tf32" if convolutions.fp32_precision == "tf32" else "ieee"
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
