"""Power spectra: against a slow restatement, a wave whose power is known, pysteps where it is installed."""

import numpy as np
import pytest

from hko7env.diagnostics.spectra import LARGEST_SIDE, Spectrum, largest_square, resolution, side_of


def slowly(field):
    """Mean of |F|^2 / N over the modes of each ring, from the full transform."""
    side = len(field)
    power = np.abs(np.fft.fft2(field)) ** 2 / field.size
    k = np.fft.fftfreq(side, 1 / side)
    ring = np.hypot(k[:, None], k).round()
    return np.array([power[ring == r].mean() for r in range(side // 2 + 1)])


@pytest.mark.parametrize("side", [8, 24, 60, 100])
def test_spectra_are_the_means_over_rings(side):
    rng = np.random.default_rng(side)
    truth, forecast = rng.integers(0, 256, (side, side), dtype=np.uint8), rng.random((side, side), np.float32)
    spectrum = Spectrum(np.ones((side, side), bool))
    assert (spectrum.side, spectrum.rings) == (side, side // 2 + 1)
    found = spectrum.of(truth, forecast)
    np.testing.assert_allclose(found, [slowly(truth / 255), slowly(forecast)], rtol=1e-4)
    np.testing.assert_array_equal(found, found.astype(np.float32))
    levels = np.rint(255 * forecast).astype(np.uint8)
    np.testing.assert_array_equal(spectrum.of(truth, levels), spectrum.of(truth, levels / np.float32(255)))


def test_spectra_are_those_of_pysteps():
    rapsd = pytest.importorskip("pysteps.utils.spectral").rapsd
    field = np.random.default_rng(0).random((90, 90), np.float32)
    theirs = rapsd(field.astype(float), fft_method=np.fft)
    found = Spectrum(np.ones(field.shape, bool)).of(np.zeros((90, 90), np.uint8), field)[1]
    np.testing.assert_allclose(found[: len(theirs)], theirs, rtol=1e-4)


def test_a_wave_has_its_power_in_its_ring():
    x = np.arange(64)
    wave = np.broadcast_to(0.5 + 0.25 * np.cos(2 * np.pi * 5 * x / 64), (64, 64)).astype(np.float32)
    _, power = Spectrum(np.ones((64, 64), bool)).of(np.zeros((64, 64), np.uint8), wave)
    modes = np.count_nonzero(np.hypot(np.fft.fftfreq(64, 1 / 64)[:, None], np.fft.fftfreq(64, 1 / 64)).round() == 5)
    assert power[5] == pytest.approx(2 * (0.25 / 2) ** 2 * 64**2 / modes, rel=1e-5)
    assert power[0] == pytest.approx(0.25 * 64**2, rel=1e-5)
    assert np.delete(power, [0, 5]).max() < 1e-6


def test_masked_pixels_take_the_value_of_the_nearest_scored_one():
    mask = np.ones((40, 40), bool)
    mask[10, 11] = mask[30:32, 5] = False
    rng = np.random.default_rng(0)
    truth, forecast = np.full((40, 40), 90, np.uint8), rng.random((40, 40), np.float32)
    spectrum = Spectrum(mask)
    before = spectrum.of(truth, forecast)
    np.testing.assert_allclose(before[0, 1:], 0, atol=1e-9)
    spoilt, wrong = truth.copy(), forecast.copy()
    spoilt[~mask], wrong[~mask] = 255, 1
    np.testing.assert_array_equal(spectrum.of(spoilt, wrong), before)


def test_the_square_is_the_largest_one_inside_the_mask():
    rows, columns = np.indices((90, 120))
    circle = np.hypot(rows - 44.5, columns - 59.5) < 45
    top, left, side = largest_square(circle)
    assert circle[top : top + side, left : left + side].mean() >= 0.95
    assert 63 < side < 80
    assert abs(2 * top + side - 90) <= 1
    assert abs(2 * left + side - 120) <= 1
    assert Spectrum(np.ones((600, 500), bool)).side == LARGEST_SIDE
    assert largest_square(np.zeros((9, 9), bool)) == (0, 0, 0)
    for size in (27, 30, 61, 130):
        spectrum = Spectrum(np.ones((size, size), bool))
        assert 0.85 * size < spectrum.side == side_of(spectrum.rings) <= size


@pytest.mark.parametrize("seed", range(5))
def test_no_larger_square_has_enough_scored_pixels(seed):
    mask = np.random.default_rng(seed).random((20, 26)) < 0.97
    places = [
        (side, top, left)
        for side in range(1, 21)
        for top in range(21 - side)
        for left in range(27 - side)
        if mask[top : top + side, left : left + side].mean() >= 0.95
    ]
    top, left, side = largest_square(mask)
    assert (side, top, left) in places
    assert side == max(places)[0]


def test_where_no_square_fits_there_is_no_spectrum():
    spectrum = Spectrum(np.ones((6, 40), bool))
    assert (spectrum.side, spectrum.rings) == (0, 0)
    assert spectrum.of(np.zeros((6, 40), np.uint8), np.zeros((6, 40), np.float32)).shape == (2, 0)


def test_effective_resolution():
    truth = np.full(51, 4.0)
    assert resolution(truth, truth) == 2
    ring = np.arange(51)
    assert resolution(truth, np.where(ring <= 20, 3.0, 1.0)) == pytest.approx(100 / 20.5)
    lacking_long_waves_too = np.where((ring > 5) & (ring <= 20), 3.0, 1.0)
    assert resolution(truth, lacking_long_waves_too) == pytest.approx(100 / 20.5)
    assert resolution(truth, truth * 0.1) == 100
    assert np.isnan(resolution(truth * 0, truth))
    assert np.isnan(resolution(truth[:0], truth[:0]))


def test_smoothing_coarsens_the_resolution():
    rng = np.random.default_rng(0)
    field = rng.random((100, 100), np.float32)
    spectrum, found = Spectrum(np.ones((100, 100), bool)), []
    for width in (1, 3, 7):
        smooth = sum(np.roll(field, (i, j), (0, 1)) for i in range(width) for j in range(width)) / width**2
        truth, forecast = spectrum.of(np.rint(255 * field).astype(np.uint8), smooth.astype(np.float32))
        found.append(resolution(truth, forecast))
    assert found[0] == 2
    assert 2 < found[1] < found[2]
