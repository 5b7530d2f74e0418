"""The links of TrajGRU: a state sampled along flow fields, and a 1 x 1 convolution of all samples.

A link of location p reads the state at p - flow(p) by bilinear interpolation; each of the four neighbours that lies
outside the map counts as 0. Shi et al. 2017, eq. 5, print p + flow; the released code has the minus, which makes no
difference to learning. Flow is (dx, dy) in px of the map, x to the right, y down.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from scipy.sparse import csr_array
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor


def warp(state: Tensor, flow: Tensor) -> Tensor:
    """Sample a state along links.

    Args:
        state: (B, C, H, W).
        flow: (B, L, 2, H, W) px.

    Returns:
        (B, L, C, H, W).
    """
    (batch, channels, height, width), links = state.shape, flow.shape[1]
    sampled = F.grid_sample(state, _grid(flow), mode="bilinear", padding_mode="zeros", align_corners=True)
    return sampled.reshape(batch, channels, height, width, links).permute(0, 4, 1, 2, 3)


def _points(flow: Tensor) -> Tensor:
    """The point that each link reads, (B, H, W, L, 2): x and y in px."""
    height, width = flow.shape[-2:]
    x, y = (torch.arange(n, dtype=flow.dtype, device=flow.device) for n in (width, height))
    locations = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[:, :, None]
    return locations - flow.permute(0, 3, 4, 1, 2)


def _grid(flow: Tensor) -> Tensor:
    """:func:`_points` in the units of ``grid_sample``, all links in one call: (B, H, W L, 2)."""
    return (_points(flow) * _scale(flow) - 1).flatten(2, 3)


def _scale(flow: Tensor) -> Tensor:
    """Units of ``grid_sample`` per px, in x and in y (2,); made on the device, as CUDA graphs need it."""
    height, width = flow.shape[-2:]
    return torch.cat([flow.new_full((1,), 2 / max(n - 1, 1)) for n in (width, height)])


def aggregate(state: Tensor, flow: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Sample a state along links, then apply a 1 x 1 convolution to all samples; Shi et al. 2017, eq. 3.

    The warped states, L times the size of the state, are not kept for the backward pass. Under autocast only the
    convolution has low precision. Second derivatives are not supported.

    Args:
        state: (B, C, H, W).
        flow: (B, L, 2, H, W) px.
        weight: (D, L C, 1, 1); channel l C + c is channel c of the state as link l reads it.
        bias: (D,).

    Returns:
        (B, D, H, W).
    """
    projected: Tensor = _Aggregate.apply(state, flow, weight, bias, product_type(state))  # type: ignore[no-untyped-call]
    return projected


def product_type(state: Tensor) -> torch.dtype:
    """The number format in which a state is multiplied: its own, or that of autocast."""
    device = state.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else state.dtype


