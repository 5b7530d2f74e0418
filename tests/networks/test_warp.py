import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from agents.networks import warp as warping
from agents.networks.warp import aggregate, warp
from tests.helpers.networks import random_tensor

pytestmark = pytest.mark.usefixtures("one_thread")


def flow_to(*places, shape):
    """A flow that is the same everywhere: link l looks at p + places[l], (dy, dx)."""
    flow = torch.tensor([[-dx, -dy] for dy, dx in places], dtype=torch.float64)
    return flow[None, :, :, None, None].expand(*shape[:1], -1, -1, *shape[-2:]).contiguous()


def test_warp_by_hand():
    state = torch.arange(12.0, dtype=torch.float64).view(1, 1, 3, 4)
    seen = warp(state, flow_to((0, 0), (0, 1), (1, 0), (0.5, -0.25), (9, 9), shape=(1, 3, 4)))[0, :, 0]
    torch.testing.assert_close(seen[0], state[0, 0])
    torch.testing.assert_close(seen[1], F.pad(state[0, 0], (0, 1))[:, 1:])
    torch.testing.assert_close(seen[2], F.pad(state[0, 0], (0, 0, 0, 1))[1:])
    assert seen[3, 1, 2] == pytest.approx(0.5 * (0.75 * 6 + 0.25 * 5) + 0.5 * (0.75 * 10 + 0.25 * 9))
    assert seen[3, 2, 0] == pytest.approx(0.5 * 0.75 * 8)  # three corners are outside: each is 0
    assert not seen[4].any()


@pytest.mark.parametrize("scale", [0.0, 0.6, 4.0, 1e12])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_gathering_rows_equals_grid_sample(scale, memory):
    state = random_tensor(2, 3, 6, 5).contiguous(memory_format=memory)
    flow, weight, bias = (
        random_tensor(2, 4, 2, 6, 5, seed=1, scale=scale),
        random_tensor(7, 12, 1, 1, seed=2),
        random_tensor(7, seed=3),
    )
    given = random_tensor(2, 7, 6, 5, seed=4)

    def plain(state, flow, weight, bias):
        return F.conv2d(warp(state, flow).flatten(1, 2), weight, bias)

    results = []
    for way in (aggregate, plain):
        inputs = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (state, flow, weight, bias)]
        result = way(*inputs)
        results.append([result, *torch.autograd.grad(result, inputs, given)])
    names = ("value", "by state", "by flow", "by weight", "by bias")
    for name, ours, theirs in zip(names, *results, strict=True):
        if scale > 0 or name != "by flow":  # exactly on a location the slope is one-sided: below, or at, the rounding
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_gradients_are_those_of_the_values():
    state, weight, bias = random_tensor(1, 2, 4, 4), random_tensor(3, 4, 1, 1, seed=2), random_tensor(3, seed=3)
    flow = random_tensor(1, 2, 2, 4, 4, seed=1)
    assert torch.autograd.gradcheck(aggregate, [t.requires_grad_() for t in (state, flow, weight, bias)])


def test_sampling_on_other_devices_has_the_same_backward_pass(monkeypatch):
    state, flow, given = (
        random_tensor(2, 3, 6, 5),
        random_tensor(2, 4, 2, 6, 5, seed=1, scale=2),
        random_tensor(2, 12, 6, 5, seed=2),
    )
    gathered = warping._gather_backward(given, state, *warping._corners(flow))
    for ours, theirs in zip(gathered, warping._sample_backward(given, state, flow), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_flow_that_is_no_number_looks_outside():
    flow = torch.full((1, 1, 2, 4, 4), math.nan)
    assert not warping._gather(torch.ones(1, 2, 4, 4), *warping._corners(flow)).any()
