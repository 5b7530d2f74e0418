"""Joint histograms: every pair once, and the counts of every threshold from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.diagnostics.joint_histogram import counts_at, counts_at_thresholds, joint_histogram
from hko7env.diagnostics.levels import UNSCORED
from hko7env.units import HKO7, ZR


@given(st.integers(0, 2**32 - 1), st.sampled_from([(8, 16), (5, 7), (1, 1)]), st.sampled_from([0.0, 0.02, 0.7]))
def test_every_pair_of_a_scored_location_is_counted_once(seed, shape, wet):
    rng = np.random.default_rng(seed)
    truth = rng.integers(71, 256, shape, dtype=np.uint8) * (rng.random(shape) < wet)
    forecast = rng.integers(0, 256, shape, dtype=np.uint8) * (rng.random(shape) < wet)
    mask = rng.random(shape) < 0.8
    found = joint_histogram(np.where(mask, truth, UNSCORED).astype(np.uint8), forecast * mask)
    expected = np.zeros((256, 256), np.int64)
    for t, f in zip(truth[mask], forecast[mask], strict=True):
        expected[t, f] += 1
    np.testing.assert_array_equal(found, expected)


def test_counts_by_hand():
    joint = np.zeros((256, 256), np.int64)
    joint[200, 200], joint[200, 0], joint[0, 200], joint[0, 0], joint[150, 160] = 1, 2, 4, 8, 16
    hits, misses, false_alarms, negatives = counts_at(joint, np.array([0, 100, 155, 200, 256]))
    assert hits.tolist() == [31, 17, 1, 1, 0]
    assert misses.tolist() == [0, 2, 2, 2, 0]
    assert false_alarms.tolist() == [0, 4, 20, 4, 0]
    assert negatives.tolist() == [0, 8, 8, 24, 31]


@pytest.mark.parametrize("zr", [HKO7, ZR(200, 1.6), ZR(5000, 1.4)])
def test_both_ways_to_the_counts_at_the_thresholds_agree(zr):
    joint = np.random.default_rng(0).integers(0, 10**9, (3, 256, 256))
    np.testing.assert_array_equal(counts_at_thresholds(joint, zr), counts_at(joint, zr.threshold_levels))
