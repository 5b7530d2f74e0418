"""How often forecasts came true: counts of observed classes by lead time and bin, and the probabilities they give.

Counts (K, N, 6) say how often the truth fell into each of the six classes of rain rate that the five thresholds make,
for K lead times and N bins of :mod:`.features`. Each location counts once for each event, in the bins of that event.
Counts add up over sequences and can be decayed.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from hko7env.units import BALANCE, ZR

from .features import BINS, SHAPE

Array = npt.NDArray[np.float32]

CLASSES = len(BALANCE)
WIDTHS = ((0.3, 0.5), (1.0, 1.0), (2.0, 2.0))  # of lead times and of bins of the features, narrow to wide
ENOUGH = 0.5  # weight of the smoother estimate, in counts of a bin; an event and lead time have 60,000 counts
OWN = np.tri(len(BALANCE), len(BALANCE) - 1, -1, np.float32).T  # (5, 6), 1 where the class reaches the event
ODDS_LEADS = 2.0  # lead times: standard deviation of the smoothing of the shift of odds


def count(bins: npt.NDArray[np.int16], truth: npt.NDArray[np.uint8], seen: npt.NDArray[np.bool_], zr: ZR) -> Array:
    """Count the observed classes of one lead time by bin.

    Args:
        bins: (5, h, w) bins of each cell.
        truth: (h, w) observed levels.
        seen: (h, w), True where the truth counts.
        zr: Relation between level and rain rate.

    Returns:
        (N, 6) float32.
    """
    joint = bins[:, seen].astype(np.int32) * CLASSES + zr.classes[truth[seen]]
    return np.bincount(joint.reshape(-1), minlength=BINS * CLASSES).reshape(-1, CLASSES).astype(np.float32)


def smooth(counts: Array) -> Array:
    """The probabilities (K, N, 6) of each class; a bin with few counts also uses those of bins and leads beside it."""
    cube = counts.reshape(-1, *SHAPE, CLASSES)
    total = counts.sum(1, keepdims=True)
    probabilities = np.broadcast_to(total / np.maximum(total.sum(-1, keepdims=True), 1), counts.shape)
    for leads, bins in reversed(WIDTHS):
        blurred = gaussian_filter(cube, (leads, 0, bins, bins, 0), mode="nearest", truncate=3).reshape(counts.shape)
        probabilities = combine(blurred, probabilities, ENOUGH)
    return combine(counts, probabilities, ENOUGH)


def combine(counts: Array, probabilities: Array, weight: float | Array) -> Array:
    """Update probabilities by counts.

    Args:
        counts: (K, N, 6).
        probabilities: (K, N, 6) before.
        weight: Counts that they weigh as, a number or (K, N, 1).

    Returns:
        (K, N, 6).
    """
    combined: Array = (counts + weight * probabilities) / (counts.sum(-1, keepdims=True) + weight)
    return combined


def reached(probabilities: Array) -> Array:
    """The probability (K, N) that the event is reached to which a bin belongs, from those of the classes (K, N, 6)."""
    leads = len(probabilities)
    chances = np.einsum("kenc,ec->ken", probabilities.reshape(leads, SHAPE[0], -1, CLASSES), OWN)
    return np.asarray(chances.reshape(leads, -1), np.float32)


def shift_odds(probabilities: Array, counts: Array, usual: Array) -> Array:
    """Shift the odds of each class and lead time, in all bins alike, by how often the class was observed.

    A class observed twice as often as expected gets about twice the odds.

    Args:
        probabilities: (K, N, 6).
        counts: (K, N, 6), what was observed.
        usual: (K, 6), counts that stand for no shift.

    Returns:
        (K, N, 6).
    """
    expected = np.einsum("kn,knc->kc", counts.sum(-1), probabilities)
    widths, common = (ODDS_LEADS, 0), usual + 1e-6
    observed, expected = (gaussian_filter(sums, widths, mode="nearest") + common for sums in (counts.sum(1), expected))
    shifted: Array = probabilities * (observed / expected)[:, None]
    shifted /= shifted.sum(-1, keepdims=True)
    return shifted
