import numpy as np
import pytest

from hko7env.schedule import schedule
from hko7env.scores import scored, tally
from hko7env.split_view import ALL, SplitView

SPLITS = {"early": [("1970-01-01T00:00", "1970-01-01T03:30")], "late": [("1970-01-01T03:30", "1971-01-01")]}


@pytest.fixture
def archive(new_archive):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, (4, 8), np.uint8)
    times = 6 * np.delete(np.arange(70), [10, 33])
    return new_archive(times, rng.integers(1, 256, (68, 4, 8), np.uint8), splits=SPLITS, mask=mask)


@pytest.mark.parametrize("split, begin, end", [("early", 0, 210), ("late", 210, 420), (ALL, 0, 420)])
def test_a_view_shows_the_frames_of_its_split_only(archive, split, begin, end):
    view = SplitView(archive, split)
    slots = np.arange(-12, 450, 3)
    frames, present = view.frames_at(slots)
    for slot, frame, there in zip(slots, frames, present, strict=True):
        where = np.flatnonzero((archive.times == slot) & (begin <= slot < end))
        assert there == len(where)
        np.testing.assert_array_equal(frame, archive.frames(where[0], where[0] + 1)[0] if there else 0)
    assert view.times.tolist() == [t for t in archive.times if begin <= t < end]
    assert view.schedule.sha256 == schedule(view.times).sha256


def test_a_sequence_is_scored_where_truth_is_present_and_no_noise(archive):
    view = SplitView(archive, "early")
    forecast = np.random.default_rng(1).random((20, 4, 8), np.float32)
    slots = 6 * np.arange(20, 40)  # the second slot of 33 is missing, those from 35 on belong to another split
    truth, present = archive.at(slots)
    mask = [scored(t, archive.scored) & bool(p and s < 210) for t, p, s in zip(truth, present, slots, strict=True)]
    found = view.score(slots, forecast)
    assert found == tally(truth, mask, forecast, zr=archive.zr)
    assert (found.pixels > 0).tolist() == [True] * 13 + [False] + [True] + [False] * 5
    assert [m.any() for m in view.mask_of(truth, present)] == present.tolist()
