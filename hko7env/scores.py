"""One pass over truth and forecast gives a tally; scores are formulas over tallies.

A tally is a value that adds: counts are int64 and merge exactly in any order, error sums are float64. Scores are
never averaged before they are derived, because a mean of CSIs is not the CSI of the pooled counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.units import BALANCE, HKO7, NOISE_LEVEL, THRESHOLDS, ZR

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Forecast = npt.NDArray[Any]  # float32 pixels in [0, 1], or uint8 levels
Values = npt.NDArray[np.float64]

COUNTS = ("hits", "misses", "false_alarms", "correct_negatives")
PLAIN_ARRAYS = (np.ndarray, np.memmap)  # other subclasses mean more than their numbers: a mask, a unit
ERRORS = ("squared", "absolute", "balanced_squared", "balanced_absolute")


class ForecastError(ValueError):
    """A forecast that cannot be scored: wrong type, shape or dtype, NaN, or out of [0, 1]."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over scored locations and sequences, one row a lead time, one column a threshold.

    Counts (K, 5) int64; error sums (K,) float64 in pixel units ([0, 1]); ``sequences`` counts forecasts, also those
    whose truth was missing at some lead.
    """

    sequences: int
    hits: Counts
    misses: Counts
    false_alarms: Counts
    correct_negatives: Counts
    squared: Sums
    absolute: Sums
    balanced_squared: Sums
    balanced_absolute: Sums

    @staticmethod
    def zero(leads: int) -> "Tally":
        """The tally of nothing, for ``leads`` lead times."""
        counts: list[Any] = [np.zeros((leads, len(THRESHOLDS)), np.int64) for _ in COUNTS]
        return Tally(0, *counts, *(np.zeros(leads) for _ in ERRORS))

    def __add__(self, other: "Tally") -> "Tally":
        if len(self.squared) != len(other.squared):
            raise ValueError(f"cannot add tallies of {len(self.squared)} and {len(other.squared)} lead times")
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # it holds arrays

    @property
    def pixels(self) -> Counts:
        """(K,) scored locations."""
        total: Counts = sum(getattr(self, name)[:, 0] for name in COUNTS)
        return total

    @property
    def samples(self) -> Counts:
        """(K, 5) locations at which the event was forecast or observed: where this is 0, CSI is undefined."""
        return self.hits + self.misses + self.false_alarms


def scored(levels: Any, static: Any) -> Any:
    """Find the locations that are scored: inside the static mask and not small-echo noise (Shi et al. 2017, D.2).

    Args:
        levels: (..., H, W) uint8 levels of truth that is present, a numpy array or a torch tensor.
        static: (H, W) bool, or of any shape that broadcasts, the static mask, of the same library.

    Returns:
        (..., H, W) bool, True where ``static`` is True and the level is 0 or at least ``NOISE_LEVEL``.
    """
    # Unsigned level 0 wraps round to 255, so one comparison keeps "no echo" and drops 1..70.
    return (levels - 1 >= NOISE_LEVEL - 1) & static


def tally(
    truth: Sequence[Levels] | Levels,
    mask: Sequence[Mask] | Mask,
    forecast: Forecast,
    *,
    zr: ZR = HKO7,
) -> Tally:
    """Score one forecast of K lead times.

    ``truth`` K frames (H, W) uint8, ``mask`` K frames (H, W) bool, True = scored, ``forecast`` (K, H, W) float32
    pixels in [0, 1] or uint8 levels. An event is a value at or above the threshold, in truth and forecast alike;
    error weights follow the truth. Differences and short runs of their sums are float32, the rest is float64. Raises
    ForecastError on any other forecast, before anything is counted.
    """
    leads = len(truth)
    if leads == 0 or len(mask) != leads:
        raise ValueError(f"{leads} frames of truth need as many masks and at least one, got {len(mask)} masks")
    shape = (leads, *truth[0].shape)
    check_forecast(forecast, shape)
    for k in range(leads):
        if truth[k].shape != shape[1:] or truth[k].dtype != np.uint8:
            raise ValueError(f"truth must be uint8 {shape[1:]}, lead {k + 1} is {truth[k].dtype} {truth[k].shape}")
        if mask[k].shape != shape[1:] or mask[k].dtype != np.bool_:
            raise ValueError(f"mask must be bool {shape[1:]}, lead {k + 1} is {mask[k].dtype} {mask[k].shape}")
    result = Tally.zero(leads)
    scratch = _Scratch()
    for k in range(leads):
        _count_lead(result, k, truth[k], mask[k], forecast[k], zr, scratch)
    return Tally(1, *(getattr(result, name) for name in COUNTS + ERRORS))


def check_forecast(forecast: object, shape: tuple[int, ...]) -> None:
    """Raise ForecastError unless ``forecast`` is a plain array of ``shape`` and a dtype that can be scored."""
    if not isinstance(forecast, np.ndarray):
        raise ForecastError(f"a forecast is a numpy array, got {type(forecast).__name__}")
    if type(forecast) not in PLAIN_ARRAYS:
        raise ForecastError(
            f"a forecast is a plain numpy array, got {type(forecast).__name__}: say what a masked location shall hold, "
            "as by numpy.ma.filled(forecast, 0), or take numpy.asarray of another subclass"
        )
    if forecast.shape != shape:
        raise ForecastError(f"expected a forecast of shape {shape} (lead, row, column), got {forecast.shape}")
    if forecast.dtype not in (np.float32, np.uint8):
        raise ForecastError(f"expected float32 pixels in [0, 1] or uint8 levels, got {forecast.dtype}")


_BLOCK = 115200  # locations worked on at once, so that what is read twice is still in the second-level cache
_WORD = 8  # locations looked at as one machine word when the empty ones are left out
_ONE = np.float32(1).view(np.uint32)
# Balancing weights as increments over THRESHOLDS: w = 1 + sum of the steps whose threshold the truth reaches.
_STEPS = tuple(np.uint8(high - low) for low, high in pairwise(BALANCE))


class _Scratch:
    """Buffers for one block, kept over all lead times: fresh ones would cost more in page faults than the sums."""

    def __init__(self) -> None:
        self.a, self.b = (np.empty(_BLOCK, np.float32) for _ in range(2))
        self.p, self.q = (np.empty(_BLOCK, np.bool_) for _ in range(2))


def _count_lead(into: Tally, k: int, truth: Levels, mask: Mask, forecast: Forecast, zr: ZR, scratch: _Scratch) -> None:
    """Add one lead time to row ``k``, block by block, looking only at what can differ from zero."""
    levels, edges = zr.threshold_levels.tolist(), zr.threshold_pixels.astype(np.float32)
    truth, mask, forecast = (np.ascontiguousarray(a).reshape(-1) for a in (truth, mask, forecast))
    for start in range(0, len(truth), _BLOCK):
        block = slice(start, start + _BLOCK)
        t, m, f = truth[block], mask[block], forecast[block]
        if f.dtype == np.uint8:
            f = np.divide(f, np.float32(255), dtype=np.float32)
        _check_range(f, k)
        total = np.count_nonzero(m)
        echo = np.not_equal(f, 0, out=scratch.p[: len(f)]).view(np.uint8)
        t, m, f = _narrow(np.bitwise_or(echo, t, out=echo), t, m, f)
        n = len(t)
        error, other = scratch.a[:n], scratch.b[:n]
        np.copyto(error, t)
        np.divide(error, np.float32(255), out=error)
        np.subtract(f, error, out=error)
        np.copyto(other, m)
        error *= other
        into.squared[k] += _dot(error, error)
        into.absolute[k] += np.abs(error, out=other).sum(dtype=np.float32)

        # Events are rarer than echo: the rest of the work sees only the words that hold one.
        event = np.greater_equal(f, edges[0], out=scratch.p[:n])
        event |= np.greater_equal(t, levels[0], out=scratch.q[:n])
        t, m, f, error = _narrow(event, t, m, f, error)
        n = len(t)
        observed, expected, extra = scratch.p[:n], scratch.q[:n], np.zeros(n, np.uint8)
        for j, step in enumerate(_STEPS):
            np.greater_equal(t, levels[j], out=observed)
            np.logical_and(observed, m, out=observed)
            np.greater_equal(f, edges[j], out=expected)
            np.logical_and(expected, m, out=expected)
            n_observed, n_expected = np.count_nonzero(observed), np.count_nonzero(expected)
            np.logical_and(expected, observed, out=expected)
            hits = np.count_nonzero(expected)
            into.hits[k, j] += hits
            into.misses[k, j] += n_observed - hits
            into.false_alarms[k, j] += n_expected - hits
            into.correct_negatives[k, j] += total - n_observed - n_expected + hits
            if step:
                extra += observed.view(np.uint8) * step
        weighted = scratch.b[:n]
        np.copyto(weighted, extra)
        weighted *= error
        into.balanced_squared[k] += _dot(weighted, error)
        into.balanced_absolute[k] += np.abs(weighted, out=weighted).sum(dtype=np.float32)
    into.balanced_squared[k] += into.squared[k]
    into.balanced_absolute[k] += into.absolute[k]


def _narrow(wanted: npt.NDArray[Any], *arrays: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """The words of ``arrays`` (N,) in which anything is ``wanted`` (N,), or all if that is most of them."""
    if len(wanted) % _WORD:
        return arrays
    words = np.flatnonzero(wanted.view(np.uint64) != 0)  # of bool: numpy's fast case
    if len(words) * _WORD > 0.7 * len(wanted):
        return arrays
    return tuple(a.reshape(-1, _WORD).take(words, axis=0, mode="clip").reshape(-1) for a in arrays)


def _check_range(pixels: npt.NDArray[np.float32], k: int) -> None:
    # As unsigned integers, floats of [0, 1] are ordered and everything else, but for -0.0, lies above them.
    if len(pixels) and pixels.view(np.uint32).max() > _ONE:
        low, high = pixels.min(), pixels.max()
        if not (low >= 0 and high <= 1):
            what = "NaN" if np.isnan(low) else f"values in [{low}, {high}]"
            raise ForecastError(f"a forecast lies in [0, 1]; lead {k + 1} holds {what}")


def _dot(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Sum of products: in float32 over short runs, whose sums are added in float64."""
    run = 2048
    whole = len(a) // run * run
    head = np.vecdot(a[:whole].reshape(-1, run), b[:whole].reshape(-1, run)).sum(dtype=np.float64)
    return float(head + np.vecdot(a[whole:], b[whole:]))


