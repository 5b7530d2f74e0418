"""Forecasts as levels, and the masked levels that all diagnostics share."""

import numpy as np
import numpy.typing as npt

from hko7env.units import ZR

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

UNSCORED = 1  # a level that no scored truth has, because it would be small-echo noise


def forecast_levels(pixels: npt.NDArray[np.float32], zr: ZR) -> Levels:
    """Round the pixels of a forecast to levels without rounding any of them across a threshold of rain rate.

    A value just below a threshold would become the level that reaches it. It is rounded down instead, and likewise up
    just above one, so events of levels are the events that :func:`hko7env.scores.tally` counts. Pixels that are
    levels / 255 give these levels.

    Args:
        pixels: (H, W) float32 in [0, 1].
        zr: Relation between level and rain rate.

    Returns:
        (H, W) uint8.
    """
    flat = np.ascontiguousarray(pixels).reshape(-1)
    scaled = np.multiply(flat, np.float32(255))
    scaled += np.float32(0.5)
    levels = scaled.astype(np.uint8)
    for lowest, edge in zip(zr.threshold_levels.tolist(), zr.threshold_pixels.astype(np.float32), strict=True):
        if lowest > 255:
            continue
        close = np.flatnonzero(levels - np.uint8(lowest - 1) <= 1)  # unsigned: lowest - 1 and lowest
        levels[close] = np.where(flat[close] >= edge, lowest, lowest - 1)
    return levels.reshape(pixels.shape)


def mark_unscored(truth: Levels, mask: Mask) -> Levels:
    """(H, W) uint8 levels of the truth where ``mask`` (H, W) is True, UNSCORED elsewhere."""
    return np.where(mask, truth, np.uint8(UNSCORED))
