"""The episodes of an archive: splits, days, missing frames, wetness."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.archive.format import DAY
from hko7env.archive.rainy_days import read_times
from hko7env.schedule import schedule
from hko7env.synthetic.demo import demo
from hko7env.synthetic.process import HONG_KONG
from hko7env.synthetic.weather import TWO_DAYS, by_times, hko7, means, small


def test_two_days_have_what_the_protocol_must_handle():
    splits = {}
    for w in TWO_DAYS:
        splits.setdefault(w.split, []).append(w.times(6))
    assert set(splits) == {"train", "valid", "test"}
    walk = schedule(np.concatenate(splits["test"]))
    assert (len(walk), len(walk.episode_starts)) == (88, 2)


@pytest.mark.parametrize("weather", [TWO_DAYS, *(f(seed) for f in (demo, small) for seed in range(30)), hko7(7)])
def test_splits_lie_in_different_years_and_days_apart(weather):
    years, ends = {}, []
    for w in weather:
        times = w.times(6)
        years.setdefault(w.split, set()).update({str(np.datetime64(int(t), "m"))[:4] for t in times[[0, -1]]})
        ends.append((times[0], times[-1], w.split))
    assert not years["train"] & years["valid"] | years["train"] & years["test"] | years["valid"] & years["test"]
    for (_, end, split), (begin, _, following) in pairwise(ends):
        assert begin - end >= 120, "in the order of time, and apart: no sequence spans two weathers"
        assert split == following or begin - end >= 2 * DAY


def test_hko7_has_the_papers_numbers():
    weather = hko7(7)
    for split, days, frames in (("train", 812, 192_168), ("valid", 50, 11_736), ("test", 131, 31_350)):
        times = np.concatenate([w.times(6) for w in weather if w.split == split])
        assert len(times) == frames
        assert days - 4 <= len(np.unique(times // DAY)) <= days
    assert {w.start[:4] for w in weather if w.split == "test"} == {"2015"}


def test_the_official_test_list_is_followed_to_the_minute(shared):
    listed = read_times(shared / "hko7" / "index_rainy_test.csv.gz")
    weather = [w for w in hko7(7, listed) if w.split == "test"]
    times = np.concatenate([w.times(6) for w in weather])
    np.testing.assert_array_equal(times, listed)
    walk = schedule(times)
    assert (len(listed), len(walk), len(walk.episode_starts)) == (31_350, 6053, 56)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_any_list_of_times_comes_back(gaps):
    times = 24_000_000 + np.cumsum(gaps)
    listed = [t for t in times if len(times) == 1 or t % 6 != 1]  # some off the grid, none within one slot
    listed = [t for i, t in enumerate(listed) if i == 0 or t - listed[i - 1] >= 12]
    if not listed:
        return
    found = np.concatenate([w.times(6) for w in by_times("test", np.array(listed))])
    np.testing.assert_array_equal(found, listed)


def test_wetness_is_stratified_and_follows_the_season():
    weather = small(7)
    drawn = means(weather, 7)
    assert drawn.mean() == pytest.approx(0, abs=1e-9)
    assert drawn.std() == pytest.approx(HONG_KONG.between, abs=0.05)
    month = np.array([int(w.start[5:7]) for w in hko7(7)])
    many = means(hko7(7), 7)
    assert many[(month >= 5) & (month <= 9)].mean() > many[(month <= 2) | (month == 12)].mean() + 0.3


def test_times_that_are_none_are_named(tmp_path):
    file = tmp_path / "times.csv"
    file.write_text("time,x\n2015-01-01T00:00,0\nnoon,0\n")
    with pytest.raises(ValueError, match=r"line 3: 'noon'"):
        read_times(file)
    file.write_text("2015-01-01T00:06\n2015-01-01T00:00\n")
    with pytest.raises(ValueError, match="not increasing"):
        read_times(file)
