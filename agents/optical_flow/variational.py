"""Variational optical flow of ROVER, on the CPU or a GPU, in batches.

As in the released code (VarFlow, after Bruhn et al. 2003, "Variational optic flow computation in real time"): the flow
(u, v) minimises the smoothed data term (fx u + fy v + ft)^2 + alpha (|grad u|^2 + |grad v|^2) from coarse to fine.
The multigrid correction of that code has no effect as it is coded, so Gauss-Seidel sweeps alone give the same flow.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from .sweeps import sweep

SIGMA, RHO = 4.5, 1.5  # px: standard deviations of the smoothing of images and of tensor terms
ALPHA = 2000.0  # weight of the smoothness of the flow
LEVELS = 7  # of the pyramid at most
COARSE_SWEEPS, SWEEPS = 2, 8  # Gauss-Seidel sweeps on the coarsest level, on each finer one
SMALLEST = 4  # px: least height and width of a level; 480 px give 7 px on the seventh
DERIVATIVE = (0.08333, -0.66666, 0.0, 0.66666, -0.08333)
_BLOCKS = {"cpu": 32}  # rows of a band matrix that are multiplied at once: fewer zeros, but more products
_BLOCK = 120  # on other devices

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
    relax: Callable[[Tensor, Tensor, int], Tensor] = sweep,
) -> Tensor:
    """Solve for the flow of smoothed tensor terms, from the coarsest level of a pyramid to the finest.

    Args:
        terms: (B, 5, H, W), see :func:`tensor_terms`.
        alpha: Weight of the smoothness of the flow.
        levels: Greatest number of levels.
        coarse_sweeps: Gauss-Seidel sweeps on the coarsest level.
        sweeps: Gauss-Seidel sweeps on each finer level.
        relax: Does the sweeps of a level, see :func:`~agents.optical_flow.sweeps.sweep`.

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
        field = relax(field, pyramid[level] * (4.0**level / alpha), count)
    return field


def smooth(images: Tensor, sigma: float) -> Tensor:
    """Smooth images (B, C, H, W) by a Gaussian of ``sigma`` px; borders are replicated."""
    taps = gaussian(sigma)
    return correlate(correlate(images, taps, across=True), taps, across=False)


def gaussian(sigma: float) -> list[float]:
    """Taps of a Gaussian of ``sigma`` px, which add up to 1."""
    size = round(8 * sigma + 1) | 1
    taps = [math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return [tap / sum(taps) for tap in taps]


def correlate(images: Tensor, taps: Sequence[float], *, across: bool) -> Tensor:
    """Correlate images (B, C, H, W) with ``taps`` along rows (``across``) or columns; borders are replicated.

    It is computed as a product with a band matrix, one block of rows at a time, which is faster than torch's
    convolution of one channel.
    """
    size, half = images.shape[-1 if across else -2], len(taps) // 2
    band = band_matrix(tuple(taps), size, images.device, images.dtype)
    result, rows = torch.empty_like(images), _BLOCKS.get(images.device.type, _BLOCK)
    for start in range(0, size, rows):
        block = slice(start, start + rows)
        near = slice(max(0, start - half), start + rows + half)
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
def band_matrix(taps: tuple[float, ...], size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """:func:`_band` on a device; copied to it once, since a CUDA graph cannot record a copy from the CPU."""
    return _band(taps, size).to(device, dtype)


def resize(images: Tensor, size: Any) -> Tensor:
    """Resize images (B, C, H, W) to ``size`` bilinearly; halving gives the mean of 2 x 2 pixels."""
    return F.interpolate(images, size=list(size), mode="bilinear", align_corners=False)
