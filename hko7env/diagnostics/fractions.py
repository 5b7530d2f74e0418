"""Sums of the fractions skill score, FSS (Roberts and Lean 2008, doi:10.1175/2007MWR2123.1).

A forecast that is right but for a small displacement is a miss and a false alarm at the scale of a pixel. FSS compares
the shares of event pixels in square windows instead: with Pf the share of the forecast, Po the observed one and w the
weight of a window,

    FSS = 1 - sum w (Pf - Po)^2 / sum w (Pf^2 + Po^2)

Both sums run over windows and forecasts; FSS is never averaged. Pixels that are not scored, and what lies outside the
grid, count neither in a share nor in a weight: a share is taken of the scored pixels of a window, and the weight is
their number. Scales are in pixels, not in kilometres: archives need not say how large a pixel is, and grids of
different resolution are different tasks. Windows lie on a coarse grid, because neighbouring ones hold nearly the same
pixels.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hko7env.diagnostics.levels import UNSCORED, Levels
from hko7env.units import ZR

SCALES = (1, 5, 9, 17, 33, 65)  # side of a window, px
STRIDES = (1, 8, 8, 16, 16, 16)  # px between the centres of windows; from 9 px on they cover every pixel
_LANES = 4  # counts of 16 bits in one machine word
_BLOCK = 32  # rows processed at once, so that they stay in the second-level cache

Sums = npt.NDArray[np.float64]


class Windows:
    """Windows of all scales above one pixel on a grid, and the sums of their shares.

    Args:
        shape: (H, W) of the frames.
        zr: Relation between level and rain rate.
        strides: Pixels between centres of windows of each scale, along rows and columns.
    """

    def __init__(self, shape: tuple[int, int], zr: ZR, strides: tuple[int, ...] = STRIDES) -> None:
        self._corners = [
            _corners(shape, scale, stride) for scale, stride in list(zip(SCALES, strides, strict=True))[1:]
        ]
        self._total = np.zeros((shape[0] + 1, 3, shape[1] + 1), np.uint64)  # row 0 and column 0 stay 0
        self._rows = list(self._total[1:].reshape(shape[0], -1))
        event = np.arange(256)[:, None] >= zr.threshold_levels
        none, scored = np.zeros(256, bool), np.arange(256) != UNSCORED
        self._first_four = _pack(event[:, 0], event[:, 1], event[:, 2], event[:, 3])
        self._fifth_observed = _pack(event[:, 4], none, scored, none)
        self._fifth_forecast = _pack(none, event[:, 4], none, none)

    def sums(self, truth: Levels, forecast: Levels) -> Sums:
        """Sums of one frame.

        Args:
            truth: (H, W) uint8 levels, UNSCORED where not scored.
            forecast: (H, W) uint8 levels, 0 where not scored.

        Returns:
            (5, 5, 2) float64 by scale above one pixel and threshold: the sum of w (Pf - Po)^2, and that of
            w (Pf^2 + Po^2).
        """
        self._integrate(truth, forecast)
        return np.stack([self._sums_of(*corners) for corners in self._corners])

    def _integrate(self, truth: Levels, forecast: Levels) -> None:
        """Integral images of events and mask, four to a machine word.

        Counts of a whole image may overflow into the next lane, but those of a window, differences of words modulo
        2^64, are exact up to 65535.
        """
        rows, words = self._rows, self._total[1:, :, 1:]
        for start in range(0, len(truth), _BLOCK):
            block = slice(start, start + _BLOCK)
            observed, expected, out = truth[block].astype(np.intp), forecast[block].astype(np.intp), words[block]
            np.cumsum(self._first_four.take(observed, mode="clip"), axis=1, out=out[:, 0])
            np.cumsum(self._first_four.take(expected, mode="clip"), axis=1, out=out[:, 1])
            fifth = self._fifth_observed.take(observed, mode="clip")
            fifth += self._fifth_forecast.take(expected, mode="clip")
            np.cumsum(fifth, axis=1, out=out[:, 2])
            for above, row in pairwise(rows[max(start - 1, 0) : start + _BLOCK]):  # faster than cumsum along this axis
                np.add(row, above, out=row)

    def _sums_of(self, *corners: npt.NDArray[np.int64]) -> Sums:
        """Sums over the windows with the given corners: indices (2, 2, n) of first and last rows and columns."""
        flat = self._total.reshape(-1)
        (a, b), (c, d) = (flat.take(index, mode="clip") for index in corners)
        counts = (d - c - b + a).view(np.uint16).reshape(3, -1, _LANES).astype(np.float64)
        observed = np.concatenate([counts[0], counts[2, :, :1]], axis=1)
        forecast = np.concatenate([counts[1], counts[2, :, 1:2]], axis=1)
        weight = 1 / np.maximum(counts[2, :, 2], 1)  # w P^2 = count^2 / w; without scored pixels all counts are 0
        return np.stack([weight @ (forecast - observed) ** 2, weight @ (forecast**2 + observed**2)], axis=-1)


def _pack(*lanes: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """(256,) words that hold four columns (256,) of 0 and 1."""
    return np.stack(lanes, axis=-1).astype(np.uint16).view(np.uint64)[:, 0]


def _corners(shape: tuple[int, int], scale: int, stride: int) -> npt.NDArray[np.int64]:
    """(2, 2, 3 n) indices into the flattened integral images of the corners (top or bottom, left or right)."""
    edges = []
    for size in shape:
        centres = np.arange(min(stride, size) // 2, size, stride)
        edges.append((np.maximum(centres - scale // 2, 0), np.minimum(centres + scale // 2 + 1, size)))
    width = shape[1] + 1
    image = width * np.arange(3)[:, None, None]
    corners = [[(3 * width * row[:, None] + image + column).reshape(-1) for column in edges[1]] for row in edges[0]]
    return np.array(corners)


def sums_of_pixels(counts: npt.NDArray[np.int64]) -> Sums:
    """Sums of FSS at the scale of one pixel.

    Args:
        counts: (4, ..., 5) hits, misses, false alarms and correct negatives.

    Returns:
        (..., 5, 2) float64, as those of :meth:`Windows.sums`: a share is 0 or 1, so they are counts.
    """
    hits, misses, false_alarms, _ = counts.astype(np.float64)
    wrong = misses + false_alarms
    return np.stack([wrong, 2 * hits + wrong], axis=-1)


def fss(sums: Sums) -> Sums:
    """Fractions skill score of summed sums.

    Args:
        sums: (..., 5, 2) sums of w (Pf - Po)^2 and w (Pf^2 + Po^2).

    Returns:
        (..., 5) float64 in [0, 1], 1 is perfect; NaN where no event was forecast or observed.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 1] > 0, 1 - sums[..., 0] / sums[..., 1], np.nan)
