import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hko7env.forecast import ForecastError
from hko7env.scores import COUNTS, ERRORS, Tally, averages, scored, scores, tally
from hko7env.units import BALANCE, HKO7, THRESHOLDS, ZR

WIDTHS = st.sampled_from([1, 3, 8, 16, 24])


@st.composite
def cases(draw, leads=None, shape=None):
    """Truth, mask and forecast; levels crowd around the thresholds, and frames are often mostly empty."""
    k = leads or draw(st.integers(1, 3))
    h, w = shape or (draw(st.integers(1, 5)), draw(WIDTHS))
    edge = st.sampled_from([0, 0, 0, 70, 71, 83, 84, 117, 118, 140, 141, 157, 158, 184, 185, 255])
    truth = draw(hnp.arrays(np.uint8, (k, h, w), elements=edge | st.integers(0, 255), fill=st.just(0)))
    mask = draw(hnp.arrays(bool, (k, h, w)))
    levels = draw(hnp.arrays(np.uint8, (k, h, w), elements=edge, fill=st.just(0)))
    pixels = draw(hnp.arrays(np.float32, (k, h, w), elements=st.floats(0, 1, width=32), fill=st.just(0)))
    return truth, mask, draw(st.sampled_from([pixels, (levels / 255).astype(np.float32), levels]))


def slow(truth, mask, forecast, zr):
    """Location by location in Python, from the definitions; exact rational-free float64."""
    k = len(truth)
    counts = {name: np.zeros((k, 5), np.int64) for name in COUNTS}
    sums = {name: np.zeros(k) for name in ERRORS}
    for i, r, c in np.ndindex(truth.shape):
        if not mask[i, r, c]:
            continue
        value = forecast[i, r, c]
        p = float(np.float32(value / 255)) if forecast.dtype == np.uint8 else float(value)
        rate = zr.rate(70 * int(truth[i, r, c]) / 255 - 10)
        for j, threshold in enumerate(THRESHOLDS):
            observed, expected = rate >= threshold, np.float32(p) >= np.float32(zr.threshold_pixels[j])
            event = {(1, 1): "hits", (1, 0): "misses", (0, 1): "false_alarms", (0, 0): "correct_negatives"}
            counts[event[int(observed), int(expected)]][i, j] += 1
        error = p - int(truth[i, r, c]) / 255
        weight = BALANCE[sum(rate >= t for t in THRESHOLDS)]
        for name, value in zip(ERRORS, (error**2, abs(error), weight * error**2, weight * abs(error)), strict=True):
            sums[name][i] += value
    return counts, sums


