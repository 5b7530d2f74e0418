import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.learning.archive_sampler import WINDOW, ArchiveSampler, MixedSampler
from agents.learning.augmentation import Variation
from hko7env.archive import Archive, create
from hko7env.archive.format import minutes
from hko7env.schedule import INPUTS, schedule, valid_starts
from hko7env.scores import scored
from hko7env.split_view import SplitView


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return ninety_archive


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
        levels = batch.frames[0, INPUTS - 1]
        return weights[levels][scored(levels, batch.scored[0])].sum()

    one, many = (ArchiveSampler(view, range(1), crop=30, stride=30, candidates=draws) for draws in (1, 400))
    most = max(weight(one.batch(step)) for step in range(400))
    assert weight(many.batch(0)) == pytest.approx(most)
    assert weight(one.batch(0)) < most
    for a, b in zip(many.batch(0), many.batch(0), strict=True):
        np.testing.assert_array_equal(a, b)
    place = next(place for place in (many._draw(np.random.default_rng(k)) for k in range(400)) if many._weight(place))
    view.times = view.times[view.times != place.slots[INPUTS - 1]]
    assert many._weight(place) == 0, "a frame of another split is missing here too"
    with pytest.raises(ValueError, match="rain_candidates must be at least 1, got 0"):
        ArchiveSampler(view, range(1), candidates=0)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """60 x 75 px every 5 minutes, all rows of a frame alike, and a mask of one row."""
    path = tmp_path_factory.mktemp("archives") / "other.zarr"
    mask = np.ones((60, 75), np.uint8)
    mask[7] = 0
    made = create(str(path), shape=(60, 75), cadence=5, mask=mask, splits={"train": [("2020-01-01", "2020-01-02")]})
    frames = np.broadcast_to((np.arange(55) + 101).astype(np.uint8)[:, None, None], (55, 60, 75))
    made.append(minutes("2020-01-01") + 5 * np.arange(55), frames)
    return path


def samplers(*paths, **options):
    views = [SplitView(Archive(str(path)), "train") for path in paths]
    return [ArchiveSampler(view, range(4), **{"crop": 30, "stride": 30, **options}) for view in views]


def test_archives_are_drawn_by_share_each_with_its_mask_cadence_and_size(archive, other):
    each = samplers(archive, other)
    source = MixedSampler(each, [3.0, 1.0], range(4), seed=1)
    counts = [0, 0]
    for step in range(100):
        batch = source.batch(step)
        for frames, present, static in zip(*batch, strict=True):
            index = int(frames[0].min() > 100)  # no frame of the other archive is without echo
            counts[index] += 1
            if index:
                levels = frames[0, 0, 0] + np.arange(WINDOW)  # the last two frames may be missing
                assert (frames == (levels * present)[:, None, None]).all(), "every frame, 5 min apart"
                assert static.sum() in (0, 30)
            else:
                assert static.sum() > 30
    assert counts[1] == pytest.approx(100, abs=4 * np.sqrt(400 * 0.25 * 0.75))
    half = MixedSampler(each, [3.0, 1.0], range(2, 4), seed=1)
    for a, b in zip(source.batch(9), half.batch(9), strict=True):
        np.testing.assert_array_equal(a[2:], b, "a row depends on seed, step and row alone")
    with pytest.raises(ValueError, match=r"differ in size \(.* 90 x 90 px, .* 60 x 75 px\): choose a crop"):
        MixedSampler(samplers(archive, other, crop=None, stride=15), [1, 1], range(1))


def test_varied_windows_are_those_of_the_archive_turned_replaced_and_at_times_every_second_frame(
    archive, other, monkeypatch
):
    plain, varied = (samplers(other, varied=varied)[0] for varied in (False, True))
    for a, b in zip(plain.batch(0), samplers(other)[0].batch(0), strict=True):
        np.testing.assert_array_equal(a, b)
    table = np.arange(256, dtype=np.uint8)[::-1]
    monkeypatch.setattr(
        "agents.learning.archive_sampler.draw_variation",
        lambda random: Variation(table, int(random.integers(2)), False),
    )
    steps, turned = [], []
    for step in range(60):
        for frames, present, static in zip(*varied.batch(step), strict=True):
            first = 255 - int(frames[0, 0, 0])
            steps.append(255 - int(frames[1, 0, 0]) - first)
            levels = (first + steps[-1] * np.arange(WINDOW)) * present
            assert (frames == 255 - levels[:, None, None]).all()
            if static.any():
                turned.append(bool(static.all(axis=0).any()))
    assert set(steps) == {1, 2}
    assert 0.05 < np.mean(np.array(steps) == 2) < 0.3
    assert set(turned) == {True, False}, "the mask is turned with the frames"
    with pytest.raises(ValueError, match=r"other.zarr has 60 x 75 px: choose a crop"):
        samplers(other, varied=True, crop=None, stride=15)


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
