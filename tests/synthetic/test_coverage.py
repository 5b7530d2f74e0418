"""Where radars see, and what each of their faults does to the rain."""

import numpy as np
import pytest

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.synthetic.coverage import BLOCKED_DB, KINDS, Observer, coverage
from hko7env.synthetic.rain_types import Faults
from hko7env.units import DBZ_SPAN

SHAPE = (120, 160)
CIRCLE = 0  # a seed


def observe(clean, faults, seed=CIRCLE):
    view = coverage(clean.shape, seed)
    return view, Observer(view, faults, np.random.default_rng(1)).observe(clean, np.random.default_rng(2))


def level(value):
    return np.full(SHAPE, value, np.uint8)


def test_masks_are_a_circle_a_union_or_the_whole_map():
    circle, composite, rectangle = (coverage(SHAPE, seed) for seed in range(3))
    assert (circle.kind, composite.kind, rectangle.kind) == KINDS
    radius = np.hypot(*(np.indices(SHAPE) - np.array([59.5, 79.5])[:, None, None]))
    np.testing.assert_array_equal(circle.mask == SCORED, radius < 59.5)
    assert (rectangle.mask == SCORED).all()
    for seed in range(1, 31, 3):
        seen = coverage(SHAPE, seed).mask == SCORED
        assert 0.5 < seen.mean() <= 1
        assert set(np.unique(coverage(SHAPE, seed).mask)) <= {SCORED, OUT_OF_RANGE}
    assert any((coverage(SHAPE, seed).mask == OUT_OF_RANGE).any() for seed in range(1, 31, 3))
    np.testing.assert_array_equal(coverage(SHAPE, 4).mask, coverage(SHAPE, 4).mask)
    assert (coverage(SHAPE, 4).mask != coverage(SHAPE, 7).mask).any()


@pytest.mark.parametrize("seed", range(3))
def test_without_faults_rain_is_seen_as_it_is_within_range(seed):
    clean = np.random.default_rng(3).integers(0, 255, SHAPE).astype(np.uint8)
    view, seen = observe(clean, Faults(), seed)
    expected = np.where((clean >= 71) & (view.mask == SCORED), clean, 0)
    np.testing.assert_array_equal(seen, expected)


def test_a_dry_map_stays_dry_but_for_clutter():
    faults = Faults(speckle=2.0, classes=3.0, bright=6.0, attenuation=0.01, blocked=3)
    assert not observe(level(0), faults)[1].any()
    view, seen = observe(level(0), Faults(residue=0.01))
    assert 0.004 < (seen[view.mask == SCORED] > 0).mean() < 0.03


def test_nothing_is_seen_outside_or_below_the_noise():
    faults = Faults(speckle=2.0, classes=5.0, bright=6.0, attenuation=0.01, blocked=3, residue=0.01)
    view, seen = observe(np.random.default_rng(3).integers(0, 255, SHAPE).astype(np.uint8), faults)
    assert not seen[view.mask == OUT_OF_RANGE].any()
    assert not ((seen > 0) & (seen < 71)).any()


def test_speckle_has_its_standard_deviation():
    view, seen = observe(level(150), Faults(speckle=1.5))
    assert seen[view.mask == SCORED].std() == pytest.approx(1.5 * 255 / DBZ_SPAN, rel=0.05)


def test_classes_are_few_and_near():
    clean = np.random.default_rng(3).integers(80, 250, SHAPE).astype(np.uint8)
    view, seen = observe(clean, Faults(classes=3.0))
    there = (view.mask == SCORED) & (seen > 0)
    assert len(np.unique(seen[there])) <= 17
    assert np.abs(seen[there].astype(int) - clean[there]).max() <= 1.5 * 255 / DBZ_SPAN + 1


def test_the_bright_band_is_a_ring():
    view, seen = observe(level(120), Faults(bright=5.0, bright_km=40.0, bright_width=5.0))
    ring = (view.mask == SCORED) & (np.abs(view.radius - 40) < 0.5)
    assert seen[ring].mean() == pytest.approx(120 + 5 * 255 / DBZ_SPAN, abs=0.6)
    assert (seen[view.radius < 20] == 120).all()


def test_rain_attenuates_what_lies_behind_it():
    clean = level(120)
    clean[:, 100:104] = 220  # some 140 mm/h, 20 to 24 px to the right of the radar
    view, seen = observe(clean, Faults(attenuation=0.01))
    left, right = seen[60, 40], seen[60, 120]
    assert view.mask[60, 40] == view.mask[60, 120] == SCORED
    assert int(left) - int(right) > 10
    none = observe(clean, Faults())[1]
    assert none[60, 120] == 120


def test_blocked_sectors_are_rays():
    view, seen = observe(level(150), Faults(blocked=3))
    weak = (view.mask == SCORED) & (seen < 150)
    assert 0 < weak.sum() < 0.3 * (view.mask == SCORED).sum()
    assert not weak[view.radius < 10].any()
    loss = (150 - seen[weak].astype(float)) / 255 * DBZ_SPAN
    assert BLOCKED_DB[0] - 0.3 <= loss.min()
    assert loss[seen[weak] > 0].max() <= BLOCKED_DB[1] + 0.3
