"""Counts of events after max pooling, as recent papers print them beside the counts of pixels (CSI-pool).

The frame is cut into square cells; the level of a cell is the highest of its scored pixels, and a cell without scored
pixels is not scored. Pooling forgives displacements within a cell (Gao et al. 2022, Earthformer, print pool 4 and 16).
"""

import numpy as np
import numpy.typing as npt

from hko7env.diagnostics.joint_histogram import counts_of_classes
from hko7env.diagnostics.levels import UNSCORED, Levels
from hko7env.units import THRESHOLDS, ZR

POOLS = (4, 16)  # side of a cell, px

Counts = npt.NDArray[np.int64]


def pooled_counts(truth: Levels, forecast: Levels, zr: ZR) -> Counts:
    """Count the events of one frame at all sizes of cells.

    Args:
        truth: (H, W) uint8 levels, UNSCORED where not scored.
        forecast: (H, W) uint8 levels, 0 where not scored.
        zr: Relation between level and rain rate.

    Returns:
        (4, 2, 5) int64 hits, misses, false alarms and correct negatives by size of cell and threshold.
    """
    classes = len(THRESHOLDS) + 1
    class_of = zr.classes
    scored = (truth != UNSCORED).view(np.uint8)
    frames, side, counts = [truth, forecast, scored], 1, []
    for pool in POOLS:
        frames = [_max_pool(frame, pool // side) for frame in frames]
        side = pool
        observed, expected, inside = (frame.reshape(-1) for frame in frames)
        pairs = (class_of[observed] * classes + class_of[expected])[inside.view(np.bool_)]
        table = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        counts.append(counts_of_classes(table))
    return np.stack(counts, axis=1)


def _max_pool(frame: Levels, size: int) -> Levels:
    """Maxima of cells of ``size`` px, a power of two; (H, W) to (H / size, W / size), rounded up."""
    while size > 1:
        rows, columns = frame.shape
        if rows % 2 or columns % 2:
            frame = np.pad(frame, ((0, rows % 2), (0, columns % 2)))
        frame = np.maximum(frame[0::2], frame[1::2])
        frame = np.maximum(frame[:, 0::2], frame[:, 1::2])
        size //= 2
    return frame
