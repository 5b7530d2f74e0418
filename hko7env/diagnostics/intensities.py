"""What joint histograms say of intensities: reliability, distributions, every threshold, the best recalibration."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.diagnostics.joint_histogram import Counts, counts_at
from hko7env.units import ZR

RATES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0)  # mm/h, edges of the classes of forecasts
_PIXELS = np.arange(256) / 255

Values = npt.NDArray[np.float64]


class Reliability(NamedTuple):
    """Means over the locations whose forecast lies in a class of rain rate, the last class open; NaN without any.

    Attributes:
        locations: (9,) int64 number of locations.
        forecast: (9,) mean forecast, mm/h.
        observed: (9,) mean observation, mm/h; equal to ``forecast`` if forecasts are reliable.
    """

    locations: Counts
    forecast: Values
    observed: Values


def rain_rates(zr: ZR) -> Values:
    """(256,) rain rate of each level, mm/h; level 0, no echo, is 0 mm/h."""
    return np.where(np.arange(256) > 0, zr.rates, 0.0)


def reliability(joint: Counts, zr: ZR) -> Reliability:
    """Mean observed rain given the forecast (the reliability of Murphy and Winkler 1987).

    Args:
        joint: (256, 256) counts by observed and forecast level.
        zr: Relation between level and rain rate.
    """
    rates = rain_rates(zr)
    class_of = np.searchsorted(RATES, rates, "right")
    by_forecast = joint.sum(axis=0).astype(np.float64)
    sums = [
        np.bincount(class_of, weight, minlength=len(RATES) + 1)[1:]
        for weight in (by_forecast, by_forecast * rates, rates @ joint)
    ]
    with np.errstate(invalid="ignore"):
        return Reliability(sums[0].astype(np.int64), sums[1] / sums[0], sums[2] / sums[0])


def quantiles(levels: Counts, shares: Values, zr: ZR) -> Values:
    """Rain rates that given shares of the locations do not exceed.

    Args:
        levels: (256,) number of locations with each level.
        shares: (n,) in [0, 1].
        zr: Relation between level and rain rate.

    Returns:
        (n,) mm/h, NaN without locations.
    """
    if levels.sum() == 0:
        return np.full(len(shares), np.nan)
    reached = np.cumsum(levels) / levels.sum()
    return np.asarray(rain_rates(zr)[np.searchsorted(reached, shares, "left").clip(0, 255)])


def csi_at_levels(joint: Counts, levels: npt.NDArray[np.int64]) -> Values:
    """(..., n) critical success index at each of ``levels`` (n,), NaN where no event was forecast or observed."""
    hits, misses, false_alarms, _ = counts_at(joint, levels)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / (hits + misses + false_alarms))


def best_csi(joint: Counts, level: int) -> tuple[float, int]:
    """The highest CSI of an observed event that any threshold of the forecast gives.

    Args:
        joint: (256, 256) counts by observed and forecast level.
        level: Lowest observed level of the event.

    Returns:
        CSI, and the lowest forecast level that is then taken as a forecast of the event; NaN and 0 without events.
    """
    events, total = joint[level:].sum(axis=0), joint.sum(axis=0)
    hits, forecast = (np.cumsum(n[::-1])[::-1] for n in (events, total))  # at or above each level of the forecast
    with np.errstate(invalid="ignore"):
        csi = hits / (events.sum() + forecast - hits)
    if np.isnan(csi).all():
        return float("nan"), 0
    best = int(np.nanargmax(csi))
    return float(csi[best]), best


def recalibrated(joint: Counts, zr: ZR) -> tuple[float, float]:
    """Balanced squared error of forecasts, and the least one that any change of their levels gives.

    With N(o, f) locations and the balancing weight w(o), the error of a forecast level f is least if it is replaced by
    sum_o w(o) o N(o, f) / sum_o w(o) N(o, f). The replacement is derived from the forecasts it is applied to, so the
    result is a bound: what is wrong with intensities, as opposed to places, is at most the difference.

    Args:
        joint: (256, 256) counts by observed and forecast level.
        zr: Relation between level and rain rate.

    Returns:
        Sums of w (forecast - observed)^2 in pixel units, before and after.
    """
    weighted = joint * zr.weights[:, None].astype(np.float64)
    zeroth, first, second = (weighted.T @ _PIXELS**n for n in range(3))
    before = float((second - 2 * _PIXELS * first + _PIXELS**2 * zeroth).sum())
    there = zeroth > 0
    after = float((second[there] - first[there] ** 2 / zeroth[there]).sum())
    return before, max(after, 0.0)