class _Aggregate(torch.autograd.Function):
    """Warp and project; the backward pass warps again."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, flow: Tensor, weight: Tensor, bias: Tensor, project: torch.dtype) -> Tensor:
        ctx.gathered, ctx.project = state.device.type == "cpu", project
        with torch.autocast(state.device.type, enabled=False):
            plan = _corners(flow) if ctx.gathered else (flow,)
            sampled = (_gather if ctx.gathered else _sample)(state, *plan)
            ctx.save_for_backward(state, weight, *plan)
            return F.conv2d(sampled.to(project), weight.to(project), bias.to(project))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        state, weight, *plan = ctx.saved_tensors
        with torch.autocast(state.device.type, enabled=False):
            by_sampled, by_weight, by_bias = torch.ops.aten.convolution_backward(
                gradient.to(ctx.project),
                (_gather if ctx.gathered else _sample)(state, *plan).to(ctx.project),
                weight.to(ctx.project),
                [len(weight)],
                stride=[1, 1],
                padding=[0, 0],
                dilation=[1, 1],
                transposed=False,
                output_padding=[0, 0],
                groups=1,
                output_mask=[True, True, True],
            )
            by_sampled = by_sampled.to(state.dtype)
            by_state, by_flow = (_gather_backward if ctx.gathered else _sample_backward)(by_sampled, state, *plan)
        return by_state, by_flow, by_weight.to(weight.dtype), by_bias.to(weight.dtype), None


def _sample(state: Tensor, flow: Tensor) -> Tensor:
    """(B, L C, H, W) of :func:`warp`, link by link."""
    return warp(state, flow).flatten(1, 2)


def _sample_backward(gradient: Tensor, state: Tensor, flow: Tensor) -> tuple[Tensor, ...]:
    """Gradients with respect to ``state`` and ``flow`` from that with respect to the result of :func:`_sample`."""
    batch, links, _, height, width = flow.shape
    given = gradient.unflatten(1, (links, -1)).permute(0, 2, 3, 4, 1).reshape(batch, -1, height, width * links)
    bilinear, zeros, aligned = 0, 0, True
    by_state, by_grid = torch.ops.aten.grid_sampler_2d_backward(
        given, state, _grid(flow), bilinear, zeros, aligned, [True, True]
    )
    by_points = by_grid.unflatten(2, (width, links)) * _scale(flow)
    return by_state, -by_points.permute(0, 3, 4, 1, 2)


# On the CPU the same result is computed as a sum of four weighted rows per sample, a row being the channels of one
# location; this is several times faster, above all in the backward pass. A border of two zero pixels around the map
# saves the test whether a corner is inside.
_BORDER = 2


def _corners(flow: Tensor) -> tuple[Tensor, Tensor]:
    """The four neighbours of each of P = B H W L sampled points and the position between them.

    Returns:
        (P, 4) int32 indices into :func:`_rows`, and (P, 2) the fraction, 0..1, of the way from the lower to the higher
        neighbour in x and in y.
    """
    batch, _, _, height, width = flow.shape
    size = torch.tensor([width, height], dtype=flow.dtype)
    point = _points(flow).nan_to_num_(nan=-_BORDER).clamp_(-torch.full_like(size, _BORDER), size)
    low = point.floor()
    part = point.sub_(low)
    across, lower = width + 2 * _BORDER, low.add_(_BORDER).int()
    first = lower[..., 1] * across + lower[..., 0]
    first += (height + 2 * _BORDER) * across * torch.arange(batch, dtype=torch.int32)[:, None, None, None]
    index = first.reshape(-1, 1) + torch.tensor([0, 1, across, across + 1], dtype=torch.int32)
    return index, part.reshape(-1, 2)


_HIGHER = ((0, 1, 0, 1), (0, 0, 1, 1))  # whether a corner is the higher neighbour in x, in y


def _weigh(part: Tensor, axis: int, slope: int | None = None) -> Tensor:
    """(P, 4) linear weight of the corners along ``axis``; with ``slope``, times the sign of d(weight)/d(slope axis)."""
    higher = part.new_tensor(_HIGHER[axis])
    sign = 1 if slope is None else 2 * part.new_tensor(_HIGHER[slope]) - 1
    by_part = part.new_zeros(2, 4)
    by_part[axis] = (2 * higher - 1) * sign
    return torch.addmm((1 - higher) * sign, part, by_part)  # elementwise on rows of four is several times slower


def _rows(state: Tensor) -> Tensor:
    """The map with its border as rows (B (H + 4) (W + 4), C)."""
    padded = F.pad(state.detach().permute(0, 2, 3, 1), (0, 0, *[_BORDER] * 4))
    return padded.view(-1, state.shape[1])


def _gather(state: Tensor, index: Tensor, part: Tensor) -> Tensor:
    """The same as :func:`_sample`."""
    batch, _, height, width = state.shape
    weights = _weigh(part, 0) * _weigh(part, 1)
    sampled = F.embedding_bag(index, _rows(state), mode="sum", per_sample_weights=weights)
    return sampled.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _gather_backward(gradient: Tensor, state: Tensor, index: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
    """The same as :func:`_sample_backward`."""
    batch, channels, height, width = state.shape
    given = gradient.permute(0, 2, 3, 1).reshape(-1, channels)  # (P, C)
    rows = _rows(state)
    by_point = [
        F.embedding_bag(index, rows, mode="sum", per_sample_weights=slope).mul_(given).sum(-1)
        for slope in (_weigh(part, 1, slope=0), _weigh(part, 0, slope=1))
    ]
    by_flow = -torch.stack(by_point, -1).view(batch, height, width, -1, 2).permute(0, 3, 4, 1, 2)
    # The transposed sparse matrix lists the samples that read a location, so nothing is added by scattering.
    starts = torch.arange(0, index.numel() + 1, 4, dtype=torch.int32)
    weights = _weigh(part, 0) * _weigh(part, 1)
    terms = tuple(each.view(-1).numpy() for each in (weights, index, starts))
    readers = csr_array(terms, (len(index), len(rows))).tocsc()
    which, where, weights = (torch.from_numpy(a) for a in (readers.indices, readers.indptr[:-1], readers.data))
    by_rows = F.embedding_bag(which, given, where, mode="sum", per_sample_weights=weights)
    by_padded = by_rows.view(batch, height + 2 * _BORDER, width + 2 * _BORDER, channels)
    inner = slice(_BORDER, -_BORDER)
    return by_padded[:, inner, inner].permute(0, 3, 1, 2), by_flow
