"""Dropping files into a folder at the pace of a live feed."""

import numpy as np
import pytest

from hko7env.archive.format import minutes
from hko7env.importers import RadarImportError
from hko7env.importers.replaying import replay
from tests.helpers.radar_files import stamp_of, write_fmi

START = minutes("2016-09-28T14:00")


@pytest.fixture
def originals(tmp_path):
    folder = tmp_path / "originals/day"
    folder.mkdir(parents=True)
    for step in (0, 1, 2, 5):
        write_fmi(folder, stamp_of(START + 5 * step), np.full((5, 6), 64 + step, np.uint8))
    return folder.parent


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def dropped(originals, folder, clock=None, **options):
    """Name of each dropped file and the second at which it came."""
    clock = clock or Clock()
    begun = clock()
    replaying = replay("fmi", originals, folder, sleep=clock.sleep, clock=clock, **options)
    return [(path.name[8:12], clock() - begun) for path in replaying]


def test_files_come_with_their_spacing_divided_by_the_speed(originals, tmp_path):
    found = dropped(originals, tmp_path / "drop", speed=60)
    assert found == [("1400", 0), ("1405", 5), ("1410", 10), ("1425", 25)]
    for path in originals.rglob("*.gz"):
        assert (tmp_path / "drop" / path.relative_to(originals)).read_bytes() == path.read_bytes()
    assert sorted(p.name for p in (tmp_path / "drop/day").iterdir()) == sorted(p.name for p in originals.rglob("*.gz"))


def test_time_lost_while_a_file_is_dropped_is_made_up_for(originals, tmp_path):
    clock = Clock()
    replaying = replay("fmi", originals, tmp_path / "drop", speed=60, sleep=clock.sleep, clock=clock)
    next(replaying)
    clock.now += 8
    assert [clock() for _ in replaying] == [108, 110, 125]


def test_a_part_of_the_time(originals, tmp_path):
    found = dropped(originals, tmp_path / "drop", speed=1, begin=START + 5, end=START + 25)
    assert found == [("1405", 0), ("1410", 300)]


def test_a_replay_that_was_stopped_continues(originals, tmp_path):
    clock = Clock()
    replaying = replay("fmi", originals, tmp_path / "drop", speed=60, sleep=clock.sleep, clock=clock)
    for _ in range(2):
        next(replaying)
    replaying.close()
    assert dropped(originals, tmp_path / "drop", speed=60) == [("1410", 0), ("1425", 15)]


@pytest.mark.parametrize(
    "options, message",
    [({"speed": 0}, "speed must be above 0"), ({"begin": START + 100}, "no file under .* check begin and end")],
)
def test_what_cannot_be_replayed_is_named(originals, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        dropped(originals, tmp_path / "drop", **options)
    with pytest.raises(RadarImportError, match="there is no folder"):
        dropped(tmp_path / "nowhere", tmp_path / "drop")
