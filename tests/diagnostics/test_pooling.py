"""Counts after max pooling."""

import numpy as np
import pytest

from hko7env.diagnostics.levels import UNSCORED
from hko7env.diagnostics.pooling import POOLS, pooled_counts
from hko7env.units import HKO7


@pytest.mark.parametrize("shape", [(32, 48), (37, 50), (3, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_the_highest_scored_levels(shape, seed):
    rng = np.random.default_rng(seed)
    truth, forecast = (rng.integers(71, 256, shape) * (rng.random(shape) < 0.05) for _ in range(2))
    mask = rng.random(shape) < (0.9 if seed % 2 else 0.1)
    counts = pooled_counts(np.where(mask, truth, UNSCORED).astype(np.uint8), (forecast * mask).astype(np.uint8), HKO7)
    for p, pool in enumerate(POOLS):
        expected = np.zeros((4, 5), np.int64)
        for i in range(0, shape[0], pool):
            for j in range(0, shape[1], pool):
                inside = mask[i : i + pool, j : j + pool]
                if inside.any():
                    o = truth[i : i + pool, j : j + pool][inside].max() >= HKO7.threshold_levels
                    f = forecast[i : i + pool, j : j + pool][inside].max() >= HKO7.threshold_levels
                    expected += np.array([o & f, o & ~f, ~o & f, ~o & ~f])
        np.testing.assert_array_equal(counts[:, p], expected)


def test_a_near_miss_is_a_hit_of_its_cell():
    truth, forecast = np.zeros((2, 32, 32), np.uint8)
    truth[1, 1] = forecast[3, 3] = 255
    hits, misses, false_alarms, negatives = pooled_counts(truth, forecast, HKO7)[..., 4].tolist()
    assert (hits, misses, false_alarms, negatives) == ([1, 1], [0, 0], [0, 0], [63, 3])
    forecast[:] = 0
    forecast[4, 0] = 255  # of the next small cell, but of the same large one
    hits, misses, false_alarms, negatives = pooled_counts(truth, forecast, HKO7)[..., 4].tolist()
    assert (hits, misses, false_alarms, negatives) == ([0, 1], [1, 0], [1, 0], [62, 3])
