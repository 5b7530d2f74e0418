"""Diagnostics of whole forecasts: addable, blind to what is masked, in agreement with the tallies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hko7env.diagnostics.sums import Diagnoser, Diagnostics
from hko7env.evaluation.diagnostics import agree
from hko7env.scores import scored, tally
from hko7env.units import HKO7

SHAPE, LEADS = (24, 40), 3


def a_sequence(seed, missing=()):
    """Truth with rain, small-echo noise and gaps, its presence and masks, and a forecast of any values."""
    rng = np.random.default_rng(seed)
    static = rng.random(SHAPE) < 0.97
    truth = [rng.integers(0, 256, SHAPE, dtype=np.uint8) * (rng.random(SHAPE) < 0.3) for _ in range(LEADS)]
    present = np.array([k not in missing for k in range(LEADS)])
    mask = [scored(t, static) & p for t, p in zip(truth, present, strict=True)]
    forecast = rng.random((LEADS, *SHAPE), np.float32) * (rng.random((LEADS, *SHAPE)) < 0.5)
    forecast[0, 0, :5] = HKO7.threshold_pixels
    forecast[1, 0, :5] = np.nextafter(HKO7.threshold_pixels.astype(np.float32), np.float32(0))
    return static, truth, present, mask, forecast


def diagnose(static, truth, present, mask, forecast):
    return Diagnoser(static, HKO7).measure(truth, present, mask, forecast)


@given(st.integers(0, 2**32 - 1), st.sets(st.integers(0, LEADS - 1)), st.booleans())
@settings(max_examples=30)
def test_joint_histograms_give_the_counts_of_the_tallies(seed, missing, levels):
    static, truth, present, mask, forecast = a_sequence(seed, missing)
    if levels:
        forecast = np.rint(255 * forecast).astype(np.uint8)
    found = diagnose(static, truth, present, mask, forecast)
    assert agree(found, tally(truth, mask, forecast), HKO7)
    assert found.joint.sum(axis=(1, 2)).tolist() == [int(m.sum()) for m in mask]
    assert found.spectra_sequences == (not missing)
    assert bool(found.spectra.any()) == (not missing)


@given(st.integers(0, 2**32 - 1), st.integers(1, 255), st.floats(0, 1, width=32))
@settings(max_examples=30)
def test_what_is_masked_does_not_count(seed, level, pixel):
    static, truth, present, mask, forecast = a_sequence(seed)
    before = diagnose(static, truth, present, mask, forecast)
    other = [np.where(static, t, np.uint8(level)) for t in truth]
    wrong = np.where(static, forecast, np.float32(pixel))
    assert diagnose(static, other, present, mask, wrong) == before


def test_sums_add_up_in_any_order_but_for_rounding():
    parts = [diagnose(*a_sequence(seed, missing)) for seed, missing in ((0, ()), (1, (2,)), (2, ()))]
    one, other = sum(parts, Diagnostics.zero(*parts[0].spectra.shape[::2])), parts[2] + parts[0] + parts[1]
    assert (one.sequences, one.spectra_sequences) == (3, 2)
    np.testing.assert_array_equal(one.joint, other.joint)
    np.testing.assert_array_equal(one.pooled, other.pooled)
    np.testing.assert_allclose(one.shares, other.shares, rtol=1e-12)
    np.testing.assert_allclose(one.spectra, other.spectra, rtol=1e-12)
    assert one != other + parts[0]
    assert parts[0] == diagnose(*a_sequence(0)), "addition changes no part"


def test_a_perfect_forecast():
    static, truth, present, mask, _ = a_sequence(4)
    found = diagnose(static, truth, present, mask, np.stack(truth))
    assert (found.fss == 1).all()
    assert (found.pooled[:, 1:3] == 0).all()
    assert (np.diagonal(found.joint, axis1=1, axis2=2).sum(axis=1) == found.joint.sum(axis=(1, 2))).all()
    np.testing.assert_array_equal(found.spectra[:, 0], found.spectra[:, 1])


def test_other_leads_or_rings_are_not_added():
    with pytest.raises(ValueError, match="cannot add diagnostics of other leads or rings"):
        Diagnostics.zero(3, 5) + Diagnostics.zero(3, 6)
    assert Diagnostics.zero(2, 2) != "something"
