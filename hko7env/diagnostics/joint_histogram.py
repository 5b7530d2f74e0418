"""Joint histograms of observed and forecast levels, and the counts of events that follow from them."""

import numpy as np
import numpy.typing as npt

from hko7env.block_counter import WORD
from hko7env.diagnostics.levels import UNSCORED, Levels
from hko7env.units import THRESHOLDS, ZR

LEVELS = 256

Counts = npt.NDArray[np.int64]


def joint_histogram(truth: Levels, forecast: Levels) -> Counts:
    """Count the pairs of levels of one frame.

    Args:
        truth: (H, W) uint8 levels, UNSCORED where not scored.
        forecast: (H, W) uint8 levels, 0 where not scored.

    Returns:
        (256, 256) int64 scored locations by observed level (first axis) and forecast level.
    """
    t, f = truth.reshape(-1), forecast.reshape(-1)
    total = t.size - np.count_nonzero(t == UNSCORED)
    if t.size % WORD == 0:  # most locations have no echo in either: leave out words of eight such locations
        words = np.flatnonzero(((t & ~np.uint8(UNSCORED)) | f).view(np.uint64))
        t, f = (a.reshape(-1, WORD).take(words, axis=0).reshape(-1) for a in (t, f))
    pairs = t.astype(np.uint16)
    pairs <<= 8
    pairs |= f
    counts = np.bincount(pairs, minlength=LEVELS * LEVELS).reshape(LEVELS, LEVELS)
    counts[UNSCORED] = 0
    counts[0, 0] += total - counts.sum()
    return counts


def counts_at(joint: Counts, levels: npt.NDArray[np.int64]) -> Counts:
    """Counts of events at thresholds of level, from joint histograms.

    Args:
        joint: (..., 256, 256) counts by observed and forecast level.
        levels: (n,) lowest level of each event, 0..256.

    Returns:
        (4, ..., n) int64 hits, misses, false alarms and correct negatives.
    """
    below = np.zeros((*joint.shape[:-2], LEVELS + 1, LEVELS + 1), np.int64)  # observed < i and forecast < j
    below[..., 1:, 1:] = joint.cumsum(axis=-2).cumsum(axis=-1)
    negatives = below[..., levels, levels]
    misses = below[..., -1, levels] - negatives
    false_alarms = below[..., levels, -1] - negatives
    hits = below[..., -1:, -1] - negatives - misses - false_alarms
    return np.stack([hits, misses, false_alarms, negatives])


def counts_at_thresholds(joint: Counts, zr: ZR) -> Counts:
    """(4, ..., 5) int64 hits, misses, false alarms and correct negatives at the thresholds of the scores."""
    classes = np.eye(len(THRESHOLDS) + 1)[zr.classes]  # (256, 6)
    return counts_of_classes((classes.T @ joint @ classes).astype(np.int64))  # float64 is exact below 2^53


def counts_of_classes(table: Counts) -> Counts:
    """Counts of events from tables of classes of rain rate.

    Args:
        table: (..., 6, 6) int64 by observed and forecast class, the number of thresholds that are reached.

    Returns:
        (4, ..., 5) int64 hits, misses, false alarms and correct negatives at each threshold.
    """
    below = table.cumsum(axis=-2).cumsum(axis=-1)
    j = np.arange(len(THRESHOLDS))
    negatives = below[..., j, j]
    misses = below[..., -1, j] - negatives
    false_alarms = below[..., j, -1] - negatives
    return np.stack([below[..., -1:, -1] - negatives - misses - false_alarms, misses, false_alarms, negatives])
