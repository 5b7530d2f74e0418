"""Intensities from joint histograms: by hand, and against the same computed pixel by pixel."""

import numpy as np
import pytest

from hko7env.diagnostics.intensities import (
    RATES,
    best_csi,
    csi_at_levels,
    quantiles,
    rain_rates,
    recalibrated,
    reliability,
)
from hko7env.diagnostics.joint_histogram import joint_histogram
from hko7env.scores import tally
from hko7env.units import HKO7


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    truth = rng.integers(71, 256, (40, 48)) * (rng.random((40, 48)) < 0.5)
    forecast = np.clip(truth + rng.integers(-60, 40, truth.shape), 0, 255)
    return truth.astype(np.uint8), forecast.astype(np.uint8)


def test_reliability_is_the_mean_of_what_was_observed(frames):
    truth, forecast = frames
    found, rates = reliability(joint_histogram(truth, forecast), HKO7), rain_rates(HKO7)
    for i, low in enumerate(RATES):
        high = RATES[i + 1] if i + 1 < len(RATES) else np.inf
        inside = (rates[forecast] >= low) & (rates[forecast] < high)
        assert found.locations[i] == inside.sum()
        assert found.observed[i] == pytest.approx(rates[truth][inside].mean())
        assert found.forecast[i] == pytest.approx(rates[forecast][inside].mean())
    assert np.isnan(reliability(np.zeros((256, 256), np.int64), HKO7).observed).all()


def test_quantiles_are_those_of_numpy(frames):
    truth, _ = frames
    shares = np.array([0.3, 0.5, 0.9, 0.999, 1.0])
    found = quantiles(np.bincount(truth.reshape(-1), minlength=256), shares, HKO7)
    np.testing.assert_allclose(found, np.quantile(rain_rates(HKO7)[truth], shares, method="inverted_cdf"))
    assert np.isnan(quantiles(np.zeros(256, np.int64), shares, HKO7)).all()


def test_csi_at_the_thresholds_is_that_of_the_scores(frames):
    truth, forecast = frames
    t = tally([truth], [np.ones(truth.shape, bool)], forecast[None])
    joint = joint_histogram(truth, forecast)
    expected = t.hits / (t.hits + t.misses + t.false_alarms)
    np.testing.assert_allclose(csi_at_levels(joint, HKO7.threshold_levels), expected[0])


def test_the_best_threshold_is_the_best_of_all(frames):
    truth, forecast = frames
    joint = joint_histogram(truth, forecast)
    for level in HKO7.threshold_levels.tolist():
        scores = []
        for other in range(256):
            o, f = truth >= level, forecast >= other
            scores.append((o & f).sum() / (o | f).sum())
        csi, chosen = best_csi(joint, level)
        assert csi == pytest.approx(max(scores))
        assert scores[chosen] == pytest.approx(csi)
        assert csi >= csi_at_levels(joint, np.array([level]))[0]
    assert best_csi(joint * 0, 100)[1] == 0
    assert np.isnan(best_csi(joint * 0, 100)[0])


def test_recalibration_of_levels_that_are_wrong_alike_leaves_no_error():
    truth = np.repeat(np.array([0, 80, 120, 200], np.uint8), 16)[None]
    swapped = np.array([40, 255, 0, 90], np.uint8)[np.searchsorted([0, 80, 120, 200], truth)]
    before, after = recalibrated(joint_histogram(truth, swapped), HKO7)
    t = tally([truth], [np.ones(truth.shape, bool)], swapped[None])
    assert before == pytest.approx(t.balanced_squared[0], rel=1e-6)
    assert after == pytest.approx(0, abs=1e-9)


def test_no_other_level_is_better_than_the_best_recalibration(frames):
    truth, forecast = frames
    joint = joint_histogram(truth, forecast)
    _, after = recalibrated(joint, HKO7)
    weight, pixels = HKO7.weights[truth].astype(float), truth / 255
    total = 0.0
    for level in np.unique(forecast):
        there = forecast == level
        total += min((weight[there] * (value - pixels[there]) ** 2).sum() for value in np.linspace(0, 1, 201))
    assert after <= total
    assert after == pytest.approx(total, rel=0.01)
