"""Forecasts as levels: rounding keeps events, and unscored truth is marked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.diagnostics.levels import UNSCORED, forecast_levels, mark_unscored
from hko7env.scores import scored
from hko7env.units import HKO7, ZR, level

RELATIONS = [HKO7, ZR(200, 1.6), ZR(58.53, 3.0)]


@pytest.mark.parametrize("zr", RELATIONS)
def test_levels_come_back(zr):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(forecast_levels(levels / np.float32(255), zr), levels)


@given(st.sampled_from(RELATIONS), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.integers(-3, 3))
def test_events_of_levels_are_those_of_pixels_and_others_are_the_nearest(zr, pixels, step):
    edges = zr.threshold_pixels.astype(np.float32)
    for _ in range(abs(step)):  # the floats around each threshold
        edges = np.nextafter(edges, np.float32(np.sign(step)))
    pixels = np.clip(np.array([*pixels, *edges, 0, 1], np.float32), 0, 1)[None]
    levels = forecast_levels(pixels, zr)
    for edge, lowest in zip(zr.threshold_pixels.astype(np.float32), zr.threshold_levels, strict=True):
        np.testing.assert_array_equal(levels >= lowest, pixels >= edge)
    near = np.abs(level(pixels).astype(int) - levels)
    moved = np.isin(levels, zr.threshold_levels) | np.isin(levels + 1, zr.threshold_levels)
    assert (near[~moved] == 0).all()
    assert (near <= 1).all()


def test_no_scored_truth_has_the_mark():
    levels, everywhere = np.arange(256, dtype=np.uint8)[None], np.ones((1, 256), bool)
    mask = scored(levels, everywhere)
    marked = mark_unscored(levels, mask)
    np.testing.assert_array_equal(marked == UNSCORED, ~mask)
    np.testing.assert_array_equal(marked[mask], levels[mask])
