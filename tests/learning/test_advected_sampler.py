import numpy as np
import pytest
import torch

from agents.learning.advected_sampler import LEADS_DRAWN, AdvectedSampler, Windows, count_leads
from agents.optical_flow.segment_advection import SegmentAdvection
from hko7env.archive import Archive
from hko7env.scores import scored
from hko7env.split_view import SplitView

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return Archive(str(ninety_archive))


def sampler(archive, rows=range(2), splits=(("train", 1.0),), **options):
    return AdvectedSampler([(SplitView(archive, split), share) for split, share in splits], rows, crop=64, **options)


def test_a_row_depends_on_seed_step_and_row_alone(archive):
    whole, half = sampler(archive, range(4)), sampler(archive, range(2, 4))
    for whole_part, half_part in zip(whole.batch(3), half.batch(3), strict=True):
        np.testing.assert_array_equal(whole_part[2 * LEADS_DRAWN :], half_part)
    again = whole.batch(3)
    for one, other in zip(whole.batch(3), again, strict=True):
        np.testing.assert_array_equal(one, other)
    for different in (whole.batch(4), sampler(archive, range(4), seed=1).batch(3)):
        assert not np.array_equal(different.newest, again.newest)


def test_a_part_is_the_archives_frame_of_its_lead_time(archive):
    batch = sampler(archive, varied=False).batch(0)
    view = SplitView(archive, "train")
    frames = {int(t): frame for t, frame in zip(view.times, archive.at(view.times)[0], strict=True)}
    for index in range(len(batch.newest)):
        lead = round(float(batch.context[index, 5, 0, 0]) * 60 / 6)
        assert index % 3 * 7 - 1 < lead <= index % 3 * 7 + 7, "one lead time of each third"
        found = [
            (start, y, x)
            for start in Windows(view).starts
            for y, x in np.ndindex(7, 7)
            if int(start) + 6 * (4 + lead) in frames
            and np.array_equal(
                frames[int(start) + 6 * (4 + lead)][4 * y : 4 * y + 64, 4 * x : 4 * x + 64], batch.truth[index]
            )
        ]
        assert found
        matches = []
        for start, y, x in found:
            seen, present = view.frames_at(start + 6 * np.arange(5))
            advection = SegmentAdvection(np.stack(seen), present, archive.scored, 6, 20)
            here = (slice(4 * y, 4 * y + 64), slice(4 * x, 4 * x + 64))
            matches.append(torch.equal(advection.at([lead], here).newest[0], batch.newest[index]))
            mask = scored(batch.truth[index], archive.scored[here])
            assert np.array_equal(mask, batch.mask[index])
        assert any(matches)


def test_archives_are_drawn_by_their_shares(archive):
    source = sampler(archive, range(1), (("train", 3.0), ("valid", 1.0)))
    drawn = []
    for index, windows in enumerate(source.windows):
        windows.draw = lambda random, index=index, draw=windows.draw: drawn.append(index) or draw(random)
    for step in range(80):
        source.batch(step)
    assert 10 <= sum(drawn) <= 30


class EveryThirdMissing(SplitView):
    """Frames at minutes that are multiples of 18 are missing."""

    def frames_at(self, slots):
        frames, present = super().frames_at(slots)
        there = present & (slots % 18 != 0)
        return [frame * ok for frame, ok in zip(frames, there, strict=True)], there


def test_missing_truth_is_masked(archive):
    source = AdvectedSampler([(EveryThirdMissing(archive, "train"), 1.0)], range(8), crop=64, varied=False)
    batch = source.batch(0)
    hidden = ~batch.mask.any((1, 2))
    assert 3 <= hidden.sum() <= 16, "a third of 24 or so"
    assert not batch.truth[hidden].any()


def test_long_steps_keep_the_window():
    assert count_leads(1) == 20
    assert count_leads(2) == 8


def test_a_crop_that_does_not_fit_and_an_empty_split_are_named(archive):
    view = SplitView(archive, "train")
    with pytest.raises(ValueError, match="multiple of 16 px, got 50"):
        AdvectedSampler([(view, 1.0)], range(1), crop=50)
    with pytest.raises(ValueError, match="96 px is larger than the frames of"):
        AdvectedSampler([(view, 1.0)], range(1), crop=96)
    with pytest.raises(ValueError, match="no archive"):
        AdvectedSampler([], range(1), crop=64)
