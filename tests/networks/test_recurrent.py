import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from agents.networks.paper_tables import Row
from agents.networks.recurrent import ConvGRU, TrajGRU
from agents.networks.warp import warp
from tests.helpers.networks import random_tensor

pytestmark = pytest.mark.usefixtures("one_thread")


def row(kind, state, channels=(3, 4), dilation=1):
    return Row("ernn", 3, 1, 1, state, dilation, *channels, 8, 8, kind)


def cell(kind, state, seed=0, **options):
    made = kind(row("", state), **options).double()
    for i, parameter in enumerate(made.parameters()):
        parameter.data = random_tensor(*parameter.shape, seed=100 * seed + i, scale=0.3)
    return made


def slow_trajgru(parameters, x, state, links):
    """Shi et al. 2017, eq. 3 and the released code, one link at a time, nothing shared with what it checks."""
    p, width = parameters, state.shape[1]
    hidden = F.conv2d(state, p["h2f.weight"], p["h2f.bias"], padding=2)
    if x is not None:
        hidden = hidden + F.conv2d(x, p["i2f.weight"], p["i2f.bias"], padding=2)
    flow = F.conv2d(F.leaky_relu(hidden, 0.2), p["flow.weight"], p["flow.bias"], padding=2)
    h2h = p["h2h.bias"][None, :, None, None]
    for link in range(links):
        grids = []
        height, width_px = flow.shape[-2:]
        for b in range(len(flow)):
            y, x_ = torch.meshgrid(torch.arange(height), torch.arange(width_px), indexing="ij")
            gx = (x_ - flow[b, 2 * link]) / ((width_px - 1) / 2) - 1
            gy = (y - flow[b, 2 * link + 1]) / ((height - 1) / 2) - 1
            grids.append(torch.stack([gx, gy], -1))
        grid = torch.stack(grids)
        seen = F.grid_sample(state, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
        h2h = h2h + F.conv2d(seen, p["h2h.weight"][:, link * width : (link + 1) * width])
    r, z, n = h2h.split(width, 1)
    i_r = i_z = i_n = torch.zeros(())
    if x is not None:
        i_r, i_z, i_n = F.conv2d(x, p["i2h.weight"], p["i2h.bias"], padding=1).split(width, 1)
    reset, update = torch.sigmoid(i_r + r), torch.sigmoid(i_z + z)
    return update * state + (1 - update) * F.leaky_relu(i_n + reset * n, 0.2)


@pytest.mark.parametrize("has_input", [True, False])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_trajgru_equals_its_restatement_link_by_link(has_input, memory):
    layer = cell(TrajGRU, 5, has_input=has_input)
    x = random_tensor(6, 3, 9, 7).contiguous(memory_format=memory).requires_grad_() if has_input else None
    state = random_tensor(2, 4, 9, 7, seed=1).contiguous(memory_format=memory).requires_grad_()
    inputs = [state, *layer.parameters(), *([x] if has_input else [])]
    names = ["state", *(name for name, _ in layer.named_parameters()), "x"]
    got = layer(x, state, 3)
    expected, h = [], state
    for t in range(3):
        h = slow_trajgru(dict(layer.named_parameters()), x[2 * t : 2 * t + 2] if has_input else None, h, 5)
        expected.append(h)
    given = random_tensor(3, 2, 4, 9, 7, seed=2)
    torch.testing.assert_close(torch.stack(got), torch.stack(expected), rtol=1e-9, atol=1e-9)
    ours, theirs = (torch.autograd.grad(torch.stack(each), inputs, given) for each in (got, expected))
    for name, a, b in zip(names, ours, theirs, strict=False):
        assert b.abs().max() > 1e-3, name
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_links_over_a_window_are_a_convgru(kernel):
    reach, window = kernel // 2, kernel**2
    conv, traj = cell(ConvGRU, kernel), cell(TrajGRU, window)
    traj.i2h.load_state_dict(conv.i2h.state_dict())
    traj.h2h.bias.data = conv.h2h.bias.data
    traj.h2h.weight.data = conv.h2h.weight.data.permute(0, 2, 3, 1).reshape(12, window * 4, 1, 1)
    traj.flow.weight.data.zero_()
    places = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    traj.flow.bias.data = torch.tensor([[-dx, -dy] for dy, dx in places], dtype=torch.float64).flatten()
    x, state = random_tensor(4, 3, 6, 8), random_tensor(2, 4, 6, 8, seed=1)
    torch.testing.assert_close(traj(x, state, 2), conv(x, state, 2), rtol=1e-9, atol=1e-9)


def test_without_flow_all_links_are_one():
    conv, traj = cell(ConvGRU, 1), cell(TrajGRU, 5)
    traj.i2h.load_state_dict(conv.i2h.state_dict())
    traj.flow.weight.data.zero_()
    traj.flow.bias.data.zero_()
    conv.h2h.weight.data = traj.h2h.weight.data.view(12, 5, 4, 1, 1).sum(1)
    conv.h2h.bias.data = traj.h2h.bias.data
    x, state = random_tensor(4, 3, 6, 8), random_tensor(2, 4, 6, 8, seed=1)
    torch.testing.assert_close(traj(x, state, 2), conv(x, state, 2), rtol=1e-9, atol=1e-9)


def test_warp_commutes_with_a_projection():
    state, flow, weight = (
        random_tensor(1, 4, 6, 5),
        random_tensor(1, 3, 2, 6, 5, seed=1),
        random_tensor(7, 4, 1, 1, seed=2),
    )
    projected = torch.stack([F.conv2d(link, weight) for link in warp(state, flow).unbind(1)], 1)
    torch.testing.assert_close(projected, warp(F.conv2d(state, weight), flow), rtol=1e-9, atol=1e-9)


def test_flow_is_generated_from_input_and_state_at_once():
    layer = cell(TrajGRU, 5)
    x, state = random_tensor(1, 3, 6, 5), random_tensor(1, 4, 6, 5, seed=1)
    weight = torch.cat([layer.i2f.weight, layer.h2f.weight], 1)
    hidden = F.conv2d(torch.cat([x, state], 1), weight, layer.i2f.bias + layer.h2f.bias, padding=2)
    flow = layer.flow(F.leaky_relu(hidden, 0.2)).view(1, 5, 2, 6, 5)
    torch.testing.assert_close(layer.generate_flow(layer.i2f(x), state), flow, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [ConvGRU, TrajGRU])
def test_no_input_is_an_empty_input_without_biases(kind):
    fed, top = cell(kind, 3), kind(row("", 3), has_input=False).double()
    top.load_state_dict({name: tensor for name, tensor in fed.state_dict().items() if not name.startswith("i2")})
    for name, parameter in fed.named_parameters():
        if name in ("i2h.bias", "i2f.bias"):
            parameter.data.zero_()
    state = random_tensor(2, 4, 6, 5, seed=1)
    torch.testing.assert_close(top(None, state, 3), fed(torch.zeros(6, 3, 6, 5).double(), state, 3))


def test_convgru_dilates_its_state_kernel():
    wide, dilated = cell(ConvGRU, 5), ConvGRU(row("", 3, dilation=2)).double()
    dilated.load_state_dict({**wide.state_dict(), "h2h.weight": random_tensor(12, 4, 3, 3)})
    wide.h2h.weight.data.zero_()
    wide.h2h.weight.data[:, :, ::2, ::2] = dilated.h2h.weight.data
    x, state = random_tensor(4, 3, 6, 8), random_tensor(2, 4, 6, 8, seed=1)
    torch.testing.assert_close(dilated(x, state, 2), wide(x, state, 2))


@pytest.mark.parametrize("kind, links", [(ConvGRU, 3), (TrajGRU, 2)])
def test_the_bias_of_the_update_gate_sets_how_fast_a_state_fades(kind, links):
    made = kind(row("", links), has_input=False)
    for parameter in made.parameters():
        torch.nn.init.zeros_(parameter)
    made.set_update_gate_bias(2.0)
    state = random_tensor(1, 4, 5, 5).float()
    kept = 1 / (1 + math.exp(-2))
    for k, after in enumerate(made(None, state, 3), 1):
        torch.testing.assert_close(after, state * kept**k)


@pytest.mark.parametrize("links", [1, 5, 9, 13, 17])
def test_links_start_on_a_spiral_that_fills_a_disc_evenly(links):
    made = TrajGRU(row("", links))
    made.initialise_links(1.5)
    flow = made.generate_flow(None, random_tensor(2, 4, 6, 8).float())
    assert (flow == flow[:1, :, :, :1, :1]).all()
    places = flow[0, :, :, 0, 0]
    torch.testing.assert_close(places.norm(dim=1), 1.5 * torch.arange(links).sqrt())
    assert (torch.pdist(places) > 1.49).all()
