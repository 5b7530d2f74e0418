import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.learning.archive_sampler import MIDDLE, WINDOW, ArchiveSampler
from hko7env.archive import Archive
from hko7env.schedule import schedule, valid_starts
from hko7env.scores import scored
from hko7env.split_view import SplitView
from tests.helpers.training import ninety_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return ninety_archive(tmp_path_factory.mktemp("archives"))


@given(st.lists(st.booleans(), min_size=1, max_size=120))
@settings(max_examples=60)
def test_windows_begin_where_a_walk_from_there_would(there):
    times = 6 * np.flatnonzero(there).astype(np.int64)
    for t in times:
        onward = schedule(times[times >= t])
        first = len(onward) > 0 and onward.starts[0] == t
        assert (t in valid_starts(times, 6)) == first


def test_windows_are_the_archives_frames_at_aligned_corners(archive):
    opened = Archive(str(archive))
    view = SplitView(opened, "train")
    source = ArchiveSampler(view, range(3), seed=1, crop=60, stride=30)
    frames, present, static = source.batch(4)
    assert frames.shape == (3, WINDOW, 60, 60)
    assert frames.dtype == np.uint8
    corners = set()
    times = opened.select("train")
    whole = dict(zip(times, opened.at(times)[0], strict=True))
    for b, (y, x) in itertools.product(range(3), itertools.product((0, 30), repeat=2)):
        for start in source.starts:
            slots = start + 6 * np.arange(WINDOW)
            here = [whole[t][y : y + 60, x : x + 60] if t in whole else np.zeros((60, 60)) for t in slots]
            if np.array_equal(frames[b], here):
                assert np.array_equal(present[b], [t in whole for t in slots])
                assert np.array_equal(static[b], opened.scored[y : y + 60, x : x + 60])
                corners.add((b, y, x))
    assert {b for b, _, _ in corners} == {0, 1, 2}


def test_a_row_depends_on_seed_step_and_row_alone(archive):
    opened = Archive(str(archive))
    view = SplitView(opened, "train")
    whole = ArchiveSampler(view, range(4), seed=1, stride=30)
    half = ArchiveSampler(view, range(2, 4), seed=1, stride=30)
    other = ArchiveSampler(view, range(4), seed=2, stride=30)
    for a, b in zip(whole.batch(9), half.batch(9), strict=True):
        np.testing.assert_array_equal(a[2:], b)
    np.testing.assert_array_equal(whole.batch(9).frames, whole.batch(9).frames)
    assert not np.array_equal(whole.batch(9).frames, whole.batch(8).frames)
    assert not np.array_equal(whole.batch(9).frames, other.batch(9).frames)


def test_all_windows_and_corners_are_drawn(archive):
    source = ArchiveSampler(SplitView(Archive(str(archive)), "train"), range(1), crop=30, stride=30)
    assert len(source.starts) == 8 + 5, "of the three missing together, at either end, no more than two"
    seen = {source.batch(step).frames.tobytes() for step in range(600)}
    assert len(seen) > 0.8 * 13 * 9


def test_of_many_windows_drawn_the_one_of_most_rain_is_taken(archive):
    opened = Archive(str(archive))
    view = SplitView(opened, "train")
    weights = np.array(opened.zr.weights)

    def weight(batch):
        levels = batch.frames[0, MIDDLE]
        return weights[levels][scored(levels, batch.scored[0])].sum()

    one, many = (ArchiveSampler(view, range(1), crop=30, stride=30, candidates=draws) for draws in (1, 400))
    most = max(weight(one.batch(step)) for step in range(400))
    assert weight(many.batch(0)) == pytest.approx(most)
    assert weight(one.batch(0)) < most
    for a, b in zip(many.batch(0), many.batch(0), strict=True):
        np.testing.assert_array_equal(a, b)
    place = next(place for place in (many._draw(np.random.default_rng(k)) for k in range(400)) if many._weight(place))
    view.times = view.times[view.times != place[0] + opened.cadence * MIDDLE]
    assert many._weight(place) == 0, "a frame of another split is missing here too"
    with pytest.raises(ValueError, match="rain_candidates must be at least 1, got 0"):
        ArchiveSampler(view, range(1), candidates=0)


def test_what_windows_cannot_be_had_is_said(archive):
    opened = Archive(str(archive))
    view = SplitView(opened, "train")
    with pytest.raises(ValueError, match="smaller than the network's total stride of 120 px"):
        ArchiveSampler(view, range(1), stride=120)
    with pytest.raises(ValueError, match="choose a crop of 64"):
        ArchiveSampler(view, range(1), stride=32)
    with pytest.raises(ValueError, match="multiple of 30 px, the total stride of the network, and at most 90, got 45"):
        ArchiveSampler(view, range(1), crop=45, stride=30)
    with pytest.raises(ValueError, match="at most 90, got 120"):
        ArchiveSampler(view, range(1), crop=120, stride=30)
