"""ROVER in its straightforward form, with the same forecasts to the bit: the reference of the benchmark of its step."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hko7env.units import pixel

from ..optical_flow import variational
from ..rover import CENTRE, WIDTH, Rover

Tensor = torch.Tensor

ROWS = 120  # of a band matrix that are multiplied at once


class PlainRover(Rover):
    """The default variant of :class:`agents.rover.Rover` on the CPU."""

    def predict(self) -> npt.NDArray[np.float32]:
        """The forecast, (K, H, W) float32 pixels in [0, 1]."""
        newest = torch.from_numpy(self._table[self._frames[-1]])
        quantised = (self._table * np.float32(255)).astype(np.uint8)
        first, second = torch.from_numpy(quantised[self._frames[-2:]])[:, None]
        motion = estimate_flow(first, second)
        forecast = np.empty((self.task.leads, *newest.shape), np.float32)
        grid = _grid(motion)
        current = newest[None, None]
        for lead in forecast:
            current = F.grid_sample(current, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
            lead[...] = current[0, 0].numpy()
        for lead in forecast:
            restore(lead)
            np.clip(lead, 0, 1, out=lead)
        return forecast


def restore(transformed: npt.NDArray[np.float32]) -> None:
    """See :func:`agents.rover.restore`."""
    floor, ceiling = (math.atan((edge - CENTRE) / WIDTH) for edge in (-10.0, 60.0))
    dry = transformed <= 0
    transformed *= np.float32(ceiling - floor)
    transformed += np.float32(floor)
    np.tan(transformed, out=transformed)
    transformed *= np.float32(pixel(WIDTH) - pixel(0.0))
    transformed += np.float32(pixel(CENTRE))
    transformed[dry] = 0


def _grid(motion: Tensor) -> Tensor:
    """Where each location's echo was a step ago, in the units of ``grid_sample``: (1, H, W, 2)."""
    height, width = motion.shape[-2:]
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=motion.dtype) for n in (height, width)), indexing="ij")
    y, x = torch.stack([rows, columns]) - motion[0]
    return torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], -1)[None]


def estimate_flow(first: Tensor, second: Tensor) -> Tensor:
    """See :func:`agents.optical_flow.variational.estimate_flow`."""
    first, second = smooth(torch.stack([first.float(), second.float()], 1), variational.SIGMA).unbind(1)
    fx = correlate(first[:, None], variational.DERIVATIVE, across=True)[:, 0]
    fy = -correlate(first[:, None], variational.DERIVATIVE, across=False)[:, 0]
    change = second - first
    terms = torch.stack([fx * fx, fx * fy, fy * fy, fx * change, fy * change], 1)
    field = variational.solve(smooth(terms, variational.RHO), relax=sweep)
    return torch.stack([-field[:, 1], field[:, 0]], 1)


def smooth(images: Tensor, sigma: float) -> Tensor:
    """See :func:`agents.optical_flow.variational.smooth`."""
    taps = variational.gaussian(sigma)
    return correlate(correlate(images, taps, across=True), taps, across=False)


def correlate(images: Tensor, taps: Sequence[float], *, across: bool) -> Tensor:
    """See :func:`agents.optical_flow.variational.correlate`."""
    size, half = images.shape[-1 if across else -2], len(taps) // 2
    band = variational.band_matrix(tuple(taps), size, images.device, images.dtype)
    result = torch.empty_like(images)
    for start in range(0, size, ROWS):
        block = slice(start, start + ROWS)
        near = slice(max(0, start - half), start + ROWS + half)
        if across:
            result[..., block] = images[..., near] @ band[block, near].T
        else:
            result[..., block, :] = band[block, near] @ images[..., near, :]
    return result


def sweep(field: Tensor, terms: Tensor, sweeps: int) -> Tensor:
    """See :func:`agents.optical_flow.sweeps.sweep`: all sweeps together, one diagonal of the map at a time."""
    height, width = field.shape[-2:]
    lag = 2 * sweeps  # empty diagonals at both ends, so that every sweep always has one to work on
    inside = terms.new_full(terms.shape[-2:], 4)
    for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
        edge.sub_(1)
    equations = terms[:, 1], terms[:, 3:5], 1 / (inside + terms[:, [0, 2]])
    state, *skewed = (_skew(t, lag) for t in (field, *equations))
    s, coupling, right, inverse = (t.numpy() for t in (state, *skewed))
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