@given(cases(), st.sampled_from([HKO7, ZR(200, 1.6)]))
def test_tally_equals_the_slow_oracle(case, zr):
    counts, sums = slow(*case, zr)
    fast = tally(*case, zr=zr)
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(fast, name), counts[name], name)
    for name in ERRORS:  # differences are taken in float32
        np.testing.assert_allclose(getattr(fast, name), sums[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_large_frames_with_several_blocks_equal_the_plain_formulas():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (2, 500, 480), np.uint8) * (rng.random((2, 500, 480)) < 0.3)
    truth[0, 200:300] = 0
    mask = rng.random(truth.shape) < 0.8
    forecast = np.where(rng.random(truth.shape) < 0.4, rng.random(truth.shape), 0).astype(np.float32)
    got = tally(truth, mask, forecast)
    error = np.where(mask, forecast.astype(np.float64) - truth / 255, 0)
    weight = HKO7.weights.astype(np.float64)[truth]
    expected = (error**2, abs(error), weight * error**2, weight * abs(error))
    for name, values in zip(ERRORS, expected, strict=True):
        np.testing.assert_allclose(getattr(got, name), values.sum(axis=(1, 2)), rtol=3e-7, err_msg=name)
    for j, edge in enumerate(HKO7.threshold_pixels):
        observed, ahead = truth / 255 >= edge, forecast >= np.float32(edge)
        for name, event in zip(
            COUNTS, (observed & ahead, observed & ~ahead, ~observed & ahead, ~observed & ~ahead), strict=True
        ):
            np.testing.assert_array_equal(getattr(got, name)[:, j], (event & mask).sum(axis=(1, 2)), name)


def test_one_row_counted_by_hand():
    # at 10 mm/h (level 158): hit, miss, miss, false alarm, negative, negative, masked hit
    truth = np.array([[[255, 255, 200, 0, 0, 157, 255]]], np.uint8)
    forecast = np.array([[[1, 0, 0, 1, 0, 0.6, 1]]], np.float32)
    mask = np.array([[[1, 1, 1, 1, 1, 1, 0]]], bool)
    t = tally(truth, mask, forecast)
    assert (t.hits[0, 3], t.misses[0, 3], t.false_alarms[0, 3], t.correct_negatives[0, 3]) == (1, 2, 1, 2)
    # at 30 mm/h, level 185: the same, for 157 is no event there either
    assert (t.hits[0, 4], t.misses[0, 4], t.false_alarms[0, 4], t.correct_negatives[0, 4]) == (1, 2, 1, 2)
    # at 5 mm/h, level 141 and pixel .551: 157 and .6 are a hit
    assert (t.hits[0, 2], t.misses[0, 2], t.false_alarms[0, 2], t.correct_negatives[0, 2]) == (2, 2, 1, 1)
    # errors: 0, 1, 200/255, 1, 0, .6 - 157/255; weights 30, 30, 30, 1, 1, 5
    small = 0.6 - 157 / 255
    np.testing.assert_allclose(t.absolute, 2 + 200 / 255 + abs(small), rtol=1e-6)
    np.testing.assert_allclose(t.squared, 2 + (200 / 255) ** 2 + small**2, rtol=1e-6)
    np.testing.assert_allclose(t.balanced_absolute, 30 + 30 * 200 / 255 + 1 + 5 * abs(small), rtol=1e-6)
    np.testing.assert_allclose(t.balanced_squared, 30 + 30 * (200 / 255) ** 2 + 1 + 5 * small**2, rtol=1e-6)
    by_name = scores(t)
    assert by_name["csi"][0, 3] == 1 / 4
    assert by_name["pod"][0, 3] == 1 / 3
    assert by_name["far"][0, 3] == 1 / 2
    assert by_name["bias"][0, 3] == 2 / 3
    assert by_name["hss"][0, 3] == 2 * (1 * 2 - 1 * 2) / (3 * 4 + 2 * 3)
    assert by_name["gss"][0, 3] == (1 - 2 * 3 / 6) / (4 - 2 * 3 / 6)


@given(cases(leads=2, shape=(3, 8)), cases(leads=2, shape=(3, 8)))
def test_tallies_add(one, other):
    a, b = tally(*one), tally(*other)
    kept = a.hits.copy()
    both = a + b
    np.testing.assert_array_equal(a.hits, kept)
    assert both == b + a  # two addends: float addition commutes
    assert both.sequences == 2
    joined = [np.concatenate(parts, axis=1) for parts in zip(one[:2], other[:2], strict=True)]
    if one[2].dtype == other[2].dtype:
        together = tally(*joined, np.concatenate([one[2], other[2]], axis=1))
        for name in COUNTS:
            np.testing.assert_array_equal(getattr(both, name), getattr(together, name))
    assert a + Tally.zero(2) == a


@given(st.permutations(range(5)), st.randoms(use_true_random=False))
def test_counts_merge_in_any_order(order, random):
    rng = np.random.default_rng(random.randrange(2**32))
    parts = [
        tally(rng.integers(0, 256, (1, 4, 8), np.uint8), rng.random((1, 4, 8)) < 0.9, rng.random((1, 4, 8), np.float32))
        for _ in range(5)
    ]
    forward, shuffled = sum(parts[1:], parts[0]), sum((parts[i] for i in order[1:]), parts[order[0]])
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(forward, name), getattr(shuffled, name))


@given(cases())
def test_a_perfect_forecast_has_no_error(case):
    truth, mask, _ = case
    for forecast in ((truth / 255).astype(np.float32), truth):
        t = tally(truth, mask, forecast)
        assert not t.misses.any()
        assert not t.false_alarms.any()
        assert not any(getattr(t, name).any() for name in ERRORS)


@given(cases())
def test_what_is_masked_does_not_count(case):
    truth, mask, forecast = case
    hidden = np.where(mask, truth, 255).astype(np.uint8)
    hidden_forecast = np.where(mask, forecast, 1).astype(forecast.dtype)
    one, other = tally(hidden, mask, hidden_forecast), tally(truth, mask, forecast)
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    for name in ERRORS:  # equal but for the order in which float32 numbers are added
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, err_msg=name)


def test_small_echo_is_not_scored():
    static = np.array([True, True, True, True, False])
    np.testing.assert_array_equal(scored(np.array([0, 1, 70, 71, 71], np.uint8), static), [1, 0, 0, 1, 0])


