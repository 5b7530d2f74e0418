"""Variational optical flow and semi-Lagrangian advection, as ROVER has them; on the CPU or a GPU, in batches.

The flow is that of the released ROVER (VarFlow, after Bruhn et al. 2003, "Variational optic flow computation in real
time"): it minimises the smoothed data term (fx u + fy v + ft)^2 + alpha (|grad u|^2 + |grad v|^2) from coarse to fine.
Its multigrid correction is inert as coded, so plain Gauss-Seidel sweeps give the same flow; see README, Deviations.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

SIGMA, RHO, ALPHA = 4.5, 1.5, 2000.0  # smoothing of images and of tensor terms in px, weight of smoothness
LEVELS = 7  # of the pyramid, 0..6
COARSE_SWEEPS, SWEEPS = 2, 8  # on the coarsest level, on each finer one
SMALLEST = 4  # px: no level is smaller; 480 px reach 7 on level 6
DERIVATIVE = (0.08333, -0.66666, 0.0, 0.66666, -0.08333)
_BLOCK = 120

Tensor = torch.Tensor


def flow(first: Tensor, second: Tensor) -> Tensor:
    """Displacement from ``first`` to ``second``, both (B, H, W) levels 0..255: (B, 2, H, W) float32 px, down and right.

    Raises ValueError for other shapes.
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"two batches (B, H, W) of one shape are needed, got {first.shape} and {second.shape}")
    pyramid = [_tensor_terms(first.float(), second.float())]
    while len(pyramid) < LEVELS and min(pyramid[-1].shape[-2:]) // 2 >= SMALLEST:
        pyramid.append(_resize(pyramid[-1], [size // 2 for size in pyramid[-1].shape[-2:]]))
    field = torch.zeros_like(pyramid[-1][:, :2])
    for level in reversed(range(len(pyramid))):
        if field.shape[-2:] != pyramid[level].shape[-2:]:
            field = _resize(field, pyramid[level].shape[-2:])
        sweeps = COARSE_SWEEPS if level == len(pyramid) - 1 else SWEEPS
        field = _sweep(field, pyramid[level] * (4.0**level / ALPHA), sweeps)
    return torch.stack([-field[:, 1], field[:, 0]], 1)  # solved as (right, up)


def _tensor_terms(first: Tensor, second: Tensor) -> Tensor:
    """(B, 5, H, W): fx fx, fx fy, fy fy, fx ft, fy ft of the smoothed images, smoothed; y points up."""
    first, second = _smooth(torch.stack([first, second], 1), SIGMA).unbind(1)
    fx = _correlate(first[:, None], DERIVATIVE, across=True)[:, 0]
    fy = -_correlate(first[:, None], DERIVATIVE, across=False)[:, 0]
    ft = second - first
    return _smooth(torch.stack([fx * fx, fx * fy, fy * fy, fx * ft, fy * ft], 1), RHO)


def _smooth(images: Tensor, sigma: float) -> Tensor:
    """Gaussian smoothing of (B, C, H, W), borders replicated."""
    size = round(8 * sigma + 1) | 1
    taps = [math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    taps = [tap / sum(taps) for tap in taps]
    return _correlate(_correlate(images, taps, across=True), taps, across=False)


def _correlate(images: Tensor, taps: Sequence[float], *, across: bool) -> Tensor:
    """Correlate (B, C, H, W) with ``taps`` along rows or columns, borders replicated.

    As a product with a band matrix, block by block of the band, it runs at the machine's speed; a convolution of one
    channel does not.
    """
    size, half = images.shape[-1 if across else -2], len(taps) // 2
    band = _band(tuple(taps), size).to(images)
    result = torch.empty_like(images)
    for start in range(0, size, _BLOCK):
        block = slice(start, start + _BLOCK)
        near = slice(max(0, start - half), start + _BLOCK + half)
        if across:
            result[..., block] = images[..., near] @ band[block, near].T
        else:
            result[..., block, :] = band[block, near] @ images[..., near, :]
    return result


@functools.cache
def _band(taps: tuple[float, ...], size: int) -> Tensor:
    """(size, size) float64: row i holds ``taps`` about column i, those beyond the border added to the border's."""
    line = torch.arange(size)
    band = torch.zeros(size, size, dtype=torch.float64)
    for i, tap in enumerate(taps):
        reached = (line + i - len(taps) // 2).clamp(0, size - 1)
        band.index_put_((line, reached), torch.tensor(tap, dtype=torch.float64), accumulate=True)
    return band


def _resize(images: Tensor, size: Any) -> Tensor:
    """Bilinear, half-pixel centres; exact halving is the mean of 2 x 2."""
    return F.interpolate(images, size=list(size), mode="bilinear", align_corners=False)


def _system(terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The point equations of scaled tensor terms: coupling (B, H, W), right side and 1 / diagonal (B, 2, H, W).

    u = (sum of its neighbours - coupling v - right side) / diagonal, and v likewise; neighbours outside are left out.
    """
    inside = terms.new_full(terms.shape[-2:], 4)
    inside[[0, -1]] -= 1
    inside[:, [0, -1]] -= 1
    return terms[:, 1], terms[:, 3:5], 1 / (inside + terms[:, [0, 2]])


def _sweep(field: Tensor, terms: Tensor, sweeps: int) -> Tensor:
    """``sweeps`` Gauss-Seidel sweeps of (u, v) row by row.

    Locations of one anti-diagonal do not depend on one another, and a sweep may follow two diagonals behind the one
    before it. So all sweeps advance together, one diagonal at a time, and every location sees just the values that it
    would see one after the other.
    """
    height, width = field.shape[-2:]
    lag = 2 * sweeps  # room so that every sweep always has a diagonal, if only an empty one
    link, right, inverse = (_skew(t, lag) for t in _system(terms))
    state = _skew(field, lag)
    s = state
    if field.device.type == "cpu":  # the same operators on numpy views: a small operation costs a third
        s, link, right, inverse = (t.numpy() for t in (state, link, right, inverse))
    for wave in range(height + width - 1 + lag - 2):
        here = slice(wave + 2, wave + lag + 1, 2)  # one diagonal a sweep, the first sweep's last
        before, after = slice(wave + 1, wave + lag, 2), slice(wave + 3, wave + lag + 2, 2)
        low, high = max(0, wave + 3 - lag - width), min(height, wave + 1)
        rows, above, below = slice(low + 1, high + 1), slice(low, high), slice(low + 2, high + 2)
        around = s[:, :, before, above] + s[:, :, before, rows]
        around += s[:, :, after, rows]
        around += s[:, :, after, below]
        around -= right[:, :, here, rows]
        u, v, coupling = around[:, 0], around[:, 1], link[:, here, rows]
        u -= coupling * s[:, 1, here, rows]
        u *= inverse[:, 0, here, rows]
        v -= coupling * u
        v *= inverse[:, 1, here, rows]
        s[:, :, here, rows] = around
    return _image(state, lag, height, width).contiguous()


def _skew(images: Tensor, lag: int) -> Tensor:
    """(..., H, W) -> (..., diagonal, row) with ``lag`` empty diagonals and one empty row about; empty is 0."""
    height, width = images.shape[-2:]
    skewed = images.new_zeros(*images.shape[:-2], height + width - 1 + 2 * lag, height + 2)
    _image(skewed, lag, height, width).copy_(images)
    return skewed


def _image(skewed: Tensor, lag: int, height: int, width: int) -> Tensor:
    """The view (..., H, W) of a skewed image: a step down is a diagonal and a row on, a step right a diagonal."""
    diagonal = height + 2
    shape, strides = (*skewed.shape[:-2], height, width), (*skewed.stride()[:-2], diagonal + 1, diagonal)
    return skewed.as_strided(shape, strides, lag * diagonal + 1)


def advect(frame: Tensor, motion: Tensor, steps: int, *, scheme: str = "recursive") -> Tensor:
    """``steps`` forecasts of ``frame`` (B, H, W) carried along ``motion`` (B, 2, H, W) px a step, down and right.

    Returns (B, steps, H, W). ``recursive`` interpolates each forecast from the one before, what comes from outside
    being 0, as the released code does; ``trajectory`` follows each location's path back and interpolates once from
    ``frame``, what comes from outside being the nearest border. Raises ValueError for other names.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"there is no advection scheme {scheme!r}, only {', '.join(SCHEMES)}")
    return SCHEMES[scheme](frame, motion, steps)


def _recursive(frame: Tensor, motion: Tensor, steps: int) -> Tensor:
    grid = _grid(_locations(motion) - motion)
    forecasts, current = frame.new_empty(len(frame), steps, *frame.shape[1:]), frame[:, None]
    for k in range(steps):
        current = F.grid_sample(current, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        forecasts[:, k] = current[:, 0]
    return forecasts


def _trajectory(frame: Tensor, motion: Tensor, steps: int) -> Tensor:
    def at(images: Tensor, where: Tensor) -> Tensor:
        return F.grid_sample(images, _grid(where), mode="bilinear", padding_mode="border", align_corners=True)

    forecasts, here = frame.new_empty(len(frame), steps, *frame.shape[1:]), _locations(motion).expand_as(motion)
    for k in range(steps):
        here = here - at(motion, here - at(motion, here) / 2)  # the midpoint rule: second order on curved paths
        forecasts[:, k] = at(frame[:, None], here)[:, 0]
    return forecasts


def _locations(motion: Tensor) -> Tensor:
    """(1, 2, H, W) row and column of each location."""
    height, width = motion.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=motion.device, dtype=motion.dtype),
        torch.arange(width, device=motion.device, dtype=motion.dtype),
        indexing="ij",
    )
    return torch.stack([rows, columns])[None]


def _grid(locations: Tensor) -> Tensor:
    """``grid_sample``'s (B, H, W, 2) in [-1, 1], corners aligned, of (B, 2, H, W) rows and columns."""
    height, width = locations.shape[-2:]
    x = locations[:, 1] * (2 / max(width - 1, 1)) - 1
    y = locations[:, 0] * (2 / max(height - 1, 1)) - 1
    return torch.stack([x, y], -1)


SCHEMES = {"recursive": _recursive, "trajectory": _trajectory}
