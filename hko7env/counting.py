"""The counting kernel of :mod:`hko7env.scores`: events and errors of one frame, in one pass over its locations.

Most locations of a radar frame hold no echo, so groups of eight locations without any are skipped. Differences, and
their sums over short runs, are float32; counts are exact and all other sums float64.

Where the extra ``fast`` is installed, :mod:`hko7env.compiled_counting` does what is the same to the bit however it is
computed: counts, and the errors of single locations. The order of float32 sums matters, so errors are summed here, from
arrays of the same length and order either way.
"""

import functools
import importlib.util
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.block_counter import MOST_SELECTED, WORD, Block, BlockCounter, Errors
from hko7env.forecast import Forecast, check_range
from hko7env.units import BALANCE, ZR

_BLOCK = 115200  # locations processed at once, so that repeated reads come from the second-level cache
# Balancing weights as increments over THRESHOLDS: w = 1 + sum of the steps whose threshold the truth reaches.
_STEPS = tuple(np.uint8(high - low) for low, high in pairwise(BALANCE))


def block_counter() -> BlockCounter:
    """Make a compiled counter where numba is installed, else numpy's: both return the same arrays, to the bit."""
    compiled, numpy_counter = _compiled_module(), NumpyCounter()
    return compiled.CompiledCounter(_BLOCK, np.array(_STEPS), numpy_counter) if compiled else numpy_counter


@functools.cache
def _compiled_module() -> Any:
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        from hko7env import compiled_counting
    except ImportError as error:  # a numba that does not go with this numpy
        warnings.warn(f"numba is installed but cannot be used, so scores take longer: {error}", stacklevel=2)
        return None
    return compiled_counting


class NumpyCounter:
    """Counts in numpy; its buffers are reused, as allocating new ones costs more time than the sums."""

    def __init__(self) -> None:
        self._a, self._b = (np.empty(_BLOCK, np.float32) for _ in range(2))
        self._p, self._q = (np.empty(_BLOCK, np.bool_) for _ in range(2))

    def count(self, counts: npt.NDArray[np.int64], block: Block, lead: int, zr: ZR) -> Errors:
        """Count as :class:`BlockCounter` says."""
        t, m, f = block
        check_range(f, lead)
        echo = np.not_equal(f, 0, out=self._p[: len(f)]).view(np.uint8)
        t, m, f = _narrow(np.bitwise_or(echo, t, out=echo), t, m, f)
        n = len(t)
        error, other = self._a[:n], self._b[:n]
        np.copyto(error, t)
        np.divide(error, np.float32(255), out=error)
        np.subtract(f, error, out=error)
        np.copyto(other, m)
        error *= other
        return error, *self._count_events(counts, (t, m, f, error), zr)

    def _count_events(
        self, counts: npt.NDArray[np.int64], arrays: tuple[npt.NDArray[Any], ...], zr: ZR
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Count the events of truth, mask, forecast and error, each (n,), and weight the errors.

        Events are rarer than echo, so only words with an event are visited.
        """
        levels, edges = zr.threshold_levels.tolist(), zr.threshold_pixels.astype(np.float32)
        t, m, f, error = arrays
        event = np.greater_equal(f, edges[0], out=self._p[: len(t)])
        event |= np.greater_equal(t, levels[0], out=self._q[: len(t)])
        t, m, f, error = _narrow(event, t, m, f, error)
        n = len(t)
        observed, expected, extra = self._p[:n], self._q[:n], np.zeros(n, np.uint8)
        for j, step in enumerate(_STEPS):
            np.greater_equal(t, levels[j], out=observed)
            np.logical_and(observed, m, out=observed)
            np.greater_equal(f, edges[j], out=expected)
            np.logical_and(expected, m, out=expected)
            n_observed, n_expected = np.count_nonzero(observed), np.count_nonzero(expected)
            np.logical_and(expected, observed, out=expected)
            hits = np.count_nonzero(expected)
            counts[0, j] += hits
            counts[1, j] += n_observed - hits
            counts[2, j] += n_expected - hits
            if step:
                extra += observed.view(np.uint8) * step
        weighted = self._b[:n]
        np.copyto(weighted, extra)
        weighted *= error
        return error, weighted


def count_frame(
    truth: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    forecast: Forecast,
    lead: int,
    zr: ZR,
    counter: BlockCounter,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Count the events and sum the errors of one frame.

    Args:
        truth: (H, W) uint8 levels.
        mask: (H, W) bool, True = scored.
        forecast: (H, W) float32 pixels in [0, 1] or uint8 levels.
        lead: Index of the lead time, for errors.
        zr: Relation between level and rain rate.
        counter: What :func:`block_counter` made; one frame at a time.

    Returns:
        (4, 5) hits, misses, false alarms and correct negatives at each threshold, and (4,) the sums of the squared,
        absolute, balanced squared and balanced absolute error in pixel units.

    Raises:
        ForecastError: If the forecast includes NaN or a value outside [0, 1].
    """
    counts, sums = np.zeros((4, len(_STEPS)), np.int64), np.zeros(4)
    truth = np.require(truth, requirements=["C", "A"]).reshape(-1)
    mask = np.require(mask, requirements=["C", "A"]).reshape(-1)
    forecast = np.require(forecast, requirements=["C", "A"]).reshape(-1)
    for start in range(0, len(truth), _BLOCK):
        block = slice(start, start + _BLOCK)
        t, m, f = truth[block], mask[block], forecast[block]
        if f.dtype == np.uint8:
            f = np.divide(f, np.float32(255), dtype=np.float32)
        f = f.astype(np.float32, copy=False)  # of this machine's byte order
        counts[3] += np.count_nonzero(m)
        error, at_events, weighted = counter.count(counts, (t, m, f), lead, zr)
        sums[0] += _dot(error, error)
        sums[2] += _dot(weighted, at_events)  # before the next line: at_events may be error itself
        sums[1] += np.abs(error, out=error).sum(dtype=np.float32)
        sums[3] += np.abs(weighted, out=weighted).sum(dtype=np.float32)
    counts[3] -= counts[:3].sum(axis=0)
    sums[2:] += sums[:2]  # so far these hold only what the weights above 1 add
    return counts, sums


def _narrow(wanted: npt.NDArray[Any], *arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Select the words of ``arrays`` (N,) with a ``wanted`` (N,) location, or everything if that is most of it."""
    if len(wanted) % WORD:
        return arrays
    words = np.flatnonzero(wanted.view(np.uint64) != 0)  # flatnonzero is fastest for bool
    if len(words) * WORD > MOST_SELECTED * len(wanted):
        return arrays
    return tuple(a.reshape(-1, WORD).take(words, axis=0, mode="clip").reshape(-1) for a in arrays)


def _dot(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Sum of products, in float32 over short runs whose sums are added in float64."""
    run = 2048
    whole = len(a) // run * run
    head = np.vecdot(a[:whole].reshape(-1, run), b[:whole].reshape(-1, run)).sum(dtype=np.float64)
    return float(head + np.vecdot(a[whole:], b[whole:]))
