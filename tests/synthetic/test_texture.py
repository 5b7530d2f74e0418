"""Texture: what is measured of rain whose wet area, intensities and motion are known."""

import numpy as np
import pytest

from hko7env.synthetic.texture import correlation, measure_texture, sample
from hko7env.units import HKO7


def blobs(seed, shape=(96, 128)):
    draw = np.random.default_rng(seed)
    k = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    smooth = np.fft.irfft2(np.exp(-((k * 25) ** 2)) * np.fft.rfft2(draw.standard_normal(shape)), shape)
    return np.where(smooth > smooth.std(), 150, 0).astype(np.uint8)


def test_rain_that_only_moves_stays_like_itself():
    first = blobs(1)
    assert correlation(first, np.roll(first, (7, -12), (0, 1))) > 0.9
    assert correlation(first, first) == pytest.approx(1)
    assert abs(correlation(first, blobs(2))) < 0.7
    assert correlation(first, np.zeros_like(first)) == 0


def test_wet_area_and_intensities(new_archive):
    frames = np.zeros((11, 40, 40), np.uint8)
    frames[:, :10] = HKO7.threshold_levels[1]
    frames[:, :2] = HKO7.threshold_levels[3]
    frames[:, 20:] = 60  # noise, which is not rain
    found = measure_texture(new_archive(np.arange(11) * 6, frames), np.arange(11) * 6)
    assert found.frames == 3
    np.testing.assert_allclose(found.wet, 0.25)
    np.testing.assert_allclose(found.heavy, [1, 1, 0.2, 0.2, 0])
    assert found.persistence == pytest.approx(1)


def test_frames_are_half_an_hour_apart_and_none_is_an_error(new_archive):
    times = np.array([3, 9, 15, 21, 27, 33, 39, 63, 200, 206, 230])
    assert sample(times).tolist() == [3, 33, 63, 200, 230]
    archive = new_archive(np.arange(6) * 6, np.zeros((6, 16, 16), np.uint8))
    with pytest.raises(ValueError, match="no frame to measure"):
        measure_texture(archive, np.array([], np.int64))
    dry = measure_texture(archive, archive.times)
    assert np.isnan([dry.slope, dry.persistence]).all()
