"""Gaussian fields and wind: what is stationary, what moves, and how fast it decays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hko7env.synthetic.field import COARSE, Field, spline_response
from hko7env.synthetic.wind import NODE, Wind, interpolate_nodes


def power(wavelength):
    return wavelength**2.5


def lifetime(wavelength):
    return 3 * wavelength


def field(size=(96, 128), **other):
    return Field(size, (5, 1), (0, 1 << 40), power=power, lifetime=lifetime, cadence=6, **other)


def test_a_fields_spectrum_is_stationary_while_it_moves():
    """Carried half a pixel a step, the worst place to interpolate at, short and long waves keep their variance."""
    one = field()
    points = np.indices(one.size, dtype=np.float32)
    still = np.array([0.5, -0.37], np.float32)[:, None, None]

    def bands(values):
        k = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(128)[None])
        spectrum = np.abs(np.fft.rfft2(values)) ** 2
        return np.array([spectrum[(k > low) & (k <= high)].sum() for low, high in ((0, 0.1), (0.1, 0.25), (0.25, 0.5))])

    sums = np.zeros((4, 3))
    for step in range(120):
        one.step(points - still)
        sums[step // 30] += bands(one.values())
    np.testing.assert_allclose(sums[3][1:], sums[0][1:], rtol=0.1)
    expected = np.mean([bands(field_of(seed)) for seed in range(40)], 0)
    np.testing.assert_allclose(sums[1:, 1:].mean(0) / 30, expected[1:], rtol=0.1)


def field_of(seed):
    return Field((96, 128), (seed, 2), (0, 1 << 40), power=power, lifetime=lifetime, cadence=6).values()


def test_a_field_has_unit_variance():
    assert np.mean([field_of(seed).var() for seed in range(60)]) == pytest.approx(1, abs=0.1)


def test_a_still_field_forgets_at_its_lifetime():
    """One wavelength alone, still air: the correlation with the start falls as exp(-t / lifetime)."""
    band = lambda w: np.where((w > 15) & (w < 17), 1.0, 0.0)  # noqa: E731
    products = np.zeros(6)
    for seed in range(20):
        one = Field((128, 128), (seed, 3), (0, 1 << 40), power=band, lifetime=lifetime, cadence=6)
        points, start = np.indices(one.size, dtype=np.float32), one.values()
        for step in range(6):
            products[step] += (start * one.values()).mean() / 20
            one.step(points)
    expected = np.exp(-6 * np.arange(6) / 48)
    np.testing.assert_allclose(products / products[0], expected, atol=0.06)


def test_a_field_moves_as_told():
    one = field()
    points, start = np.indices(one.size, dtype=np.float32), one.values()
    one.step(points - np.array([3, -5], np.float32)[:, None, None])
    moved, product = one.values(), {}
    for shift in ((3, -5), (0, 0), (-3, 5)):
        product[shift] = (np.roll(start, shift, (0, 1)) * moved).mean()
    assert max(product, key=product.get) == (3, -5)
    assert product[3, -5] > 0.9 * (start**2).mean()


def test_the_coarse_field_is_the_fine_ones_long_waves():
    fine, coarse = field(), field(coarse=True)
    for _ in range(3):
        smooth = np.fft.rfft2(fine.values())
        k, n = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(128)[None]
        smooth[(np.abs(k) >= 0.5 / COARSE) | (n >= 0.5 / COARSE) | (k == -0.5 / COARSE)] = 0
        same = np.fft.irfft2(smooth, (96, 128))[::COARSE, ::COARSE]
        assert np.corrcoef(same.ravel(), coarse.values().ravel())[0, 1] > (0.99 if fine.time else 1 - 1e-6)
        assert coarse.values().std() == pytest.approx(same.std(), rel=0.02 if fine.time else 1e-5)
        for one in (fine, coarse):
            one.step(np.indices(one.size, dtype=np.float32))
    assert coarse.variance == pytest.approx(np.mean([smooth_variance(seed) for seed in range(40)]), rel=0.15)


def smooth_variance(seed):
    values = np.fft.rfft2(field_of(seed))
    k, n = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(128)[None]
    values[(np.abs(k) >= 0.5 / COARSE) | (n >= 0.5 / COARSE)] = 0
    return np.fft.irfft2(values, (96, 128)).var()


def test_the_spline_is_scipys():
    """On a wave, its value at the points and the power that a half-way interpolation leaves, against scipy."""
    line = np.cos(2 * np.pi * np.arange(64) * 6 / 64)
    k = np.array([2 * np.pi * 6 / 64])
    at_points, kept = spline_response(k)
    coefficients = line / at_points
    places = (np.arange(64 * 8) + 0.5) / 8
    moved = ndimage.map_coordinates(coefficients, [places], order=3, mode="grid-wrap", prefilter=False)
    assert moved.var() / line.var() == pytest.approx(kept[0], rel=1e-3)
    whole = ndimage.map_coordinates(coefficients, [np.arange(64.0)], order=3, mode="grid-wrap", prefilter=False)
    np.testing.assert_allclose(whole, line, atol=1e-6)


@given(st.integers(0, 2**32), st.integers(2, 6))
@settings(max_examples=20)
def test_nodes_are_interpolated_bilinearly(seed, nodes):
    values = np.random.default_rng(seed).standard_normal((2, nodes, nodes + 1)).astype(np.float32)
    fine = interpolate_nodes(values, (NODE * nodes, NODE * (nodes + 1)))
    np.testing.assert_allclose(fine[:, ::NODE, ::NODE], values, atol=1e-6)
    middle = (values + np.roll(values, -1, 2)) / 2
    np.testing.assert_allclose(fine[:, ::NODE, NODE // 2 :: NODE], middle, atol=1e-6)


def test_the_wind_turns_and_changes():
    wind = Wind((576, 576), (480, 480), (3, 1), cadence=6)
    steps = np.stack([wind.step() for _ in range(60)])
    speed = np.hypot(*steps.mean((2, 3)).T) * 512 / 480 / 0.1
    assert 4 < speed.mean() < 40, "km/h"
    assert np.abs(steps[0] - steps[-1]).max() > 0.2, "it changes"
    inner = steps[:, :, 5:-5, 5:-5]
    curl = np.diff(inner[:, 0], axis=2)[:, 1:] - np.diff(inner[:, 1], axis=1)[:, :, 1:]
    assert np.abs(curl).max() > 0.01, "it turns"


def test_the_eddies_have_the_strength_they_should(monkeypatch):
    """Over many winds, and on maps where a single eddy fits."""
    for size, view in (((64, 80), (48, 64)), ((576, 576), (480, 480))):
        winds = [Wind(size, view, (seed, 0), cadence=6) for seed in range(60)]
        ratio = [np.square(w._eddy_scale * w._eddies()).sum(0).mean() / w._speed**2 for w in winds]
        assert np.sqrt(np.mean(ratio)) == pytest.approx(0.15, abs=0.02)
