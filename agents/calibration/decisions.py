"""From probabilities to a forecast: which events to forecast for the best CSI, and which value within a class."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from hko7env.units import BALANCE, ZR

from .counts import Array
from .features import SHAPE
from .forecast_table import ERROR_EVENT, ForecastTable

Aim = Literal["csi", "mse", "mae"]

AIMS: tuple[Aim, ...] = get_args(Aim)
SURE_DRY = 0.14  # probability of rain below which a cell without forecast rain is 0; more helps MAE and harms MSE
MARGIN = 1e-4  # pixels between a forecast and the threshold of another class
DRY, LITTLE = 0, 1  # classes of a forecast below 0.5 mm/h; from 2 on they begin at the thresholds
CANDIDATES = np.geomspace(0.004, 0.96, 96)  # probabilities among which thresholds are chosen
LEAST_BIAS, MOST_BIAS = 0.6, 1.3  # permitted expected frequency bias


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


def decide(probabilities: Array, chances: Array, thresholds: Array, means: Array, zr: ZR, aim: Aim) -> ForecastTable:
    """What each bin asks for.

    With the aim "csi" a location is forecast in the class above the highest event that is worth it, and there the mean
    weighted as B-MSE weighs; without any event it is dry, or below 0.5 mm/h if rain is likely enough. With "mse" it is
    that mean, and with "mae" the mean pixel of the weighted median class, 0 in the lowest one, whatever the class.

    Args:
        probabilities: (K, N, 6) of the classes.
        chances: (K, N), their :func:`~agents.calibration.counts.reached`.
        thresholds: (K, 5), see :func:`choose_thresholds`.
        means: (6,) mean pixel of each class.
        zr: Relation between level and rain rate.
        aim: One of AIMS.

    Returns:
        The table, whose classes and pixels do not decrease with the bin of the level.
    """
    leads, (events, levels, shares) = len(chances), SHAPE
    weights = probabilities.reshape(leads, events, levels, shares, -1)[:, ERROR_EVENT] * np.array(BALANCE, np.float32)
    if aim == "mae":
        half = np.cumsum(weights, axis=-1) >= weights.sum(-1, keepdims=True) / 2
        medians = np.concatenate([[0.0], means[1:]])  # the lowest class is mostly dry, its median is no rain
        pixels = medians[np.argmax(half, axis=-1)]
    else:
        pixels = weights @ means / weights.sum(-1)
    pixels = np.maximum.accumulate(np.clip(pixels, 0, 1), axis=1).reshape(leads, -1).astype(np.float32)
    if aim != "csi":
        anything = np.zeros(1, np.float32), np.ones(1, np.float32)
        return ForecastTable(np.zeros(chances.shape, np.uint8), pixels, *anything)
    chance = chances.reshape(leads, *SHAPE)
    worth = chance >= thresholds[..., None, None]
    classes = worth * np.arange(LITTLE + 1, LITTLE + 1 + events, dtype=np.uint8)[:, None, None]
    little = np.where(chance[:, 0] < SURE_DRY, np.uint8(DRY), np.uint8(LITTLE))
    classes[:, 0] = np.maximum(classes[:, 0], little)
    edges = zr.threshold_pixels
    lowest = np.concatenate([[0, 0], edges + MARGIN]).astype(np.float32)
    highest = np.concatenate([[0], edges - MARGIN, [1 - MARGIN]]).astype(np.float32)
    return ForecastTable(np.maximum.accumulate(classes, axis=2).reshape(chances.shape), pixels, lowest, highest)
