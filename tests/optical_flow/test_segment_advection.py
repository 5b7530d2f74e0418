import numpy as np
import pytest
import torch

from agents.optical_flow.segment_advection import GRID, SegmentAdvection
from hko7env.testing import task
from tests.helpers.rain import steady

SEEN = np.ones((112, 128), bool)


def moving(drift, steps=11):
    return np.rint(steady(task(112, 128), drift, steps).numpy()).astype(np.uint8)


def advect(frames, present=None, static=SEEN, **options):
    present = np.ones(len(frames), bool) if present is None else np.array(present, bool)
    return SegmentAdvection(frames, present, static, 6, 10, **options)


def keep_echo(frames):
    return np.where(frames >= 71, frames, 0)  # what is not noise


@pytest.mark.parametrize("drift", [(1.5, 0.0), (-1.0, 2.0)])
def test_all_frames_arrive_where_the_echo_will_be(drift):
    frames = moving(drift)
    advected = advect(frames[:5]).at([1, 3, 6])
    for index, lead in enumerate([1, 3, 6]):
        truth = keep_echo(frames[4 + lead])[20:-20, 20:-20] / 255
        still = keep_echo(frames[4])[20:-20, 20:-20] / 255
        error = abs(advected.newest[index, 20:-20, 20:-20].numpy() - truth).mean()
        assert error < 0.4 * abs(still - truth).mean(), "no better than the frame at rest"
        coarse = truth.reshape(36, 2, 44, 2).mean((1, 3))
        for older in advected.context[index, :4, 10:-10, 10:-10].numpy():
            assert abs(older - coarse).mean() < 0.03


def test_the_context_tells_lead_time_cadence_and_where_the_radar_sees():
    static = SEEN.copy()
    static[:, :64] = False
    advection = advect(moving((0.0, 0.0))[:5], static=static, motion=torch.zeros(1, 28, 32, 2))
    context = advection.at([2, 10]).context
    assert context.shape == (2, 7, 56, 64)
    np.testing.assert_array_equal(context[0, 4, 0], np.arange(64) >= 32)
    np.testing.assert_allclose(context[:, 5, 0, 0], [12 / 60, 1.0])
    np.testing.assert_allclose(context[:, 6], 0.1)
    assert not context[:, :4, :, :32].any(), "echo outside the mask"


def test_what_comes_from_outside_the_frame_is_told():
    motion = torch.full((1, 28, 32, 2), 0.25)  # an eighth of the frame a step, to the right and down
    context = advect(moving((0.0, 0.0))[:5], motion=motion).at([4]).context
    assert not context[0, 4, :27].any()
    assert not context[0, 4, :, :31].any()
    assert context[0, 4, 29:, 33:].min() == 1


@pytest.mark.parametrize(
    ("present", "sources"),
    [
        ([1, 1, 1, 1, 1], [0, 1, 2, 3, 4]),
        ([1, 0, 1, 1, 0], [0, 0, 2, 3, 3]),
        ([0, 0, 1, 0, 1], [2, 2, 2, 2, 4]),
        ([0, 0, 1, 0, 0], [2, 2, 2, 2, 2]),
    ],
)
def test_a_missing_frame_is_replaced_by_one_advected_from_another_time(present, sources):
    drift = (0.0, 2.0)
    frames = moving(drift)
    seen = frames[:5] * np.array(present, np.uint8)[:, None, None]
    motion = torch.zeros(1, 28, 32, 2)
    motion[..., 0] = 2.0 * 2 / 128
    advected = advect(seen, present, motion=motion).at([3])
    complete = advect(frames[:5], motion=motion).at([3])
    for channel, source in enumerate(sources[:-1]):
        others = complete.context[0, source] if source < 4 else None
        if others is not None:
            np.testing.assert_allclose(advected.context[0, channel], others, atol=1e-5)
    truth = keep_echo(frames[7])[20:-20, 30:-30] / 255
    assert abs(advected.newest[0, 20:-20, 30:-30].numpy() - truth).mean() < 0.03


def test_no_frame_at_all_is_no_echo():
    advected = advect(np.zeros((5, 112, 128), np.uint8), [0] * 5).at([1])
    assert not advected.newest.any()
    assert not advected.context[:, :4].any()


def test_noise_is_no_echo():
    frames = np.full((5, 112, 128), 70, np.uint8)
    assert not advect(frames).at([1]).newest.any()


def test_a_grid_is_padded_and_a_part_is_the_part_of_the_whole():
    frames = moving((1.0, 1.0))[:5, :101, :123]
    advection = advect(frames, static=SEEN[:101, :123])
    assert advection.shape == (112, 128)
    assert advection.shape[0] % GRID == 0
    whole = advection.at([5])
    part = advection.at([5], (slice(16, 80), slice(32, 112)))
    inner = (0, slice(4, -4), slice(4, -4))  # motion is interpolated between its cells: not beyond the part
    np.testing.assert_allclose(part.newest[inner], whole.newest[0, 20:76, 36:108], atol=0.02)
    assert part.context.shape == (1, 7, 32, 40)
