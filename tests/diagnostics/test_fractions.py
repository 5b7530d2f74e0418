"""The fractions skill score: against the package scores, a slow restatement, and what must be true."""

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from hko7env.diagnostics.fractions import SCALES, STRIDES, Windows, fss, sums_of_pixels
from hko7env.diagnostics.levels import UNSCORED
from hko7env.units import HKO7, THRESHOLDS

DENSE = (1,) * len(SCALES)
LEVELS = HKO7.threshold_levels


def blobs(seed, shape, margin=0, drift=0):
    """Smooth levels with events of all thresholds, none nearer than ``margin`` to the edges."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    field = np.zeros(shape)
    for _ in range(6):
        r, c = rng.uniform(margin + 1, np.array(shape) - margin - 1)
        field += rng.uniform(120, 260) * np.exp(-((rows - r - drift) ** 2 + (columns - c) ** 2) / rng.uniform(20, 200))
    field = np.clip(field, 0, 255).astype(np.uint8)
    field[field < 71] = 0
    field[:margin] = field[len(field) - margin :] = 0
    field[:, :margin] = field[:, shape[1] - margin :] = 0
    return field


def slowly(truth, forecast, mask, scale, stride):
    """The sums of one scale window by window, as the docstring of the module has them."""
    sums = np.zeros((5, 2))
    height, width = truth.shape
    for r in range(min(stride, height) // 2, height, stride):
        for c in range(min(stride, width) // 2, width, stride):
            window = (
                slice(max(r - scale // 2, 0), r + scale // 2 + 1),
                slice(max(c - scale // 2, 0), c + scale // 2 + 1),
            )
            inside = mask[window]
            if inside.any():
                o, f = ((a[window][inside][:, None] >= LEVELS).mean(axis=0) for a in (truth, forecast))
                sums[:, 0] += inside.sum() * (f - o) ** 2
                sums[:, 1] += inside.sum() * (f**2 + o**2)
    return sums


@pytest.mark.parametrize("shape", [(70, 93), (40, 41), (3, 100)])
@pytest.mark.parametrize("strides", [STRIDES, DENSE])
def test_sums_are_those_of_single_windows_whose_masked_pixels_do_not_count(shape, strides):
    truth, forecast = blobs(0, shape), blobs(0, shape, drift=4)
    mask = np.random.default_rng(1).random(shape) < 0.8
    mask[:, : shape[1] // 3] = False
    found = Windows(shape, HKO7, strides).sums(np.where(mask, truth, UNSCORED).astype(np.uint8), forecast * mask)
    for found_of_scale, scale, stride in list(zip(found, SCALES[1:], strides[1:], strict=True)):
        np.testing.assert_allclose(found_of_scale, slowly(truth, forecast, mask, scale, stride), rtol=1e-12)


def test_fss_is_that_of_the_package_scores():
    """Their windows reach over the edges of the grid as if nothing were there; ours do not, so no event is near."""
    from scores import spatial

    shape = (190, 210)
    truth, forecast = blobs(3, shape, margin=66), blobs(3, shape, margin=66, drift=5)
    found = fss(Windows(shape, HKO7, DENSE).sums(truth, forecast))
    for j, lowest in enumerate(LEVELS):
        for i, scale in enumerate(SCALES[1:]):
            theirs = spatial.fss_2d_single_field(
                forecast.astype(float),
                truth.astype(float),
                event_threshold=lowest - 0.5,
                window_size=(scale, scale),
                zero_padding=True,
            )
            assert found[i, j] == pytest.approx(theirs, rel=1e-9)


def test_fss_of_a_pixel_pod_and_far_are_those_of_the_package_scores():
    from scores import categorical, spatial

    truth, forecast = blobs(5, (60, 70)), blobs(5, (60, 70), drift=3)
    o, f = (a[..., None] >= LEVELS for a in (truth, forecast))
    counts = np.array([(o & f), (o & ~f), (~o & f), (~o & ~f)]).sum(axis=(1, 2))
    hits, misses, false_alarms, _ = counts
    for j, lowest in enumerate(LEVELS):
        theirs = spatial.fss_2d_single_field(
            forecast.astype(float), truth.astype(float), event_threshold=lowest - 0.5, window_size=(1, 1)
        )
        assert fss(sums_of_pixels(counts))[j] == pytest.approx(theirs, rel=1e-12)
        table = categorical.BinaryContingencyManager(*(xarray.DataArray(a[..., j].astype(float)) for a in (f, o)))
        table = table.transform()
        assert hits[j] / (hits + misses)[j] == pytest.approx(table.probability_of_detection().item())
        assert false_alarms[j] / (hits + false_alarms)[j] == pytest.approx(table.false_alarm_ratio().item())


def test_coarse_windows_estimate_the_dense_ones():
    shape, sums = (160, 200), []
    for strides in (DENSE, STRIDES):
        windows = Windows(shape, HKO7, strides)
        sums.append(sum(windows.sums(blobs(s, shape), blobs(s, shape, drift=6)) for s in range(12)))
    np.testing.assert_allclose(fss(sums[1]), fss(sums[0]), atol=0.05)


def test_a_perfect_forecast_has_1_and_one_without_overlap_0():
    truth = blobs(1, (80, 90))
    windows = Windows(truth.shape, HKO7)
    assert (fss(windows.sums(truth, truth)) == 1).all()
    one, other = np.zeros((2, 200, 200), np.uint8)
    one[20:30, 20:30], other[150:160, 150:160] = 255, 255
    assert (fss(Windows(one.shape, HKO7).sums(one, other)) == 0).all()
    assert np.isnan(fss(windows.sums(truth * 0, truth * 0))).all()


def test_displacement_costs_less_at_larger_scales():
    truth, forecast = blobs(2, (150, 150), margin=40), blobs(2, (150, 150), margin=40, drift=6)
    score = fss(Windows(truth.shape, HKO7, DENSE).sums(truth, forecast))
    assert (np.diff(score, axis=0) > 0).all()


@given(st.integers(0, 100), st.integers(0, 255), st.integers(0, 255))
def test_what_is_masked_does_not_count(seed, observed, expected):
    truth, forecast = blobs(seed, (30, 40)), blobs(seed, (30, 40), drift=2)
    mask = np.random.default_rng(seed).random(truth.shape) < 0.7
    windows = Windows(truth.shape, HKO7)
    before = windows.sums(np.where(mask, truth, UNSCORED).astype(np.uint8), forecast * mask)
    other, wrong = np.where(mask, truth, observed), np.where(mask, forecast, expected).astype(np.uint8)
    after = windows.sums(np.where(mask, other, UNSCORED).astype(np.uint8), wrong * mask)
    np.testing.assert_array_equal(before, after)


def test_a_window_full_of_events_does_not_overflow():
    """4225 px fit in their 16 bits of a machine word, also where the sums over the image do not."""
    full = np.full((300, 300), 255, np.uint8)
    assert max(SCALES) ** 2 < 2**16 < full.size
    assert len(THRESHOLDS) == 5
    sums = Windows(full.shape, HKO7, DENSE).sums(full, np.zeros_like(full))
    reach = [np.minimum(np.arange(300) + s // 2 + 1, 300) - np.maximum(np.arange(300) - s // 2, 0) for s in SCALES[1:]]
    expected = np.array([r.sum() ** 2 for r in reach], float)  # all shares are 1: the sum of the weights
    np.testing.assert_allclose(sums, np.broadcast_to(expected[:, None, None], sums.shape), rtol=1e-12)
