from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hko7env.archive.rainy_days import read_times
from hko7env.live.walk import CausalWalk, Segment
from hko7env.schedule import schedule, valid_starts

FOREVER = 2**60


def walk(times, cadence=6, decided=FOREVER):
    """All segments of a finished archive."""
    one, found = CausalWalk(cadence), []
    while (segment := one.advance(np.asarray(times, np.int64), decided)) is not None:
        found.append(segment)
    return found


@st.composite
def on_grid(draw):
    """Times on a grid of 6 minutes: stretches of frames and gaps of all lengths, and single missing frames."""
    there = []
    for _ in range(draw(st.integers(1, 5))):
        part = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 0]), min_size=1, max_size=70))
        there += [*part, *[0] * draw(st.integers(0, 6))]
    return 600 + 6 * np.flatnonzero([1, *there])


@st.composite
def off_grid(draw):
    steps = draw(st.lists(st.sampled_from([6, 6, 6, 6, 6, 6, 12, 18, 24, 5, 1, 60]), min_size=1, max_size=150))
    return 600 + np.cumsum(steps)


@given(on_grid())
@settings(max_examples=300)
def test_on_one_grid_the_official_sequences_are_those_whose_window_turns_out_valid(times):
    official = schedule(times)
    causal = [s for s in walk(times) if is_valid(set(times.tolist()), s.start)]
    assert [s.start for s in causal] == official.starts.tolist()
    assert [s.new_episode for s in causal] == official.new_episode.tolist()


def is_valid(times, start):
    run = 0
    for slot in range(start, start + 150, 6):
        run = 0 if slot in times else run + 1
        if run > 2:
            return False
    return True


def test_official_windows_by_hand():
    times = 6 * np.arange(60)
    assert [is_valid(set(times.tolist()), t) for t in (35 * 6, 37 * 6, 38 * 6)] == [True, True, False]
    assert valid_starts(times, 6)[-1] == 37 * 6


@given(st.one_of(on_grid(), off_grid()), st.integers(0, 150))
def test_what_comes_later_changes_nothing(times, count):
    seen = times[:count]
    if not len(seen):
        assert walk(seen) == []
        return
    early = walk(seen, decided=int(seen[-1]))
    assert early == walk(times)[: len(early)]


@given(st.one_of(on_grid(), off_grid()), st.data())
def test_frame_by_frame_and_resumed_it_is_the_same(times, data):
    whole = walk(times, decided=int(times[-1]))
    one, found = CausalWalk(6), []
    stops = set(data.draw(st.lists(st.integers(0, len(times)), max_size=4)))
    for n in range(1, len(times) + 1):
        if n in stops and found:
            one = CausalWalk(6)
            one.resume(found[-1])
        while (segment := one.advance(times[:n], int(times[n - 1]))) is not None:
            found.append(segment)
    assert found == whole


@given(st.one_of(on_grid(), off_grid()))
def test_segments_increase_and_continue_their_episode(times):
    found = walk(times)
    there = set(times.tolist())
    for segment in found:
        assert segment.present == tuple(slot in there for slot in segment.slots.tolist())
        assert any(segment.present)
    for before, after in pairwise(found):
        assert after.issue_time > before.issue_time
        if not after.new_episode:
            assert after.start == before.start + 30
    if found:
        assert found[0].new_episode


def test_the_official_walk_looks_ahead_where_phases_overlap():
    """Frames at both phases: the causal walk stays with the first, the official one takes the one that lasts."""
    times = np.unique(np.concatenate([6 * np.arange(40), 6 * np.arange(60) + 3]))
    official, causal = schedule(times), walk(times)
    assert official.starts[official.new_episode].tolist() == [0, 123]
    assert [s.start for s in causal if s.new_episode] == [0, 237]


def test_an_undecided_slot_waits_and_an_overdue_one_is_missing():
    times = np.array([0, 6, 12, 18], np.int64)
    one = CausalWalk(6)
    assert one.advance(times, 18) is None
    assert one.advance(times, 24) == Segment(0, (True, True, True, True, False), True, 6)
    assert one.advance(times, 30) is None  # the run is 2 long and may end
    late = np.append(times, 36)
    assert one.advance(late, 36) is None
    assert one.advance(late, 54) is None, "three slots without a frame end the episode"
    assert one.advance(np.append(late, 60 + 6 * np.arange(5)), 84) == Segment(60, (True,) * 5, True, 6)


def test_frames_before_the_begin_are_not_used():
    times = 6 * np.arange(20)
    assert CausalWalk(6, begin=7).advance(times, 500).start == 12


@pytest.mark.parametrize("gap", [2, 3])
def test_a_gap_of_three_frames_begins_an_episode(gap):
    times = np.concatenate([np.arange(10), np.arange(10 + gap, 40)]) * 6
    assert [s.start for s in walk(times) if s.new_episode] == ([0] if gap == 2 else [0, 78])


def test_the_lists_of_hko7_agree(shared):
    """The official test set has one frame off the grid, 2015-06-21 09:55, and the walks agree there as well."""
    times = np.asarray(read_times(shared / "hko7/index_rainy_test.csv.gz"))
    official = schedule(times)
    assert len(official) == 6053
    causal = {s.start: s.new_episode for s in walk(times)}
    assert [causal.get(start) for start in official.starts.tolist()] == official.new_episode.tolist()
