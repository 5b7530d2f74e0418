"""Variational optical flow of ROVER, on the CPU or a GPU, in batches.

As in the released code (VarFlow, after Bruhn et al. 2003, "Variational optic flow computation in real time"): the flow
(u, v) minimises the smoothed data term (fx u + fy v + ft)^2 + alpha (|grad u|^2 + |grad v|^2) from coarse to fine.
The multigrid correction of that code has no effect as it is coded, so Gauss-Seidel sweeps alone give the same flow.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

SIGMA, RHO = 4.5, 1.5  # px: standard deviations of the smoothing of images and of tensor terms
ALPHA = 2000.0  # weight of the smoothness of the flow
LEVELS = 7  # of the pyramid at most
COARSE_SWEEPS, SWEEPS = 2, 8  # Gauss-Seidel sweeps on the coarsest level, on each finer one
SMALLEST = 4  # px: least height and width of a level; 480 px give 7 px on the seventh
DERIVATIVE = (0.08333, -0.66666, 0.0, 0.66666, -0.08333)
_BLOCK = 120  # rows of a band matrix that are multiplied at once

Tensor = torch.Tensor


def estimate_flow(first: Tensor, second: Tensor) -> Tensor:
    """Estimate the displacement from one image to another.

    Args:
        first: (B, H, W), levels 0 to 255 of any type.
        second: The later image, of the same shape.

    Returns:
        (B, 2, H, W) float32 px from ``first`` to ``second``: component 0 is down, 1 is right.

    Raises:
        ValueError: If the shapes differ or are not (B, H, W).
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"two batches (B, H, W) of one shape are needed, got {first.shape} and {second.shape}")
    first, second = smooth(torch.stack([first.float(), second.float()], 1), SIGMA).unbind(1)
    field = solve(smooth(tensor_terms(first, second - first), RHO))
    return torch.stack([-field[:, 1], field[:, 0]], 1)  # solved as (right, up)


def tensor_terms(images: Tensor, change: Tensor) -> Tensor:
    """Products of the derivatives of images in space and time; y points up.

    Args:
        images: (B, H, W).
        change: (B, H, W), the derivative in time.

    Returns:
        (B, 5, H, W): fx fx, fx fy, fy fy, fx ft, fy ft.
    """
    fx = correlate(images[:, None], DERIVATIVE, across=True)[:, 0]
    fy = -correlate(images[:, None], DERIVATIVE, across=False)[:, 0]
    return torch.stack([fx * fx, fx * fy, fy * fy, fx * change, fy * change], 1)


