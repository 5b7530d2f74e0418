"""The transition of a TrajGRU step in one kernel; Shi et al. 2017, eq. 3.

The state is sampled along all links, projected and gated tile by tile, so that the warped states, L times the size of
the state, are never written to memory, neither forward nor backward; the backward pass samples again. Importing this
module imports Triton.

Sums over the locations that read a pixel are atomic additions in no certain order: the gradient with respect to the
state, and what is computed from it, differs in its last bits from run to run. The same holds for ``grid_sample`` on a
GPU. The next state and all other gradients of a transition are the same each time.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from . import fused_kernels as kernels
from .gates import SLOPE
from .tilings import Tiling, block, ceil_divide, split_sum

Tensor = torch.Tensor


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
        columns = block(tiling.channels, channels)
        kernels.transition[ceil_divide(pixels, tiling.pixels), ceil_divide(channels, columns)](
            state, flow, rounded, bias, rounded if given is None else given, following, kept if keep else state,
            pixels, links, height, width, SLOPE, 0 if given is None else pixels, len(kept), CHANNELS=channels,
            PRECISION=_precision(state.device), P=tiling.pixels, C=columns, K=block(tiling.inner, channels),
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
        entries, size = state.numel(), 1024
        kernels.by_gates[(ceil_divide(entries, size),)](
            _channels_last(gradient), state, kept, by_state, by_projected, by_given if has_input else by_projected,
            entries, SLOPE, CHANNELS=channels, HAS_INPUT=has_input, N=size,
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
    kernels.by_samples[ceil_divide(pixels, tiling.pixels), links](
        state, flow, rounded, by_projected, by_state, by_flow, pixels, links, height, width,
        CHANNELS=channels, PRECISION=_precision(state.device),
        P=tiling.pixels, C=block(tiling.channels, channels), K=block(tiling.inner, 3 * channels),
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip
    by_links: Tensor = by_flow.unflatten(1, (links, 2))
    return by_links


def _by_projection(tiling: Tiling, state: Tensor, flow: Tensor, by_projected: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients with respect to weight (3 C, L C) and bias (3 C,)."""
    (batch, channels, height, width), links = state.shape, flow.shape[1] // 2
    pixels, rows = batch * height * width, 3 * channels
    split = split_sum(tiling, pixels, channels, links)
    by_weight, by_bias = (state.new_empty(split.parts, rows, *size) for size in ((links * channels,), ()))
    kernels.by_projection[split.blocks[1], split.blocks[0], split.parts](
        state, flow, by_projected, by_weight, by_bias, pixels, links, height, width, split.share,
        CHANNELS=channels, PRECISION=_precision(state.device), P=split.pixels, D=split.gates, C=split.channels,
        num_warps=tiling.warps, num_stages=tiling.stages,
    )  # fmt: skip
    if split.parts == 1:
        return by_weight[0], by_bias[0]
    return by_weight.sum(0), by_bias.sum(0)


def _channels_last(tensor: Any) -> Any:
    return None if tensor is None else tensor.contiguous(memory_format=torch.channels_last)


def _maps(like: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Uninitialised maps of the size of ``like``, channels last in memory."""
    batch, _, height, width = like.shape
    return torch.empty(
        batch, channels, height, width, dtype=dtype, device=like.device, memory_format=torch.channels_last
    )


def _precision(device: torch.device) -> str:
    """How float32 products are computed: as in convolutions, TF32 if PyTorch may use it there."""
    if device.type == "cpu":
        return "widened"
    convolutions: Any = getattr(torch.backends.cudnn, "conv", None)  # since torch 2.9
    if hasattr(convolutions, "fp32_precision"):
        return "tf32" if convolutions.fp32_precision == "tf32" else "ieee"
    return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
