import numpy as np
import pytest
import torch

from agents.networks.link_plots import describe_level, draw_levels, list_arrows, record_links, share_outside
from agents.networks.registry import build
from agents.networks.warp import warp
from hko7env.testing import observation, task

SOME = task(60, 90)


def test_an_arrow_ends_where_the_link_reads():
    state = torch.zeros(1, 1, 6, 8)
    state[0, 0, 4, 1] = 1
    flow = torch.tensor([2.0, -1.0]).reshape(1, 1, 2, 1, 1).expand(1, 1, 2, 6, 8)
    sampled = warp(state, flow)[0, 0, 0]
    arrows = list_arrows(flow[0].numpy(), 8)
    assert [(x1, y1) for x0, y0, x1, y1, _ in arrows if sampled[int(y0), int(x0)] > 0.99] == [(1, 4)]


def test_a_link_is_outside_where_it_reads_nothing():
    flow = np.random.default_rng(0).normal(0, 6, (3, 2, 5, 7)).astype(np.float32)
    sampled = warp(torch.ones(1, 1, 5, 7), torch.from_numpy(flow)[None])
    assert share_outside(flow) == pytest.approx(float((sampled == 0).float().mean()))
    assert 0 < share_outside(flow) < 1


def test_links_of_all_steps_are_recorded_and_the_forecast_is_the_networks():
    net = build("trajgru", "small", SOME).train(False)
    net.initialise_links(1.5)
    frames = torch.from_numpy(observation(SOME)["frames"])[None] / 255
    forecast, flows = record_links(net, frames)
    with torch.no_grad():
        assert torch.equal(forecast, net(frames))
    assert [flow.shape[0] for flow in flows.values()] == [5, 5, 5, 20, 20, 20]
    for flow in flows.values():
        distance = np.hypot(*np.moveaxis(flow[0, 0, :, :, 0, 0], 1, 0))
        np.testing.assert_allclose(distance, 1.5 * np.sqrt(np.arange(5)), rtol=1e-5)


def test_a_network_without_links_has_none():
    _, flows = record_links(build("convgru", "small", SOME), torch.zeros(1, 5, 60, 90))
    assert flows == {}


def test_levels_are_drawn_side_by_side():
    flow = np.zeros((2, 2, 5, 10), np.float32)
    flow[0, 0] = 3
    assert describe_level("ernn1", flow) == "ernn1: 5 x 10, 2 links, 15% outside the map"  # half of 3 of 10 columns
    one = draw_levels({"a": flow}, np.zeros((20, 40), np.uint8), 5)
    two = draw_levels({"a": flow, "b": flow}, np.zeros((20, 40), np.uint8), 5)
    assert two.size == (2 * one.width, one.height)
    assert len(one.getcolors(100_000)) > 3
