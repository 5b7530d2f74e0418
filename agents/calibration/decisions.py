"""From probabilities to a forecast: which events to forecast for the best CSI, and which value within a class."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from hko7env.units import BALANCE, ZR

from .counts import Array
from .features import SHAPE

Aim = Literal["csi", "mse", "mae"]

AIMS: tuple[Aim, ...] = get_args(Aim)
SURE_DRY = 0.14  # probability of rain below which a cell without forecast rain is 0; more helps MAE and harms MSE
CANDIDATES = np.geomspace(0.004, 0.96, 96)  # probabilities among which thresholds are chosen
LEAST_BIAS, MOST_BIAS = 0.9, (1.25, 1.2, 1.2, 1.3, 2.0)  # permitted expected frequency bias of each event


def choose_thresholds(reached: Array, occurrence: npt.NDArray[np.floating]) -> Array:
    """Choose the probabilities from which on events are forecast: highest expected CSI within the permitted bias.

    The expected CSI and frequency bias of each candidate follow from the probabilities and how often each bin occurs.

    Args:
        reached: (K, N, 5) probability that each threshold of rain rate is reached.
        occurrence: (K, N) how often each bin occurs.

    Returns:
        (K, 5).
    """
    leads, _, events = reached.shape
    size = len(CANDIDATES) + 1
    ratio = np.log(CANDIDATES[1] / CANDIDATES[0])
    passed = np.log(np.maximum(reached, 1e-9) / CANDIDATES[0]) / ratio + 1  # number of candidates that are reached
    passed = passed.clip(0, size - 1).astype(np.int64)
    group = (passed + size * (events * np.arange(leads)[:, None, None] + np.arange(events))).reshape(-1)
    occurring = np.broadcast_to(occurrence[..., None], reached.shape)
    sums = [np.bincount(group, part.reshape(-1), leads * events * size) for part in (occurring, occurring * reached)]
    above = np.cumsum(np.reshape(sums, (2, leads, events, size))[..., ::-1], axis=-1)[..., ::-1]
    forecast, hits = above[..., 1:]  # expected counts with each candidate as the threshold
    observed = np.maximum(above[1, ..., :1], 1e-9)
    bias = forecast / observed
    permitted = (bias >= LEAST_BIAS) & (bias <= np.array(MOST_BIAS)[:, None])
    csi = hits / (observed + forecast - hits)
    best = np.argmax(np.where(permitted, csi, -abs(bias - 1)), axis=-1)
    return np.asarray(CANDIDATES[best], np.float32)


def forecast_pixels(probabilities: Array, reached: Array, thresholds: Array, means: Array, zr: ZR, aim: Aim) -> Array:
    """The pixel to forecast in each bin.

    With the aim "csi" it is the mean weighted as B-MSE weighs, kept inside the highest class whose thresholds are
    reached; with "mse" that mean itself; with "mae" the mean pixel of the weighted median class, 0 in the lowest one.

    Args:
        probabilities: (K, N, 6) of the classes.
        reached: (K, N, 5), their :func:`~agents.calibration.counts.exceedance`.
        thresholds: (K, 5), see :func:`choose_thresholds`.
        means: (6,) mean pixel of each class.
        zr: Relation between level and rain rate.
        aim: One of AIMS.

    Returns:
        (K, N) in [0, 1], not decreasing with the bin of the level.
    """
    weights = probabilities * np.array(BALANCE, np.float32)
    expected = weights @ means / weights.sum(-1)
    if aim == "csi":
        chosen = np.count_nonzero(np.minimum.accumulate(reached >= thresholds[:, None], axis=-1), axis=-1)
        edges = np.concatenate([[0.0], zr.threshold_pixels, [1.0]])
        inside = np.clip(expected, edges[chosen] + 1e-4, edges[chosen + 1] - 1e-4)
        expected = np.where((chosen == 0) & (reached[..., 0] < SURE_DRY), 0, inside)
    elif aim == "mae":
        half = np.cumsum(weights, axis=-1) >= weights.sum(-1, keepdims=True) / 2
        medians = np.concatenate([[0.0], means[1:]])  # the lowest class is mostly dry, its median is no rain
        expected = medians[np.argmax(half, axis=-1)]
    pixels = np.clip(expected, 0, 1).reshape(-1, *SHAPE)
    return np.maximum.accumulate(pixels, axis=1).reshape(probabilities.shape[:2]).astype(np.float32)