def test_undefined_scores_are_nan_and_their_sample_count_is_zero():
    dry = tally(np.zeros((2, 4, 4), np.uint8), np.ones((2, 4, 4), bool), np.zeros((2, 4, 4), np.float32))
    for name in ("csi", "hss", "pod", "far", "gss", "bias"):
        assert np.isnan(scores(dry)[name]).all(), name
        assert np.isnan(averages(dry)[name]).all(), name
    assert not dry.samples.any()
    assert averages(dry)["b_mse"] == 0
    assert np.isnan(averages(Tally.zero(2))["mse"])
    # rain forecast where none falls: bias would be infinite, CSI is 0
    wet = tally(np.zeros((1, 2, 2), np.uint8), np.ones((1, 2, 2), bool), np.ones((1, 2, 2), np.float32))
    assert np.isnan(scores(wet)["bias"]).all()
    assert (scores(wet)["csi"] == 0).all()


def test_one_undefined_lead_leaves_no_average():
    truth = np.zeros((2, 1, 1), np.uint8)
    truth[0] = 255
    mean = averages(tally(truth, np.ones((2, 1, 1), bool), truth))
    assert np.isnan(mean["csi"]).all()


GOOD = (np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), bool), np.zeros((2, 3, 4), np.float32))


@pytest.mark.parametrize(
    "forecast, message",
    [
        (GOOD[2].tolist(), "numpy array, got list"),
        (GOOD[2][:1], r"expected a forecast of shape \(2, 3, 4\).* got \(1, 3, 4\)"),
        (GOOD[2].astype(np.float64), "got float64"),
        (GOOD[2] + np.float32(np.nan), "lead 1 holds NaN"),
        (GOOD[2] + np.float32(1.5), r"lead 1 holds values in \[1.5, 1.5\]"),
        (GOOD[2] - np.float32(1e-6), "lies in"),
        (GOOD[2] + np.float32(np.inf), "lies in"),
    ],
)
def test_a_forecast_that_is_none_is_named(forecast, message):
    with pytest.raises(ForecastError, match=message):
        tally(GOOD[0], GOOD[1], forecast)


def test_negative_zero_is_in_range():
    assert tally(GOOD[0], GOOD[1], -GOOD[2]).sequences == 1


def test_truth_and_mask_are_checked():
    with pytest.raises(ValueError, match="as many masks"):
        tally(GOOD[0], GOOD[1][:1], GOOD[2])
    with pytest.raises(ValueError, match="truth must be uint8"):
        tally(GOOD[0].astype(np.int64), GOOD[1], GOOD[2])
    with pytest.raises(ValueError, match="mask must be bool"):
        tally(GOOD[0], GOOD[1].astype(np.uint8), GOOD[2])
    with pytest.raises(ValueError, match="cannot add tallies of 2 and 3"):
        Tally.zero(2) + Tally.zero(3)


# ---------------------------------------------------------------- the published evaluations


@pytest.fixture(scope="module")
def saved(shared):
    """{model: (tally, rows)} of six real evaluations over the 6053 official test sequences."""
    models = {}
    with (shared / "hko7" / "saved_evals.csv").open() as file:
        for row in csv.DictReader(file):
            models.setdefault(row["model"], []).append(row)
    assert len(models) == 6
    result = {}
    for model, rows in models.items():
        counts = [np.array([[int(r[f"{name}_{t:g}"]) for t in THRESHOLDS] for r in rows]) for name in COUNTS]
        sums = [6053 * np.array([float(r[name]) for r in rows]) for name in ("mse", "mae", "bmse", "bmae")]
        result[model] = Tally(6053, *counts, *sums), rows
    return result


def test_saved_counts_give_the_saved_scores_to_every_digit(saved):
    for model, (t, rows) in saved.items():
        by_name = scores(t)
        for name in ("csi", "hss", "pod", "far"):
            for k, row in enumerate(rows):
                for j, threshold in enumerate(THRESHOLDS):
                    assert f"{by_name[name][k, j]:.6f}" == row[f"{name}_{threshold:g}"], (model, name, k, threshold)


TABLE_3 = {  # Shi et al. 2017
    "last_frame": ([0.4022, 0.3266, 0.2401, 0.1574, 0.0692], [0.5207, 0.4531, 0.3582, 0.2512, 0.1193], 15274, 28042),
    "rover_nonlinear": (
        [0.4655, 0.4074, 0.3226, 0.2164, 0.0951],
        [0.5896, 0.5436, 0.4590, 0.3318, 0.1576],
        10945,
        22857,
    ),
}


@pytest.mark.parametrize("model", TABLE_3)
def test_published_table_3(saved, model):
    csi, hss, b_mse, b_mae = TABLE_3[model]
    mean = averages(saved[model][0])
    assert mean["csi"].round(4).tolist() == csi
    assert mean["hss"].round(4).tolist() == hss
    assert (round(float(mean["b_mse"])), round(float(mean["b_mae"]))) == (b_mse, b_mae)
