import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hko7env.units import BALANCE, HKO7, THRESHOLDS, ZR, dbz, level, pixel

rates = st.floats(0.05, 500)


def test_published_thresholds_as_levels():
    # protocol facts: thresholds in 0..255 scale and the first level that counts
    exact = [83.70454162485491, 117.91875084632113, 140.53311305342638, 157.64021766415945, 184.7543369680854]
    np.testing.assert_allclose(255 * HKO7.threshold_pixels, exact, rtol=1e-14)
    assert HKO7.threshold_levels.tolist() == [84, 118, 141, 158, 185]


def test_level_255_is_60_dbz_and_517_mm_per_hour():
    assert dbz(1.0) == 60
    assert HKO7.rate(60.0) == pytest.approx(516.68, abs=0.005)
    assert HKO7.rates[0] == pytest.approx(0.0168, abs=5e-5)


def test_dbz_has_the_plus_that_agrees_with_table_2():
    # level 71, the noise limit, is 9.49 dBZ = 0.299 mm/h; with the printed minus it would be 5.7 mm/h
    assert dbz(71 / 255) == pytest.approx(9.490, abs=5e-4)
    assert HKO7.rates[71] == pytest.approx(0.299, abs=5e-4)


@given(rates)
def test_rate_and_dbz_are_inverse(rate):
    assert HKO7.rate(HKO7.dbz(rate)) == pytest.approx(rate)
    assert dbz(pixel(HKO7.dbz(rate))) == pytest.approx(HKO7.dbz(rate))


@given(st.lists(rates, min_size=1), st.sampled_from([HKO7, ZR(200, 1.6)]))
def test_torch_agrees_with_numpy_and_keeps_its_type(values, zr):
    array, tensor = np.array(values), torch.tensor(values, dtype=torch.float64)
    for f in (zr.dbz, zr.rate, pixel, dbz):
        result = f(tensor)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_allclose(result.numpy(), f(array), rtol=1e-12)
    levels = level(tensor / 500)
    assert levels.dtype == torch.uint8
    np.testing.assert_array_equal(levels.numpy(), level(array / 500))


def test_gradients_flow_through_the_units():
    x = torch.tensor([1.0, 20.0], requires_grad=True)
    pixel(HKO7.dbz(x)).sum().backward()
    np.testing.assert_allclose(x.grad, 15.6 / np.log(10) / np.array([1.0, 20.0]) / 70, rtol=1e-6)


def test_levels_round_half_up_and_clip():
    assert level(np.array([-1.0, 0.0, 0.5 / 255, 0.49 / 255, 1.0, 2.0])).tolist() == [0, 0, 1, 0, 255, 255]
    assert [int(level(k / 255)) for k in range(256)] == list(range(256))


@pytest.mark.parametrize("values", [np.array([0.5, np.nan]), torch.tensor([0.5, torch.nan])])
def test_nan_has_no_level(values):
    with pytest.raises(ValueError, match="NaN has no radar level"):
        level(values)


def test_tables_follow_the_rates_at_all_levels():
    for k in range(256):
        reached = sum(HKO7.rate(70 * k / 255 - 10) >= t for t in THRESHOLDS)
        assert HKO7.classes[k] == reached
        assert HKO7.weights[k] == BALANCE[reached]
    with pytest.raises(ValueError, match="read-only"):
        HKO7.weights[0] = 2


def test_zero_rain_is_below_every_level_without_a_warning():
    assert level(pixel(HKO7.dbz(0.0))) == 0


@pytest.mark.parametrize("a, b", [(0, 1.5), (200, -1), (np.nan, 1.6), (1, 4)])
def test_a_relation_that_is_none_is_refused(a, b):
    with pytest.raises(ValueError, match=r"Z = "):
        ZR(a, b)