def scores(t: Tally) -> dict[str, Values]:
    """Scores per lead: (K, 5) for events, (K,) for errors (sums over the frame, mean over sequences).

    With a hits, b false alarms, c misses, d correct negatives: POD a/(a+c), FAR b/(a+b), CSI a/(a+b+c), frequency
    bias (a+b)/(a+c), GSS (a-r)/(a+b+c-r) with r = (a+b)(a+c)/n, and HSS 2(ad-bc)/((a+c)(c+d)+(a+b)(b+d)), which is
    twice the formula that Shi et al. 2017 print and what their Table 3 holds. A score with denominator 0 is NaN.
    """
    # float64 keeps the products, which overflow int64 over a whole year, and holds every count below 2^53 exactly
    a, c, b, d = (getattr(t, name).astype(np.float64) for name in COUNTS)
    n = a + b + c + d
    with np.errstate(divide="ignore", invalid="ignore"):
        random = (a + b) * (a + c) / n
        by_event = {
            "csi": a / (a + b + c),
            "hss": 2 * (a * d - b * c) / ((a + c) * (c + d) + (a + b) * (b + d)),
            "pod": a / (a + c),
            "far": b / (a + b),
            "gss": (a - random) / (a + b + c - random),
            "bias": (a + b) / (a + c),
        }
    sequences = t.sequences or np.nan
    errors = {
        "mse": t.squared / sequences,
        "mae": t.absolute / sequences,
        "b_mse": t.balanced_squared / sequences,
        "b_mae": t.balanced_absolute / sequences,
    }
    for name, score in by_event.items():  # x / 0 with x > 0 cannot happen but for bias: still undefined, not infinite
        by_event[name] = np.where(np.isfinite(score), score, np.nan)
    return by_event | errors


def averages(t: Tally) -> dict[str, Values]:
    """Table 3 of Shi et al. 2017: the mean over lead times of each score, (5,) for events, () for errors.

    NaN if a score is undefined at any lead: an average over fewer leads would not be comparable.
    """
    return {name: values.mean(axis=0) for name, values in scores(t).items()}
