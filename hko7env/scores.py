"""Tallies and scores: one pass over truth and forecast gives a tally, scores are formulas over tallies.

Tallies add up: counts are int64 and merge exactly in any order, error sums are float64. Scores are derived from summed
tallies and never averaged over sequences, because a mean of CSIs is not the CSI of the pooled counts.

A score is one entry of :data:`SCORES`; the table and the CSV of :mod:`hko7env.evaluation.table` are derived from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.counting import block_counter, count_frame
from hko7env.forecast import Forecast, check_forecast
from hko7env.units import HKO7, NOISE_LEVEL, THRESHOLDS, ZR

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

COUNTS = ("hits", "misses", "false_alarms", "correct_negatives")
ERRORS = ("squared", "absolute", "balanced_squared", "balanced_absolute")


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over scored locations and sequences, one row per lead time, one column per threshold.

    Attributes:
        sequences: Number of forecasts, including those whose truth was missing at some lead.
        hits: (K, 5) int64, event forecast and observed.
        misses: (K, 5) int64, event observed but not forecast.
        false_alarms: (K, 5) int64, event forecast but not observed.
        correct_negatives: (K, 5) int64, event neither forecast nor observed.
        squared: (K,) float64 sum of squared errors, in pixel units ([0, 1]).
        absolute: (K,) float64 sum of absolute errors.
        balanced_squared: (K,) float64 sum of squared errors times the balancing weight of the truth.
        balanced_absolute: (K,) float64 sum of absolute errors times the balancing weight of the truth.
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
        """The empty tally for K = ``leads`` lead times."""
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

    __hash__ = None  # type: ignore[assignment]  # its fields are arrays

    @property
    def pixels(self) -> Counts:
        """(K,) int64 number of scored locations."""
        total: Counts = sum(getattr(self, name)[:, 0] for name in COUNTS)
        return total

    @property
    def samples(self) -> Counts:
        """(K, 5) int64 locations where the event was forecast or observed; CSI is undefined where this is 0."""
        return self.hits + self.misses + self.false_alarms

    @property
    def balanced_error(self) -> float:
        """B-MSE + B-MAE, mean over the lead times, summed over the sequences; a reward is minus this."""
        return float((self.balanced_squared + self.balanced_absolute).mean())


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
    """Score one forecast.

    An event is a value at or above the threshold, in truth and forecast alike. Error weights follow the truth (Shi et
    al. 2017, section 5.1).

    Args:
        truth: K frames (H, W) uint8.
        mask: K frames (H, W) bool, True = scored.
        forecast: (K, H, W) float32 pixels in [0, 1] or uint8 levels.
        zr: Relation between level and rain rate.

    Returns:
        The tally of one sequence.

    Raises:
        ForecastError: For any other forecast.
        ValueError: If truth and mask do not fit together.
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
    counter = block_counter()
    frames = [count_frame(truth[k], mask[k], forecast[k], k, zr, counter) for k in range(leads)]
    counts, sums = (np.stack(part, axis=1) for part in zip(*frames, strict=True))
    return Tally(1, *counts, *sums)


@dataclass(frozen=True)
class Score:
    """One score: how it is computed from a tally and how it is shown.

    Attributes:
        name: Key in :func:`scores` and prefix of its columns in ``leads.csv``.
        title: Title of its columns in the table.
        formula: Value per lead of a tally, (K, 5) or (K,). Not finite where the score is undefined.
        per_threshold: Whether there is one value per threshold.
        digits: Decimals in the table, or None if the table leaves the score out.
    """

    name: str
    title: str
    formula: Callable[[Tally], Values]
    per_threshold: bool = True
    digits: int | None = None


def _table_of_events(t: Tally) -> tuple[Values, Values, Values, Values]:
    """Hits a, false alarms b, misses c and correct negatives d, each (K, 5).

    float64 keeps products that overflow int64 over a whole year, and represents every count below 2^53 exactly.
    """
    a, b, c, d = (n.astype(np.float64) for n in (t.hits, t.false_alarms, t.misses, t.correct_negatives))
    return a, b, c, d


def _hss(t: Tally) -> Values:
    a, b, c, d = _table_of_events(t)
    # Twice the formula that Shi et al. 2017 print; their Table 3 holds this one.
    return 2 * (a * d - b * c) / ((a + c) * (c + d) + (a + b) * (b + d))


def _gss(t: Tally) -> Values:
    a, b, c, d = _table_of_events(t)
    random = (a + b) * (a + c) / (a + c + b + d)
    return (a - random) / (a + b + c - random)


# In the order of the columns of the table and the CSV
SCORES = (
    Score("csi", "CSI", lambda t: t.hits / (t.hits + t.false_alarms + t.misses), digits=4),
    Score("hss", "HSS", _hss, digits=4),
    Score("pod", "POD", lambda t: t.hits / (t.hits + t.misses)),
    Score("far", "FAR", lambda t: t.false_alarms / (t.hits + t.false_alarms)),
    Score("gss", "GSS", _gss),
    Score("mse", "MSE", lambda t: t.squared / t.sequences, per_threshold=False),
    Score("mae", "MAE", lambda t: t.absolute / t.sequences, per_threshold=False),
    Score("b_mse", "B-MSE", lambda t: t.balanced_squared / t.sequences, per_threshold=False, digits=0),
    Score("b_mae", "B-MAE", lambda t: t.balanced_absolute / t.sequences, per_threshold=False, digits=0),
    Score("bias", "bias", lambda t: (t.hits + t.false_alarms) / (t.hits + t.misses), digits=2),
)


def scores(t: Tally) -> dict[str, Values]:
    """Derive all of :data:`SCORES` per lead time.

    With a hits, b false alarms, c misses, d correct negatives and n = a + b + c + d (Shi et al. 2017, section 5.1):

    - csi: critical success index, a / (a + b + c)
    - hss: Heidke skill score, 2 (ad - bc) / ((a + c)(c + d) + (a + b)(b + d))
    - pod: probability of detection, a / (a + c)
    - far: false alarm ratio, b / (a + b)
    - gss: Gilbert skill score, (a - r) / (a + b + c - r), with r = (a + b)(a + c) / n hits expected by chance
    - bias: frequency bias, (a + b) / (a + c)
    - mse, mae, b_mse, b_mae: (balanced) squared and absolute errors, sums over the frame, means over the sequences

    Returns:
        (K, 5) float64 for scores per threshold, (K,) for errors. An undefined score (denominator 0) is NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        by_name = {score.name: score.formula(t) for score in SCORES}
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in by_name.items()}


def averages(t: Tally) -> dict[str, Values]:
    """Average each score over the lead times, as in Table 3 of Shi et al. 2017.

    Returns:
        (5,) float64 for scores per threshold, () for errors. NaN if a score is undefined at any lead: an average over
        fewer leads would not be comparable.
    """
    return {name: values.mean(axis=0) for name, values in scores(t).items()}
