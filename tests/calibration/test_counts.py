import numpy as np

from agents.calibration import counts as counting
from agents.calibration.features import BINS
from tests.helpers.rain import random_probabilities


def test_shift_of_odds():
    probabilities = random_probabilities(leads=4)
    nothing, usual = np.zeros_like(probabilities), np.ones((4, 6), np.float32)
    np.testing.assert_allclose(counting.shift_odds(probabilities, nothing, 10 * usual), probabilities, rtol=1e-4)
    as_expected = 1000 * probabilities
    np.testing.assert_allclose(counting.shift_odds(probabilities, as_expected, usual), probabilities, rtol=1e-3)
    twice = as_expected.copy()
    twice[..., 4] *= 2
    odds = counting.shift_odds(probabilities, twice, 1e-3 * usual) / probabilities
    ratio = odds[..., 4] / odds[..., 1]
    assert 1.5 < np.median(ratio) < 2.5


def test_a_bin_tells_the_chance_of_its_own_event():
    probabilities = np.zeros((1, BINS, 6), np.float32)
    probabilities[:] = [0.5, 0.2, 0.15, 0.1, 0.04, 0.01]
    chances = counting.reached(probabilities).reshape(5, -1)
    np.testing.assert_allclose(
        chances, np.float32([[0.5], [0.3], [0.15], [0.05], [0.01]]).repeat(BINS // 5, 1), rtol=1e-5
    )


def test_smoothing_keeps_what_is_sure_and_fills_what_is_empty():
    counts = np.zeros((3, BINS, 6), np.float32)
    counts[:, 700] = [0, 0, 9000, 0, 0, 0]
    counts[:, 0] = [90000, 0, 0, 0, 0, 0]
    probabilities = counting.smooth(counts)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-4)
    assert probabilities[1, 700, 2] > 0.999
    assert probabilities[1, 701, 2] > 0.9, "an empty bin takes after its neighbours"
    assert probabilities[1, 0, 0] > 0.999


def test_smoothing_does_not_mix_events():
    counts = np.zeros((3, BINS, 6), np.float32)
    counts[:, : BINS // 5] = [0, 0, 0, 0, 0, 100]
    counts[:, BINS // 5 :] = [100, 0, 0, 0, 0, 0]
    probabilities = counting.smooth(counts)
    np.testing.assert_allclose(probabilities, counts / 100, atol=1e-4)