def solve(
    terms: Tensor,
    *,
    alpha: float = ALPHA,
    levels: int = LEVELS,
    coarse_sweeps: int = COARSE_SWEEPS,
    sweeps: int = SWEEPS,
) -> Tensor:
    """Solve for the flow of smoothed tensor terms, from the coarsest level of a pyramid to the finest.

    Args:
        terms: (B, 5, H, W), see :func:`tensor_terms`.
        alpha: Weight of the smoothness of the flow.
        levels: Greatest number of levels.
        coarse_sweeps: Gauss-Seidel sweeps on the coarsest level.
        sweeps: Gauss-Seidel sweeps on each finer level.

    Returns:
        (B, 2, H, W) px, right and up.
    """
    pyramid = [terms]
    while len(pyramid) < levels and min(pyramid[-1].shape[-2:]) // 2 >= SMALLEST:
        pyramid.append(resize(pyramid[-1], [size // 2 for size in pyramid[-1].shape[-2:]]))
    field = torch.zeros_like(pyramid[-1][:, :2])
    for level in reversed(range(len(pyramid))):
        if field.shape[-2:] != pyramid[level].shape[-2:]:
            field = resize(field, pyramid[level].shape[-2:])
        count = coarse_sweeps if level == len(pyramid) - 1 else sweeps
        field = sweep(field, pyramid[level] * (4.0**level / alpha), count)
    return field


def smooth(images: Tensor, sigma: float) -> Tensor:
    """Smooth images (B, C, H, W) by a Gaussian of ``sigma`` px; borders are replicated."""
    size = round(8 * sigma + 1) | 1
    taps = [math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    taps = [tap / sum(taps) for tap in taps]
    return correlate(correlate(images, taps, across=True), taps, across=False)


def correlate(images: Tensor, taps: Sequence[float], *, across: bool) -> Tensor:
    """Correlate images (B, C, H, W) with ``taps`` along rows (``across``) or columns; borders are replicated.

    It is computed as a product with a band matrix, one block of rows at a time, which is faster than torch's
    convolution of one channel.
    """
    size, half = images.shape[-1 if across else -2], len(taps) // 2
    band = _band_on(tuple(taps), size, images.device, images.dtype)
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
    """(size, size) float64: row i holds ``taps`` centred on column i; taps outside are added to the border column."""
    line = torch.arange(size)
    band = torch.zeros(size, size, dtype=torch.float64)
    for i, tap in enumerate(taps):
        reached = (line + i - len(taps) // 2).clamp(0, size - 1)
        band.index_put_((line, reached), torch.tensor(tap, dtype=torch.float64), accumulate=True)
    return band


@functools.lru_cache(maxsize=64)
def _band_on(taps: tuple[float, ...], size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """:func:`_band` on a device; copied to it once, since a CUDA graph cannot record a copy from the CPU."""
    return _band(taps, size).to(device, dtype)


def resize(images: Tensor, size: Any) -> Tensor:
    """Resize images (B, C, H, W) to ``size`` bilinearly; halving gives the mean of 2 x 2 pixels."""
    return F.interpolate(images, size=list(size), mode="bilinear", align_corners=False)


def _equations(terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The linear equations of each location, from scaled tensor terms (B, 5, H, W).

    u = (sum of its neighbours - coupling v - right side) / diagonal, and likewise for v. Neighbours outside the map are
    left out.

    Returns:
        Coupling (B, H, W), right side and 1 / diagonal (B, 2, H, W).
    """
    inside = terms.new_full(terms.shape[-2:], 4)
    for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        edge.sub_(1)
    return terms[:, 1], terms[:, 3:5], 1 / (inside + terms[:, [0, 2]])


def sweep(field: Tensor, terms: Tensor, sweeps: int) -> Tensor:
    """Improve the flow by Gauss-Seidel sweeps in row order.

    Locations on one anti-diagonal do not depend on each other, and a sweep may follow two diagonals behind the one
    before. So all sweeps advance together, one diagonal at a time, with the same values as one after the other.

    Args:
        field: (B, 2, H, W), u and v in px.
        terms: (B, 5, H, W), scaled tensor terms.
        sweeps: Their number.

    Returns:
        (B, 2, H, W).
    """
    height, width = field.shape[-2:]
    lag = 2 * sweeps  # empty diagonals at both ends, so that every sweep always has one to work on
    skewed: list[Any] = [_skew(t, lag) for t in (field, *_equations(terms))]
    state: Tensor = skewed[0]
    if field.device.type == "cpu":  # numpy views: an operation on a small array takes a third of torch's time
        skewed = [t.numpy() for t in skewed]
    s, coupling, right, inverse = skewed
    for wave in range(height + width - 1 + lag - 2):
        here = slice(wave + 2, wave + lag + 1, 2)  # one diagonal per sweep, the last for the first sweep
        before, after = slice(wave + 1, wave + lag, 2), slice(wave + 3, wave + lag + 2, 2)
        low, high = max(0, wave + 3 - lag - width), min(height, wave + 1)
        rows, above, below = slice(low + 1, high + 1), slice(low, high), slice(low + 2, high + 2)
        around = s[:, :, before, above] + s[:, :, before, rows]
        around += s[:, :, after, rows]
        around += s[:, :, after, below]
        around -= right[:, :, here, rows]
        u, v, here_coupling = around[:, 0], around[:, 1], coupling[:, here, rows]
        u -= here_coupling * s[:, 1, here, rows]
        u *= inverse[:, 0, here, rows]
        v -= here_coupling * u
        v *= inverse[:, 1, here, rows]
        s[:, :, here, rows] = around
    return _image(state, lag, height, width).contiguous()


def _skew(images: Tensor, lag: int) -> Tensor:
    """Copy images (..., H, W) to (..., diagonal, row), with a border of ``lag`` diagonals and one row of zeros."""
    height, width = images.shape[-2:]
    skewed = images.new_zeros(*images.shape[:-2], height + width - 1 + 2 * lag, height + 2)
    _image(skewed, lag, height, width).copy_(images)
    return skewed


def _image(skewed: Tensor, lag: int, height: int, width: int) -> Tensor:
    """The view (..., H, W) of a skewed image: a step down is one diagonal and one row, to the right a diagonal."""
    diagonal = height + 2
    shape, strides = (*skewed.shape[:-2], height, width), (*skewed.stride()[:-2], diagonal + 1, diagonal)
    return skewed.as_strided(shape, strides, lag * diagonal + 1)
