"""The radar: its mask, what it hides, and the sun."""

import numpy as np
import pytest
from scipy import ndimage

from hko7env.archive.format import OUT_OF_RANGE, OUTLIER
from hko7env.synthetic.radar import radar_mask, site


def test_the_mask_is_the_radars_circle_with_clutter_as_hko7s():
    mask = radar_mask((480, 480), 7)
    assert (mask == OUT_OF_RANGE).sum() == 50_260  # HKO-7's own count
    outliers = mask == OUTLIER
    assert 2000 < outliers.sum() < 6000
    radius = np.hypot(*(np.indices(mask.shape) - 239.5))
    assert outliers[radius < 10].mean() == pytest.approx(0.386, abs=0.02)
    assert outliers[(radius > 20) & (radius <= 40)].mean() == pytest.approx(0.127, abs=0.02)
    blobs, count = ndimage.label(outliers, np.ones((3, 3)))
    sizes = ndimage.sum_labels(outliers, blobs, np.arange(1, count + 1))
    assert 100 < count < 900
    assert sizes.max() > 400, "the middle, or the spoke"


def test_the_radar_sees_only_its_circle_and_hides_drizzle():
    radar = site((96, 96), 3)
    clean = np.full((96, 96), 60, np.uint8)
    seen = radar.observe(clean, 0, (3, 0), 1)
    assert (seen[radar.mask == OUT_OF_RANGE] == 0).all()
    scored = (radar.mask == 0) & (radar.loss == 0)
    assert (seen[scored] < 71).all()
    heavy = radar.observe(np.full((96, 96), 200, np.uint8), 0, (3, 0), 1)
    assert (heavy[scored] == 200).all()
    blocked = (radar.mask == 0) & (radar.loss > 0)
    assert blocked.any()
    assert (heavy[blocked] < 200).all()


def test_the_sun_shows_at_its_times_only():
    radar = site((96, 96), 3)
    dry = np.zeros((96, 96), np.uint8)
    outside = (radar.radius > 20) & (radar.mask == 0)
    strong = [
        [(radar.observe(dry, hour * 60 + m, (3, 0), hour * 60 + m)[outside] >= 71).sum() for m in range(0, 60, 6)]
        for hour in (4, 9, 23)
    ]
    assert max(strong[0]) == 0, "noon in Hong Kong"
    assert max(*strong[1], *strong[2]) > 0, "sunset or sunrise"
