import numpy as np
import pytest
import torch

from agents.optical_flow.advection import advect


@pytest.mark.parametrize("scheme", ["recursive", "trajectory"])
def test_advection_by_whole_pixels_is_a_shift(scheme):
    frame = torch.zeros(1, 30, 40)
    frame[0, 10, 12] = 1
    motion = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 30, 40).contiguous()
    ahead = advect(frame, motion, 4, scheme=scheme)
    assert ahead.shape == (1, 4, 30, 40)
    for k in range(4):
        expected = torch.zeros(30, 40)
        expected[11 + k, 10 - 2 * k] = 1
        torch.testing.assert_close(ahead[0, k], expected, atol=1e-4, rtol=0)


def test_borders_of_the_two_schemes():
    frame, motion = torch.ones(1, 8, 8), torch.zeros(1, 2, 8, 8)
    motion[:, 1] = 3
    assert (advect(frame, motion, 1)[0, 0, :, :3] < 1e-6).all(), "what comes from outside is 0"
    torch.testing.assert_close(advect(frame, motion, 2, scheme="trajectory"), torch.ones(1, 2, 8, 8))


def test_a_turning_field_is_followed_on_its_circle():
    """A quarter turn in ten steps brings a blob at the right of the centre below it."""
    rows, columns = np.indices((81, 81)) - 40.0
    angle = np.pi / 20
    frame = torch.tensor(np.exp(-(rows**2 + (columns - 20) ** 2) / 18), dtype=torch.float32)[None]
    motion = torch.tensor(np.stack([angle * columns, -angle * rows]), dtype=torch.float32)[None]
    last = advect(frame, motion, 10, scheme="trajectory")[0, -1]
    top = divmod(int(last.argmax()), 81)
    assert np.hypot(top[0] - 60, top[1] - 40) <= 1
    assert last.max() > 0.9, "interpolated once, it keeps its height"


def test_an_unknown_scheme_is_named():
    with pytest.raises(ValueError, match="no advection scheme 'nearest', only recursive, trajectory"):
        advect(torch.zeros(1, 8, 8), torch.zeros(1, 2, 8, 8), 1, scheme="nearest")


@pytest.mark.parametrize("threads", [2, 3, 4, 7])
@pytest.mark.parametrize("batch", [1, 2])
def test_bands_of_a_frame_change_nothing(monkeypatch, threads, batch):
    random = torch.Generator().manual_seed(0)
    frame = torch.rand(batch, 60, 52, generator=random)
    motion = torch.randn(batch, 2, 60, 52, generator=random).mul_(3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    whole = advect(frame, motion, 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert torch.equal(advect(frame, motion, 3), whole)
