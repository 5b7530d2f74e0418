import numpy as np
import pytest

from agents.calibration import decisions, features
from agents.calibration.counts import reached
from agents.calibration.features import BINS
from hko7env.units import HKO7
from tests.helpers.rain import random_probabilities


@pytest.mark.parametrize("aim", decisions.AIMS)
def test_forecasts_are_monotone_in_the_level_and_never_nan(aim):
    probabilities = random_probabilities()
    probabilities[:, 5] = [1, 0, 0, 0, 0, 0]
    thresholds = np.tile(np.float32([0.3, 0.25, 0.2, 0.15, 0.1]), (2, 1))
    means = np.float32([0, 0.4, 0.5, 0.57, 0.66, 0.8])
    pixels = decisions.forecast_pixels(probabilities, reached(probabilities), thresholds, means, HKO7, aim)
    assert np.isfinite(pixels).all()
    assert (pixels >= 0).all() and (pixels <= 1).all()
    assert (np.diff(pixels.reshape(2, *features.SHAPE), axis=2) >= 0).all()


def test_the_forecast_class_is_the_highest_whose_chance_is_worth_it():
    probabilities = np.zeros((1, BINS, 6), np.float32)
    probabilities[:] = [0.95, 0.05, 0, 0, 0, 0]
    last = np.arange(1, 6) * BINS // 5 - 1  # of each event
    probabilities[0, last] = [0.5, 0.1, 0.1, 0.2, 0.06, 0.04]  # reached: .5 .4 .3 .1 .04
    thresholds = np.float32([[0.3, 0.3, 0.25, 0.2, 0.05]])  # 10 and 30 mm/h are not worth it
    means = np.float32([0, 0.4, 0.5, 0.57, 0.66, 0.8])
    pixels = decisions.forecast_pixels(probabilities, reached(probabilities), thresholds, means, HKO7, "csi")
    edges = HKO7.threshold_pixels
    for event in range(3):
        assert edges[event] <= pixels[0, last[event]] < edges[event + 1]
    assert (pixels[0, last[3:]] == 0).all()
    assert pixels[0, 0] == 0, "a small chance of rain is no rain"
    probabilities[0, last[0]] = [0.75, 0.25, 0, 0, 0, 0]
    pixels = decisions.forecast_pixels(probabilities, reached(probabilities), thresholds, means, HKO7, "csi")
    assert 0 < pixels[0, last[0]] < edges[0], "a fair chance of rain is a little rain"


def test_thresholds_have_the_best_expected_csi_of_a_permitted_bias():
    rng = np.random.default_rng(3)
    chances = rng.uniform(0, 1, (3, BINS)).astype(np.float32) ** 3
    occurrence = rng.uniform(0, 5, (3, BINS))
    found = decisions.choose_thresholds(chances, occurrence)
    for lead in range(3):
        for event in range(5):
            p, n = (part[lead].reshape(5, -1)[event] for part in (chances, occurrence))
            occurring = (n * p).sum()
            best, wanted = -1.0, 0.0
            for limit in decisions.CANDIDATES:
                ahead, hits = n[p >= limit].sum(), (n * p)[p >= limit].sum()
                csi = hits / (ahead + occurring - hits)
                if decisions.LEAST_BIAS <= ahead / occurring <= decisions.MOST_BIAS and csi > best:
                    best, wanted = csi, limit
            assert found[lead, event] == pytest.approx(wanted)


def test_thresholds_without_rain_are_finite():
    found = decisions.choose_thresholds(np.zeros((2, BINS), np.float32), np.ones((2, BINS)))
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_the_median_of_the_lowest_class_is_no_rain():
    probabilities = np.tile(np.float32([0.9, 0.1, 0, 0, 0, 0]), (1, BINS, 1))
    last = (decisions.ERROR_EVENT + 1) * BINS // 5 - 1
    probabilities[0, last] = [0.3, 0.7, 0, 0, 0, 0]
    means = np.float32([0.02, 0.4, 0.5, 0.57, 0.66, 0.8])
    thresholds = np.full((1, 5), 0.5, np.float32)
    pixels = decisions.forecast_pixels(probabilities, reached(probabilities), thresholds, means, HKO7, "mae")
    assert pixels[0, last] == means[1]
    pixels[0, last] = 0
    assert not pixels.any(), "most such locations are dry, so a little rain everywhere costs more than it gains"
