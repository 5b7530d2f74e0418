import gzip
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hko7env.archive.format import minutes
from hko7env.archive.rainy_days import DAY, LIST_BYTES, radar_days, ranges, read_days, read_times
from hko7env.damage import DamagedFile


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


@pytest.mark.parametrize("read", [read_days, read_times])
def test_damaged_lists_are_named(tmp_path, read):
    """Cut off, flipped, no gzip, not text, 128 MiB behind a small file, empty."""
    text = "time,rain\n" + "".join(f"2015-01-0{d}T00:00,0\n" for d in range(1, 9))
    packed = gzip.compress(text.encode())
    bomb = gzip.compress(b"time,rain\n") + gzip.compress(b"\n" * (LIST_BYTES // 16)) * 32
    flipped = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    for name, data, why in (
        ("a.gz", packed[:-9], "truncated"), ("b.gz", flipped, "CRC"), ("c.gz", text.encode(), "gzip"),
        ("d.gz", bomb, "more than 67108864 bytes"), ("e.txt", b"\xff\xfe2015", "decode"), ("f.txt", b"", "lists no"),
        ("g.gz", gzip.compress(b"time,rain\n"), "lists no"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DamagedFile, match=f"{name}.*{why}"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="gone"):
        read(tmp_path / "gone.csv")
    (tmp_path / "good.gz").write_bytes(packed)
    assert read_times(tmp_path / "good.gz") == [minutes(f"2015-01-0{d}T00:00") for d in range(1, 9)]


@pytest.mark.parametrize("word", ["now", "2015", "2015-01-07", "NaT", "99999999999-01-01T00:00", "2015-02-30T00:00"])
def test_words_that_are_no_times(tmp_path, word):
    with pytest.raises(ValueError, match=rf"days\.txt, line 2: '{word}' is not a time"):
        read_times(listed(tmp_path, f"2015-01-01T00:00\n{word}\n"))


def test_a_list_without_rain_is_no_split(tmp_path):
    with pytest.raises(DamagedFile, match=r"days\.txt lists no rainy day"):
        read_days(listed(tmp_path, "20150101, 0\n20150102, Trace\n"), rainy_only=True)


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
