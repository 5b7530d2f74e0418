import numpy as np
import pytest
import torch

from agents.optical_flow import variational
from agents.optical_flow.segment_motion import departure_points, estimate_motion
from hko7env.testing import task
from tests.helpers.rain import steady


@pytest.mark.parametrize("present", [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 1, 1], [1, 0, 0, 1, 0]])
@pytest.mark.parametrize("drift", [(1.5, 0.0), (-1.0, 2.0)])
def test_motion_is_found_across_missing_frames(present, drift):
    frames = steady(task(112, 128), drift)
    there = np.array(present, bool)
    frames[~there] = 0
    field = estimate_motion(frames, there)[0, 12:-12, 12:-12].mean((0, 1)).numpy()
    np.testing.assert_allclose(field * [64, 56], drift[::-1], atol=0.6)


@pytest.mark.parametrize("present", [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
def test_nothing_moves_without_a_pair(present):
    assert not estimate_motion(torch.rand(5, 32, 32), np.array(present, bool)).any()


def test_places_of_steady_motion_lie_on_a_line():
    field = torch.zeros(1, 10, 12, 2)
    field[..., 0], field[..., 1] = 0.1, -0.05
    places = departure_points(field, 4)
    for step in range(4):
        np.testing.assert_allclose(places[step] - places[0], -step * field[0], atol=1e-6)


@pytest.mark.parametrize("drift", [(5, 8), (-3, 12)])
def test_large_displacements_are_not_underestimated(drift):
    texture = variational.smooth(torch.randn(1, 1, 320, 320, generator=torch.Generator().manual_seed(0)), 8.0)[0, 0]
    texture = (texture / texture.std() * 60).clamp(0, 255)
    frames = torch.stack([texture.roll((drift[0] * k, drift[1] * k), (0, 1))[60:260, 60:260] for k in range(5)])
    field = estimate_motion(frames, np.ones(5, bool))[0, 12:-12, 12:-12].mean((0, 1)).numpy()
    np.testing.assert_allclose(field * 100, drift[::-1], atol=0.2)
