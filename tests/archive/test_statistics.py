import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.archive.clutter import count_archive
from hko7env.archive.format import minutes
from hko7env.archive.hko7_facts import EXCEEDANCE, TABLE_2, TABLE_12
from hko7env.archive.statistics import format_tables, summarise
from hko7env.units import HKO7


@pytest.fixture
def two_months(new_archive):
    """One frame in January, two in June; 20 locations of which 4 are masked and 1 is noise in June."""
    frames = np.zeros((3, 4, 5), np.uint8)
    frames[0, 1] = 84  # 0.506 mm/h
    frames[1:, 1, 0] = 185  # 30.3 mm/h
    frames[1:, 2, 0] = 50
    mask = np.zeros((4, 5), np.uint8)
    mask[0, :4] = 1
    times = [minutes(t) for t in ("2015-01-07T00:00", "2015-06-01T00:00", "2015-06-01T00:06")]
    splits = {"test": [("2015-06-01", "2015-06-02")], "later": [("2099-01-01", "2100-01-01")]}
    return new_archive(times, frames, mask=mask, splits=splits)


def test_shares_and_months_by_hand(two_months):
    summary = summarise(two_months.name, two_months.select())
    assert summary.frames == 3
    # 16 scored in January, 5 of them in the class 0.5 to 2; 15 in each June frame, 1 of them above 30
    np.testing.assert_allclose(summary.shares(HKO7), np.array([11 + 14 + 14, 5, 0, 0, 0, 2]) / 46)
    means = summary.monthly_mean(HKO7)
    assert means[0] == pytest.approx(5 * HKO7.rates[84] / 16)
    assert means[5] == pytest.approx(HKO7.rates[185] / 15)
    assert np.isnan(means[[1, 2, 3, 4, 6, 7, 8, 9, 10, 11]]).all()
    shown = format_tables(two_months, summary)
    for part in (
        "84.78%",
        "90.25%",
        "test  1 days with frames, 2 frames",
        "later  no frames",
        "Jan 0.158",
        "Jun 2.020",
    ):
        assert part in shown


def test_workers_and_a_cluster_give_the_same(small_archive, cluster):
    times = Archive(str(small_archive)).select()
    alone = summarise(str(small_archive), times)
    for spread in ({"workers": 2}, *([{"scheduler": cluster}] if cluster else [])):
        np.testing.assert_array_equal(summarise(str(small_archive), times, **spread).levels, alone.levels)


def test_an_archive_behind_a_url_is_read_as_it_is_named(small_archive):
    times = Archive(str(small_archive)).select()[:20]
    url = small_archive.as_uri()
    np.testing.assert_array_equal(summarise(url, times).levels, summarise(str(small_archive), times).levels)
    np.testing.assert_array_equal(count_archive(url, times).counts, count_archive(str(small_archive), times).counts)


def test_the_papers_tables():
    assert sum(TABLE_2) == pytest.approx(1)
    assert EXCEEDANCE == (0.0975, 0.0537, 0.0291, 0.0156, 0.0042), "exactly: archives depend on it"
    assert sum(days for days, _ in TABLE_12.values()) == 993
