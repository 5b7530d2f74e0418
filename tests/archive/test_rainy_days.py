from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.archive.format import minutes
from hko7env.archive.rainy_days import DAY, radar_days, ranges, read_days


def listed(tmp_path, text):
    path = tmp_path / "days.txt"
    path.write_text(text)
    return path


def test_both_forms_of_a_list(tmp_path):
    days = [minutes("2015-01-07"), minutes("2015-01-12")]
    assert read_days(listed(tmp_path, "20150112, 3.4\n20150107\n\n")) == days
    assert read_days(listed(tmp_path, "2015,1,7,0.1\n2015,01,12,9\n")) == days
    assert read_days(listed(tmp_path, "year,month,day,mm\n2015,1,7,0.1\n2015,01,12,9\n")) == days


def test_rainy_days_by_the_gauge(tmp_path):
    text = "20150101, 0\n20150102, Trace\n20150103, 0.1\n20150104, ***\n20150105, 30\n"
    rainy = read_days(listed(tmp_path, text), rainy_only=True)
    assert rainy == [minutes("2015-01-03"), minutes("2015-01-05")]


@pytest.mark.parametrize(
    "text, message",
    [("soon", "line 1: 'soon' is neither"), ("20150230", "holds no date"), ("20150101\n20150101, 3", "line 2.*twice")],
)
def test_bad_lines_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_days(listed(tmp_path, text))


@given(st.sets(st.integers(16000, 16040)))
def test_ranges_hold_the_days_and_no_other(days):
    inside = set()
    found = ranges(day * DAY for day in days)
    for begin, end in found:
        inside |= set(range(minutes(begin) // DAY, minutes(end) // DAY))
    assert inside == days
    assert all(end < begin for (_, end), (begin, _) in pairwise(found)), "joined and in order"


def test_rainy_days_by_the_radar(new_archive):
    times = DAY * np.repeat([100, 101, 102], 3) + np.tile([0, 6, 12], 3)
    frames = np.zeros((9, 4, 5), np.uint8)
    frames[3:6, :, :2] = 158  # 10.1 mm/h on 2 of 5 columns, but one of the two is masked below
    frames[6, 0, 1] = 120
    mask = np.zeros((4, 5), np.uint8)
    mask[:, 0] = 1
    archive = new_archive(times, frames, mask=mask)
    assert radar_days(archive, archive.select(), 2.5) == [101 * DAY]
    assert radar_days(archive, archive.select(), 2.6) == []
    assert radar_days(archive, archive.select(), 0.01) == [101 * DAY, 102 * DAY]
