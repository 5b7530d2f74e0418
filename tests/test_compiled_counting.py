"""The compiled counter returns numpy's arrays to the bit, whatever the arrays are like."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

from hko7env import counting
from hko7env.forecast import ForecastError
from hko7env.scores import tally
from hko7env.units import HKO7, ZR
from tests.test_scores import cases

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba, the extra fast, is missing")


def in_numpy(monkeypatch, *arguments, **options):
    with monkeypatch.context() as patch:
        patch.setattr(counting, "_compiled_module", lambda: None)
        return tally(*arguments, **options)


def rain(shape, share, seed=0):
    """Truth, mask and forecast with echo and events on about a share of the words."""
    rng = np.random.default_rng(seed)
    wet = np.repeat(rng.random((*shape[:-1], -(-shape[-1] // 8))) < share, 8, -1)[..., : shape[-1]]
    truth = rng.integers(0, 256, shape, np.uint8) * wet
    forecast = np.where(wet, rng.random(shape, np.float32), np.float32(0))
    return truth, rng.random(shape) < 0.8, forecast


@needs_numba
@pytest.mark.parametrize("shape", [(1, 480, 500), (2, 97, 131), (2, 8, 8), (1, 1, 3)])
@pytest.mark.parametrize("share", [0, 0.05, 0.69, 0.71, 1])
@pytest.mark.parametrize("zr", [HKO7, ZR(200, 1.6)], ids=["hko7", "marshall"])
def test_tallies_are_the_same_to_the_bit(monkeypatch, shape, share, zr):
    truth, mask, forecast = rain(shape, share)
    background = np.maximum(forecast, np.float32(0.01))  # echo everywhere, events on a share
    for each in (forecast, background, -forecast * 0, truth, forecast.astype(">f4")):
        assert tally(truth, mask, each, zr=zr) == in_numpy(monkeypatch, truth, mask, each, zr=zr)


@needs_numba
@given(case=cases())
def test_small_cases_are_the_same_to_the_bit(case):
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert tally(*case) == in_numpy(monkeypatch, *case)


@needs_numba
def test_the_arrays_are_the_same_and_not_only_their_sums():
    truth, mask, forecast = (a.reshape(-1) for a in rain((1, 160, 160), 0.3))
    counted = []
    for counter in (counting.NumpyCounter(), counting.block_counter()):
        counts = np.zeros((4, 5), np.int64)
        counted.append([a.view(np.uint32) for a in counter.count(counts, (truth, mask, forecast), 0, HKO7)] + [counts])
    assert type(counter) is not counting.NumpyCounter
    for ours, compiled in zip(*counted, strict=True):
        np.testing.assert_array_equal(ours, compiled)


@needs_numba
def test_read_only_unaligned_and_strided_arrays_count(monkeypatch):
    truth, mask, forecast = rain((2, 16, 32), 0.5)
    expected = in_numpy(monkeypatch, truth, mask, forecast)
    for array in (truth, mask, forecast):
        array.flags.writeable = False
    assert tally(truth, mask, forecast) == expected
    shifted = np.frombuffer(b"\0" + forecast.tobytes(), np.float32, offset=1).reshape(forecast.shape)
    assert not shifted.flags.aligned
    assert tally(truth, mask, shifted) == expected
    wide = np.zeros((2, 16, 64), np.float32)
    wide[..., ::2] = forecast
    assert tally(truth, mask, wide[..., ::2]) == expected


@needs_numba
@pytest.mark.parametrize("value", [np.nan, 1.5, -1e-6, np.inf])
def test_a_bad_forecast_is_refused_in_the_same_words(monkeypatch, value):
    forecast = np.zeros((2, 8, 8), np.float32)
    forecast[1, 7, 7] = value
    good = np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), bool)
    with pytest.raises(ForecastError) as expected:
        in_numpy(monkeypatch, *good, forecast)
    with pytest.raises(ForecastError, match="lead 2") as found:
        tally(*good, forecast)
    assert str(found.value) == str(expected.value)


@needs_numba
def test_nothing_is_compiled_on_import():
    code = "import sys, hko7env, hko7env.scores; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@needs_numba
def test_without_a_writable_folder_it_is_compiled_anew(monkeypatch):
    from numba.core import caching

    from hko7env import compiled_counting

    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    signature = compiled_counting.numba.int64(compiled_counting.numba.int64)
    assert compiled_counting._compiled(lambda n: n + 1, signature)(41) == 42


def test_a_numba_that_cannot_be_imported_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "hko7env.compiled_counting", None)
    monkeypatch.delattr("hko7env.compiled_counting", raising=False)
    with pytest.warns(UserWarning, match="numba is installed but cannot be used"):
        assert counting._compiled_module.__wrapped__() is None
