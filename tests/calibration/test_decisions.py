import numpy as np
import pytest

from agents.calibration import decisions, features
from agents.calibration.counts import exceedance
from agents.calibration.features import BINS
from hko7env.units import HKO7
from tests.helpers.rain import random_probabilities


@pytest.mark.parametrize("aim", decisions.AIMS)
def test_forecasts_are_monotone_in_the_level_and_never_nan(aim):
    probabilities = random_probabilities()
    probabilities[:, 5] = [1, 0, 0, 0, 0, 0]
    thresholds = np.tile(np.float32([0.3, 0.25, 0.2, 0.15, 0.1]), (2, 1))
    means = np.float32([0, 0.4, 0.5, 0.57, 0.66, 0.8])
    pixels = decisions.forecast_pixels(probabilities, exceedance(probabilities), thresholds, means, HKO7, aim)
    assert np.isfinite(pixels).all()
    assert (pixels >= 0).all() and (pixels <= 1).all()
    assert (np.diff(pixels.reshape(2, features.SHAPE[0], -1), axis=1) >= 0).all()


def test_the_forecast_class_is_the_highest_whose_chance_is_worth_it():
    probabilities = np.zeros((1, BINS, 6), np.float32)
    probabilities[:] = [0.95, 0.05, 0, 0, 0, 0]
    probabilities[0, -1] = [0.5, 0.1, 0.1, 0.2, 0.05, 0.05]  # reached: .5 .4 .3 .1 .05
    thresholds = np.float32([[0.3, 0.3, 0.25, 0.2, 0.01]])  # 30 mm/h is worth it, 10 mm/h is not
    means = np.float32([0, 0.4, 0.5, 0.57, 0.66, 0.8])
    pixels = decisions.forecast_pixels(probabilities, exceedance(probabilities), thresholds, means, HKO7, "csi")
    assert HKO7.threshold_pixels[2] <= pixels[0, -1] < HKO7.threshold_pixels[3]
    assert pixels[0, 0] == 0, "a small chance of rain is no rain"


def test_thresholds_have_the_best_expected_csi_of_a_permitted_bias():
    rng = np.random.default_rng(3)
    reached = np.sort(rng.uniform(0, 1, (3, BINS, 5)).astype(np.float32) ** 3, axis=-1)[..., ::-1]
    occurrence = rng.uniform(0, 5, (3, BINS))
    found = decisions.choose_thresholds(reached, occurrence)
    for lead in range(3):
        for event in range(5):
            p, n = reached[lead, :, event], occurrence[lead]
            occurring = (n * p).sum()
            best, wanted = -1.0, 0.0
            for limit in decisions.CANDIDATES:
                ahead, hits = n[p >= limit].sum(), (n * p)[p >= limit].sum()
                csi = hits / (ahead + occurring - hits)
                if decisions.LEAST_BIAS <= ahead / occurring <= decisions.MOST_BIAS[event] and csi > best:
                    best, wanted = csi, limit
            assert found[lead, event] == pytest.approx(wanted)


def test_thresholds_without_rain_are_finite():
    found = decisions.choose_thresholds(np.zeros((2, BINS, 5), np.float32), np.ones((2, BINS)))
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_the_median_of_the_lowest_class_is_no_rain():
    probabilities = np.tile(np.float32([0.9, 0.1, 0, 0, 0, 0]), (1, BINS, 1))
    probabilities[0, -1] = [0.3, 0.7, 0, 0, 0, 0]
    means = np.float32([0.02, 0.4, 0.5, 0.57, 0.66, 0.8])
    thresholds = np.full((1, 5), 0.5, np.float32)
    pixels = decisions.forecast_pixels(probabilities, exceedance(probabilities), thresholds, means, HKO7, "mae")
    assert pixels[0, 0] == 0, "most such locations are dry, so a little rain everywhere costs more than it gains"
    assert pixels[0, -1] == means[1]
