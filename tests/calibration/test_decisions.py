import numpy as np
import pytest

from agents.calibration import decisions
from agents.calibration.counts import reached
from agents.calibration.features import BINS, SHAPE
from hko7env.units import HKO7
from tests.helpers.rain import random_probabilities

MEANS = np.float32([0, 0.4, 0.5, 0.57, 0.66, 0.8])
LAST = np.arange(1, 6) * BINS // 5 - 1  # the last bin of each event


def decide(probabilities, thresholds, aim="csi"):
    return decisions.decide(probabilities, reached(probabilities), np.float32(thresholds), MEANS, HKO7, aim)


@pytest.mark.parametrize("aim", decisions.AIMS)
def test_forecasts_are_monotone_in_the_level_and_never_nan(aim):
    probabilities = random_probabilities()
    probabilities[:, 5] = [1, 0, 0, 0, 0, 0]
    table = decide(probabilities, np.tile([0.3, 0.25, 0.2, 0.15, 0.1], (2, 1)), aim)
    assert np.isfinite(table.pixels).all()
    assert (table.pixels >= 0).all() and (table.pixels <= 1).all()
    assert (np.diff(table.pixels.reshape(2, *SHAPE[1:]), axis=1) >= 0).all()
    assert (np.diff(table.classes.reshape(2, *SHAPE).astype(int), axis=2) >= 0).all()
    assert (np.diff(table.lowest) >= 0).all() and (np.diff(table.highest) >= 0).all()
    assert table.classes.max() < len(table.lowest) == len(table.highest)


def test_a_bin_asks_for_the_class_above_its_event_if_its_chance_is_worth_it():
    probabilities = np.zeros((1, BINS, 6), np.float32)
    probabilities[:] = [0.95, 0.05, 0, 0, 0, 0]
    probabilities[0, LAST] = [0.5, 0.1, 0.1, 0.2, 0.06, 0.04]  # reached: .5 .4 .3 .1 .04
    table = decide(probabilities, [[0.3, 0.3, 0.25, 0.2, 0.05]])  # 10 and 30 mm/h are not worth it
    assert table.classes[0, LAST].tolist() == [2, 3, 4, 0, 0]
    edges = HKO7.threshold_pixels
    np.testing.assert_allclose(table.lowest, [0, 0, *edges], atol=2e-4)
    np.testing.assert_allclose(table.highest, [0, *edges, 1], atol=2e-4)
    assert (table.lowest[2:] > edges).all() and (table.highest[1:-1] < edges).all()
    assert table.classes[0, 0] == 0, "a small chance of rain is no rain"
    probabilities[0, LAST[0]] = [0.75, 0.25, 0, 0, 0, 0]
    table = decide(probabilities, [[0.3, 0.3, 0.25, 0.2, 0.05]])
    assert table.classes[0, LAST[0]] == 1, "a fair chance of rain is a little rain"


def test_the_value_is_the_mean_as_b_mse_weighs_it():
    probabilities = np.zeros((1, BINS, 6), np.float32)
    probabilities[:, :, 0] = 1
    last = LAST[decisions.ERROR_EVENT]
    probabilities[0, last] = [0.5, 0.2, 0.1, 0.1, 0.06, 0.04]
    weighted = np.array([0.5, 0.2, 0.1, 0.1, 0.06, 0.04]) * [1, 1, 2, 5, 10, 30]
    table = decide(probabilities, [[0.9] * 5])
    assert table.pixels[0, -1] == pytest.approx((weighted * MEANS).sum() / weighted.sum(), rel=1e-6)
    assert not table.pixels[0, :-1].any(), "other bins are dry"


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
    probabilities[0, LAST[decisions.ERROR_EVENT]] = [0.3, 0.7, 0, 0, 0, 0]
    table = decide(probabilities, np.full((1, 5), 0.5), "mae")
    assert table.pixels[0, -1] == MEANS[1]
    assert not table.pixels[0, :-1].any(), "most such locations are dry, so a little rain costs more than it gains"
    assert not table.classes.any() and (table.lowest, table.highest) == (0, 1), "the value is not kept in a class"
