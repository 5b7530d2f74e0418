"""Types of rain: what is drawn lies in its range, and the rain has the statistics that were drawn."""

from dataclasses import fields, replace

import numpy as np
import pytest

from hko7env.synthetic.rain import DAILY, TERRAIN, latent
from hko7env.synthetic.rain_types import TYPES, Faults, draw_conditions
from hko7env.synthetic.spectra import BANDS, bands_of, slope_of
from hko7env.units import HKO7, THRESHOLDS

SHAPE = (160, 160)


def conditions(name, count):
    return [draw_conditions(name, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("name", TYPES)
def test_what_is_drawn_lies_in_its_range(name):
    many = conditions(name, 60)
    for field in fields(TYPES[name]):
        low, high = getattr(TYPES[name], field.name)
        drawn = [getattr(one if hasattr(one, field.name) else one.process, field.name) for one in many]
        drawn = np.array(drawn).reshape(len(many), -1)[:, 0]
        assert low <= drawn.min() <= drawn.max() <= high
        assert drawn.max() - drawn.min() > 0.7 * (high - low), field.name
    assert len({one.pace for one in many}) == 5
    assert len({one.faults.classes for one in many}) == 4
    for fault in ("speckle", "bright", "attenuation", "residue"):
        assert 0.1 < np.mean([getattr(one.faults, fault) == 0 for one in many]) < 0.9, fault
    assert draw_conditions(name, np.random.default_rng(0)) == many[0]


@pytest.mark.parametrize("name", TYPES)
def test_the_map_gives_the_wet_area_and_intensities_that_were_drawn(name):
    """Normal latent values and cells, against a simulation that knows nothing of how the map is solved."""
    one, draw = conditions(name, 1)[0], np.random.default_rng(2)
    field, cells = (draw.standard_normal(3_000_000).astype(np.float32) for _ in range(2))
    field *= np.sqrt(1 + TERRAIN**2 + DAILY**2 / 2)
    rates = HKO7.rates[one.marginal().levels(one.process.with_cells(field, cells))]
    x = np.log(np.array(THRESHOLDS[:4]) / 0.5)
    expected = one.wet * np.exp(-one.tail * x - one.bend * x**2)
    found = np.array([(rates >= threshold).mean() for threshold in THRESHOLDS[:4]])
    common = expected > 1e-3
    np.testing.assert_allclose(found[common], expected[common], rtol=0.05)


def test_types_differ_in_wet_area_and_spectrum():
    """A shield covers far more than showers, and its spectrum is steeper; winter rain is the weakest."""
    wet, slopes, heavy = {}, {}, {}
    for name in ("showers", "shield", "winter"):
        frames = np.stack([_frame(one, seed) for seed, one in enumerate(conditions(name, 12))])
        wet[name] = (frames >= HKO7.threshold_levels[0]).mean()
        heavy[name] = (frames >= HKO7.threshold_levels[2]).sum() / (frames >= HKO7.threshold_levels[0]).sum()
        slopes[name] = slope_of(sum(_power(frame) for frame in frames))
    assert wet["showers"] < 0.08 < 0.2 < wet["shield"]
    assert slopes["shield"] < slopes["showers"] - 0.4
    assert heavy["winter"] < 0.5 * heavy["showers"]


def test_bands_are_long_in_their_direction():
    ratios = []
    for seed, one in enumerate(conditions("band", 8)):
        process = replace(one.process, direction=0.5, cells=0.0)
        field = _latent(replace(one, process=process), seed)
        down, right = np.gradient(field)
        along = np.cos(0.5) * right + np.sin(0.5) * down
        across = np.cos(0.5) * down - np.sin(0.5) * right
        ratios.append(np.square(across).mean() / np.square(along).mean())
    assert np.median(ratios) > 4
    round_one = replace(conditions("band", 1)[0], process=replace(process, stretch=1.0))
    down, right = np.gradient(_latent(round_one, 1))
    assert 0.6 < np.square(down).mean() / np.square(right).mean() < 1.6


def test_no_fault_is_the_default():
    assert not any(getattr(Faults(), name) for name in ("speckle", "classes", "bright", "attenuation", "blocked"))


def _latent(one, seed):
    moments = latent(SHAPE, 1, cadence=6, start=0, key=(seed, 9), mean=0.0, process=one.process)
    return next(moments).latent


def _frame(one, seed):
    return one.marginal().levels(_latent(one, seed))


def _power(frame):
    band = bands_of(len(frame))[0]
    window = np.hanning(len(frame))[:, None] * np.hanning(len(frame))
    frame = np.where(frame < 71, 0, frame)
    field = frame * window - window * (frame * window).sum() / window.sum()
    power, inside = np.abs(np.fft.rfft2(field)) ** 2, (band >= 0) & (band < BANDS)
    count = np.maximum(np.bincount(band[inside], minlength=BANDS), 1)
    return np.bincount(band[inside], power[inside], BANDS) / count / power.sum()
