"""Blocks of sequences that share their weather, the units that a bootstrap resamples."""

import numpy as np
import numpy.typing as npt

_DAY = 1440  # minutes


def blocks_of(episode: npt.NDArray[np.int64], issued: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Assign sequences to blocks: episodes, cut at midnight where they are longer than a day.

    Forecasts of one rain event are alike, so intervals that resample single sequences would be too narrow.

    Args:
        episode: (N,) int64 number of each sequence's episode.
        issued: (N,) int64 times of issue, minutes since 1970-01-01, increasing.

    Returns:
        (N,) int64 number of each sequence's block, 0 to B - 1 in the order of time.
    """
    if len(episode) == 0:
        return np.zeros(0, np.int64)
    _, first, of = np.unique(episode, return_index=True, return_inverse=True)
    last = np.append(first[1:], len(episode)) - 1
    long = (issued[last] - issued[first] > _DAY)[of]
    day = np.where(long, issued // _DAY, 0)
    new = (np.diff(episode, prepend=episode[0] - 1) != 0) | (np.diff(day, prepend=day[0]) != 0)
    return np.cumsum(new) - 1
