"""How often events came true that were forecast with a probability, and the probability from which on to forecast them.

Counts (K, 5, B, 2) say, for K lead times, the five thresholds of rain rate and B bins of the log odds, how often the
event was not observed and observed. They add up over sequences and can be decayed.
"""

import numpy as np
import numpy.typing as npt
import torch

from hko7env.units import THRESHOLDS, ZR

Tensor = torch.Tensor
Counts = npt.NDArray[np.float32]

EVENTS = len(THRESHOLDS)
LOWEST, HIGHEST, BINS = -5.0, 4.0, 64  # log odds where the second and the last bin begin
EDGES = np.linspace(LOWEST, HIGHEST, BINS - 1)  # log odds between bins
STEP = 4  # px: one location in 4 x 4 is counted
LEAST_BIAS, MOST_BIAS = 0.8, (1.3, 1.3, 1.4, 1.5, 2.0)  # permitted frequency bias of each event


def find_bins(logits: Tensor) -> Tensor:
    """The bin, uint8, of each of the log odds; one location in STEP x STEP of the last two axes."""
    part = logits[..., STEP // 2 :: STEP, STEP // 2 :: STEP]
    scale = (BINS - 2) / (HIGHEST - LOWEST)
    return ((part - LOWEST) * scale + 1).clamp(0, BINS - 1).to(torch.uint8)


def count(bins: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], seen: npt.NDArray[np.bool_], zr: ZR) -> Counts:
    """Count what one observed frame says about a forecast.

    Args:
        bins: (5, h, w), of :func:`find_bins`.
        truth: (H, W) observed levels.
        seen: (H, W), True where the truth counts.
        zr: Relation of level to rain rate.

    Returns:
        (5, B, 2).
    """
    here = (slice(STEP // 2, None, STEP),) * 2
    observed, counted = truth[here][seen[here]], bins[:, seen[here]].astype(np.intp)
    sums = [
        np.bincount(row * 2 + (observed >= level), minlength=2 * BINS).reshape(BINS, 2)
        for row, level in zip(counted, zr.threshold_levels, strict=True)
    ]
    return np.stack(sums).astype(np.float32)


def choose_odds(counts: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The log odds (K, 5) from which on events are forecast: highest CSI within the permitted frequency bias.

    Args:
        counts: (K, 5, B, 2).
    """
    above = np.cumsum(counts[:, :, ::-1], axis=2)[:, :, ::-1]
    hits, forecast = above[:, :, 1:, 1], above[:, :, 1:].sum(-1)
    observed = np.maximum(above[:, :, :1, 1], 1e-9)
    bias = forecast / observed
    permitted = (bias >= LEAST_BIAS) & (bias <= np.array(MOST_BIAS)[:, None])
    csi = hits / np.maximum(observed + forecast - hits, 1e-9)
    best = np.argmax(np.where(permitted, csi, -abs(bias - 1)), axis=-1)
    odds: npt.NDArray[np.float32] = EDGES[best].astype(np.float32)
    return odds
