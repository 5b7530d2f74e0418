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
MARGIN = np.float32(1e-4)  # pixels between a forecast and the threshold of another class
CANDIDATES = np.geomspace(0.004, 0.96, 96)  # probabilities among which thresholds are chosen
LEAST_BIAS, MOST_BIAS = 0.6, 1.5  # permitted expected frequency bias of a map
ERROR_EVENT = 2  # index of the event whose bins serve the balanced errors alone


def choose_thresholds(chances: Array, occurrence: npt.NDArray[np.floating]) -> Array:
    """Choose the probabilities from which on events are forecast: highest expected CSI within the permitted bias.

    The expected CSI and frequency bias of each candidate follow from the probabilities and how often each bin occurs.

    Args:
        chances: (K, N) probability that the event of the bin is reached.
        occurrence: (K, N) how often each bin occurs.

    Returns:
        (K, 5), for each event.
    """
    leads, events, size = len(chances), SHAPE[0], len(CANDIDATES) + 1
    ratio = np.log(CANDIDATES[1] / CANDIDATES[0])
    passed = np.log(np.maximum(chances, 1e-9) / CANDIDATES[0]) / ratio + 1  # number of candidates that are reached
    passed = passed.clip(0, size - 1).astype(np.int64).reshape(leads * events, -1)
    group = (passed + size * np.arange(leads * events)[:, None]).reshape(-1)
    sums = [np.bincount(group, part.reshape(-1), leads * events * size) for part in (occurrence, occurrence * chances)]
    above = np.cumsum(np.reshape(sums, (2, leads, events, size))[..., ::-1], axis=-1)[..., ::-1]
    forecast, hits = above[..., 1:]  # expected counts with each candidate as the threshold
    observed = np.maximum(above[1, ..., :1], 1e-9)
    bias = forecast / observed
    csi = hits / (observed + forecast - hits)
    best = np.argmax(np.where((bias >= LEAST_BIAS) & (bias <= MOST_BIAS), csi, -abs(bias - 1)), axis=-1)
    return np.asarray(CANDIDATES[best], np.float32)


def forecast_pixels(probabilities: Array, chances: Array, thresholds: Array, means: Array, zr: ZR, aim: Aim) -> Array:
    """The pixel that each bin asks for; a cell is forecast the highest that its bins ask for.

    With the aim "csi" it is the mean weighted as B-MSE weighs, kept inside the class above the event if that is
    forecast, else 0; without any event it is kept below 0.5 mm/h. With "mse" it is that mean itself; with "mae" the
    mean pixel of the weighted median class, 0 in the lowest one. Both use the bins of one event only.

    Args:
        probabilities: (K, N, 6) of the classes.
        chances: (K, N), their :func:`~agents.calibration.counts.reached`.
        thresholds: (K, 5), see :func:`choose_thresholds`.
        means: (6,) mean pixel of each class.
        zr: Relation between level and rain rate.
        aim: One of AIMS.

    Returns:
        (K, N) in [0, 1], not decreasing with the bin of the level.
    """
    shape = (len(probabilities), *SHAPE)
    weights = probabilities * np.array(BALANCE, np.float32)
    expected = (weights @ means / weights.sum(-1)).reshape(shape)
    if aim == "csi":
        chance = chances.reshape(shape)
        edges = np.concatenate([zr.threshold_pixels, [1.0]]).astype(np.float32)[:, None, None]
        inside = np.clip(expected, edges[:-1] + MARGIN, edges[1:] - MARGIN)
        pixels = np.where(chance >= thresholds[..., None, None], inside, 0)
        little = np.where(chance[:, 0] < SURE_DRY, 0, expected[:, 0].clip(max=edges[0] - MARGIN))
        pixels[:, 0] = np.maximum(pixels[:, 0], little)
    else:
        if aim == "mae":
            half = np.cumsum(weights, axis=-1) >= weights.sum(-1, keepdims=True) / 2
            medians = np.concatenate([[0.0], means[1:]])  # the lowest class is mostly dry, its median is no rain
            expected = medians[np.argmax(half, axis=-1)].reshape(shape)
        pixels = np.zeros_like(expected)
        pixels[:, ERROR_EVENT] = expected[:, ERROR_EVENT]
    pixels = np.maximum.accumulate(np.clip(pixels, 0, 1), axis=2)
    return np.asarray(pixels.reshape(chances.shape), np.float32)
