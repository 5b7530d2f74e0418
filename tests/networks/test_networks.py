import copy
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from agents.benchmarks.plain_trajgru import plain
from agents.networks import warp as warping
from agents.networks.encoder_forecaster import add_coordinates, apply_dynamic_filters
from agents.networks.paper_tables import PRINTED, TABLES, Row, is_recurrent, narrow_table
from agents.networks.recurrent import ConvGRU, TrajGRU
from agents.networks.registry import make_network
from agents.networks.warp import aggregate, warp

COUNTS = {
    "mnist convgru K3D2": 2_604_817,
    "mnist convgru K5D1": 4_767_505,
    "mnist convgru K7D1": 8_011_537,
    "mnist trajgru L5": 2_842_157,
    "mnist trajgru L9": 3_421_277,
    "mnist trajgru L13": 4_000_397,
    "mnist trajgru L17": 4_579_517,
    "mnist dfn": 4_825_648,
    "mnist conv2d": 59_061_250,
    "mnist conv3d": 66_081_921,
    "hko7 convgru": 13_649_081,
    "hko7 trajgru": 12_150_053,
    "hko7 conv2d": 59_588_990,
    "hko7 conv3d": 66_422_569,
}


pytestmark = pytest.mark.usefixtures("one_thread")


def random(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).mul(scale).to(dtype)


def frames_of(name):
    return (10, 10) if name.startswith("mnist") else (5, 20)


def small(name, widths=None, seed=0, **options):
    """A narrow network of the rows ``name``, and two sequences (2, J + K, H, W) on a grid that it can train on."""
    table = TABLES[name]
    table = narrow_table(table, widths or ((4, 6, 8, 10) if is_recurrent(table) else (2,)))
    inputs, leads = frames_of(name)
    size = (16 if is_recurrent(table) else 32) if name.startswith("mnist") else (60 if is_recurrent(table) else 120)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    waves = [torch.sin((x + s * t) / 4).mul(torch.cos((y - t) / 5)) for s in (1, 2) for t in range(inputs + leads)]
    sequences = torch.stack(waves).view(2, inputs + leads, size, size) / 2 + 0.5
    return make_network(table, inputs, leads, seed=seed, **options), sequences


def stir(net, scale=0.3):
    """Give the flow generators something to say."""
    for i, module in enumerate(m for m in net.modules() if isinstance(m, TrajGRU)):
        module.flow.weight.data = random(*module.flow.weight.shape, seed=i, scale=scale, dtype=torch.float32)
    return net


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    net = make_network(TABLES[name], *frames_of(name), device="meta")
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name]
    assert sum(p.numel() for part in net.parts() for p in part) == COUNTS[name]


def test_parameter_counts_of_cnns_that_have_another_row_or_width():
    """Table 13 as printed; the base of the released options for MovingMNIST++, where Table 8 prints 128."""
    for table, frames, count in (
        (PRINTED["hko7 conv2d"], (5, 20), 57_386_062),
        (narrow_table(TABLES["mnist conv3d"], (70,)), (10, 10), 19_768_631),
    ):
        assert sum(p.numel() for p in make_network(table, *frames, device="meta").parameters()) == count


def test_counts_of_encoder_and_forecaster():
    net = make_network(TABLES["hko7 convgru"], 5, 20, device="meta")
    assert [sum(p.numel() for p in part) for part in net.parts()] == [6_715_432, 6_933_649]


# The links


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
    state = random(2, 3, 6, 5).contiguous(memory_format=memory)
    flow, weight, bias = random(2, 4, 2, 6, 5, seed=1, scale=scale), random(7, 12, 1, 1, seed=2), random(7, seed=3)
    given = random(2, 7, 6, 5, seed=4)

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
    state, weight, bias = random(1, 2, 4, 4), random(3, 4, 1, 1, seed=2), random(3, seed=3)
    flow = random(1, 2, 2, 4, 4, seed=1)
    assert torch.autograd.gradcheck(aggregate, [t.requires_grad_() for t in (state, flow, weight, bias)])


def test_sampling_on_other_devices_has_the_same_backward_pass(monkeypatch):
    state, flow, given = random(2, 3, 6, 5), random(2, 4, 2, 6, 5, seed=1, scale=2), random(2, 12, 6, 5, seed=2)
    gathered = warping._gather_backward(given, state, *warping._corners(flow))
    for ours, theirs in zip(gathered, warping._sample_backward(given, state, flow), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_flow_that_is_no_number_looks_outside():
    flow = torch.full((1, 1, 2, 4, 4), math.nan)
    assert not warping._gather(torch.ones(1, 2, 4, 4), *warping._corners(flow)).any()


# The cells: identities, and a restatement one link at a time


def row(kind, state, channels=(3, 4), dilation=1):
    return Row("ernn", 3, 1, 1, state, dilation, *channels, 8, 8, kind)


def cell(kind, state, seed=0, **options):
    made = kind(row("", state), **options).double()
    for i, parameter in enumerate(made.parameters()):
        parameter.data = random(*parameter.shape, seed=100 * seed + i, scale=0.3)
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
    x = random(6, 3, 9, 7).contiguous(memory_format=memory).requires_grad_() if has_input else None
    state = random(2, 4, 9, 7, seed=1).contiguous(memory_format=memory).requires_grad_()
    inputs = [state, *layer.parameters(), *([x] if has_input else [])]
    names = ["state", *(name for name, _ in layer.named_parameters()), "x"]
    got = layer(x, state, 3)
    expected, h = [], state
    for t in range(3):
        h = slow_trajgru(dict(layer.named_parameters()), x[2 * t : 2 * t + 2] if has_input else None, h, 5)
        expected.append(h)
    given = random(3, 2, 4, 9, 7, seed=2)
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
    x, state = random(4, 3, 6, 8), random(2, 4, 6, 8, seed=1)
    torch.testing.assert_close(traj(x, state, 2), conv(x, state, 2), rtol=1e-9, atol=1e-9)


def test_without_flow_all_links_are_one():
    conv, traj = cell(ConvGRU, 1), cell(TrajGRU, 5)
    traj.i2h.load_state_dict(conv.i2h.state_dict())
    traj.flow.weight.data.zero_()
    traj.flow.bias.data.zero_()
    conv.h2h.weight.data = traj.h2h.weight.data.view(12, 5, 4, 1, 1).sum(1)
    conv.h2h.bias.data = traj.h2h.bias.data
    x, state = random(4, 3, 6, 8), random(2, 4, 6, 8, seed=1)
    torch.testing.assert_close(traj(x, state, 2), conv(x, state, 2), rtol=1e-9, atol=1e-9)


def test_warp_commutes_with_a_projection():
    state, flow, weight = random(1, 4, 6, 5), random(1, 3, 2, 6, 5, seed=1), random(7, 4, 1, 1, seed=2)
    projected = torch.stack([F.conv2d(link, weight) for link in warp(state, flow).unbind(1)], 1)
    torch.testing.assert_close(projected, warp(F.conv2d(state, weight), flow), rtol=1e-9, atol=1e-9)


def test_flow_is_generated_from_input_and_state_at_once():
    layer = cell(TrajGRU, 5)
    x, state = random(1, 3, 6, 5), random(1, 4, 6, 5, seed=1)
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
    state = random(2, 4, 6, 5, seed=1)
    torch.testing.assert_close(top(None, state, 3), fed(torch.zeros(6, 3, 6, 5).double(), state, 3))


def test_convgru_dilates_its_state_kernel():
    wide, dilated = cell(ConvGRU, 5), ConvGRU(row("", 3, dilation=2)).double()
    dilated.load_state_dict({**wide.state_dict(), "h2h.weight": random(12, 4, 3, 3)})
    wide.h2h.weight.data.zero_()
    wide.h2h.weight.data[:, :, ::2, ::2] = dilated.h2h.weight.data
    x, state = random(4, 3, 6, 8), random(2, 4, 6, 8, seed=1)
    torch.testing.assert_close(dilated(x, state, 2), wide(x, state, 2))


@pytest.mark.parametrize("kind, links", [(ConvGRU, 3), (TrajGRU, 2)])
def test_a_prolonged_state_fades_by_the_update_gate_alone(kind, links):
    made = kind(row("", links), has_input=False)
    for parameter in made.parameters():
        torch.nn.init.zeros_(parameter)
    made.set_update_gate_bias(2.0)
    state = random(1, 4, 5, 5).float()
    kept = 1 / (1 + math.exp(-2))
    for k, after in enumerate(made(None, state, 3), 1):
        torch.testing.assert_close(after, state * kept**k)


@pytest.mark.parametrize("links", [1, 5, 9, 13, 17])
def test_spread_links_fill_a_disc_evenly(links):
    made = TrajGRU(row("", links))
    made.initialise_links(1.5)
    flow = made.generate_flow(None, random(2, 4, 6, 8).float())
    assert (flow == flow[:1, :, :, :1, :1]).all()
    places = flow[0, :, :, 0, 0]
    torch.testing.assert_close(places.norm(dim=1), 1.5 * torch.arange(links).sqrt())
    assert (torch.pdist(places) > 1.49).all()


# The networks


@pytest.mark.parametrize("name", COUNTS)
def test_shapes_and_gradients_reach_every_parameter(name):
    net, sequences = small(name)
    stir(net)
    inputs, leads = frames_of(name)
    forecast = net(sequences[:, :inputs])
    assert forecast.shape == (2, leads, *sequences.shape[2:])
    assert forecast.dtype == torch.float32
    F.mse_loss(forecast, sequences[:, inputs:], reduction="sum").backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name


def test_at_first_the_flow_is_nothing_but_its_last_layer_learns():
    net, sequences = small("hko7 trajgru")
    F.mse_loss(net(sequences[:, :5]), sequences[:, 5:], reduction="sum").backward()
    for module in (m for m in net.modules() if isinstance(m, TrajGRU)):
        assert not module.flow.weight.any()
        assert not module.flow.bias.any()
        assert module.h2f.weight.any()
        assert module.flow.weight.grad.any()
        assert module.flow.bias.grad.any()
        assert not module.h2f.weight.grad.any()  # nothing goes through a layer of zeros


def step_by_step(net, frames):
    """An encoder-forecaster as one would write it down: time outside, layers inside, from the same layers."""
    act, e, f = (lambda t: F.leaky_relu(t, 0.2)), net.encoder, net.forecaster
    states = [None] * 3
    for t in range(frames.shape[1]):
        x = add_coordinates(frames[:, t : t + 1])
        for i, (into, rnn) in enumerate((("econv1", "ernn1"), ("edown1", "ernn2"), ("edown2", "ernn3"))):
            x = act(e[into](x))
            before = torch.zeros(len(x), len(e[rnn].h2h.bias) // 3, *x.shape[2:]) if states[i] is None else states[i]
            x = states[i] = e[rnn](x, before, 1)[0]
    forecasts = []
    for _ in range(net.leads):
        top = states[2] = f["frnn1"](None, states[2], 1)[0]
        middle = states[1] = f["frnn2"](act(f["fup1"](top)), states[1], 1)[0]
        fine = states[0] = f["frnn3"](act(f["fup2"](middle)), states[0], 1)[0]
        forecasts.append(f["fconv5"](act(f["fdeconv4b"](act(f["fdeconv4"](fine)))))[:, 0])
    return torch.stack(forecasts, 1)


@pytest.mark.parametrize("name", ["hko7 convgru", "hko7 trajgru"])
def test_layer_by_layer_equals_step_by_step(name):
    net, sequences = small(name)
    stir(net)
    frames = sequences[:, :5]
    with torch.no_grad():
        torch.testing.assert_close(net(frames), step_by_step(net, frames), rtol=1e-4, atol=1e-5)


def test_the_benchmark_measures_against_the_same_network():
    net, sequences = small("hko7 trajgru")
    stir(net)
    with torch.no_grad():
        torch.testing.assert_close(plain(net)(sequences[:, :5]), net(sequences[:, :5]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hko7 trajgru", "mnist dfn", "hko7 convgru"])
def test_sequences_and_leads_do_not_mix(name):
    net, sequences = small(name)
    stir(net).eval()
    inputs, _ = frames_of(name)
    with torch.no_grad():
        both = net(sequences[:, :inputs])
        torch.testing.assert_close(both[1:], net(sequences[1:, :inputs]), rtol=1e-4, atol=1e-5)
        net.leads = 2
        torch.testing.assert_close(both[:, :2], net(sequences[:, :inputs]), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(both, both.flip(0), atol=1e-3)


def test_coordinates_are_aligned_to_the_corners():
    x = add_coordinates(random(2, 3, 4, 5, dtype=torch.float32))
    assert x.shape == (6, 4, 4, 5)
    torch.testing.assert_close(x[:, 0].view(3, 2, 4, 5).transpose(0, 1), random(2, 3, 4, 5, dtype=torch.float32))
    torch.testing.assert_close(x[3, 1, 2], torch.tensor([-1, -0.5, 0, 0.5, 1]))
    torch.testing.assert_close(x[3, 2, :, 2], torch.tensor([-1, -1 / 3, 1 / 3, 1]))
    assert (x[:, 3] == 1).all()


def test_dynamic_filters_look_at_their_window():
    frame = random(2, 6, 7, dtype=torch.float32)
    logits = torch.full((4, 9, 6, 7), -100.0)  # two leads
    logits[:2, 3] = 100  # row 1, column 0 of the window: the neighbour on the left
    logits[2:, 7] = 100  # row 2, column 1: the one below
    ahead = apply_dynamic_filters(frame, logits).view(2, 2, 6, 7)
    torch.testing.assert_close(ahead[0], F.pad(frame, (1, 0))[..., :-1])
    torch.testing.assert_close(ahead[1], F.pad(ahead[0], (0, 0, 0, 1))[:, 1:])


@pytest.mark.parametrize("name", ["hko7 trajgru", "hko7 convgru", "mnist dfn", "hko7 conv2d", "mnist conv3d"])
def test_bf16_stays_near_float32(name):
    net, sequences = small(name)
    stir(net, 0.05).eval()  # trained on two sequences, batch normalisation would magnify what differs
    inputs, _ = frames_of(name)
    low = copy.deepcopy(net)
    low.low_precision = True
    results = []
    for each in (net, low):
        forecast = each(sequences[:, :inputs])
        assert forecast.dtype == torch.float32
        forecast.square().sum().backward()
        results.append((forecast.detach(), torch.cat([p.grad.flatten() for p in each.parameters()])))
    (exact, exact_gradient), (rough, rough_gradient) = results
    assert 0 < torch.dist(rough, exact) < 0.02 * exact.norm()
    assert torch.dist(rough_gradient, exact_gradient) < 0.1 * exact_gradient.norm()


@pytest.mark.parametrize("name", ["hko7 trajgru", "hko7 conv2d", "mnist conv3d"])
def test_memory_format_changes_nothing(name):
    net, sequences = small(name)
    stir(net).eval()
    frames = sequences[:, : frames_of(name)[0]]
    with torch.no_grad():
        expected = net(frames)
        strided = frames.contiguous(memory_format=torch.channels_last)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        torch.testing.assert_close(net(strided), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mnist trajgru L5", "hko7 conv3d"])
def test_a_seed_fixes_the_weights_and_leaves_the_global_state_alone(name):
    before = torch.get_rng_state()
    one, again, other = (small(name, seed=seed)[0] for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), again.state_dict().values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_weights_have_the_spread_of_the_released_code():
    gain = 2 / (1 + 0.2**2)
    recurrent = make_network(TABLES["mnist trajgru L5"], 10, 10)
    expected = {
        "encoder.ernn2.i2h.weight": (96 + 288) * 9,
        "encoder.ernn2.h2h.weight": 5 * 96 + 288,
        "encoder.ernn2.i2f.weight": (96 + 32) * 25,
        "forecaster.fup1.weight": (96 + 96) * 16,
    }
    for name, fans in expected.items():
        weight = recurrent.get_parameter(name)
        assert weight.std().item() == pytest.approx(math.sqrt(2 * gain / fans), rel=0.02), name
    assert not any(p.any() for name, p in recurrent.named_parameters() if name.endswith("bias"))
    plain = make_network(narrow_table(TABLES["hko7 conv2d"], (8,)), 5, 20)
    assert plain.layers["enc3"].weight.std().item() == pytest.approx(math.sqrt(2 / ((64 + 96) * 16)), rel=0.02)
    assert (plain.norms["enc3"].weight == 1).all()
    plain.initialise(1)
    assert (plain.norms["enc3"].running_var == 1).all()


def test_a_grid_that_does_not_fit_is_refused_with_the_remedy():
    net, _ = small("hko7 trajgru")
    with pytest.raises(ValueError, match=r"grid of 48 x 64 px .* total stride of 30 px: pad the frames to 60 x 90"):
        net(torch.zeros(1, 5, 48, 64))
    net, _ = small("hko7 conv2d")
    with pytest.raises(ValueError, match=r"grid of 60 x 120 px .* total stride of 120 px"):
        net(torch.zeros(1, 5, 60, 120))
    with pytest.raises(ValueError, match="batch, frame, row, column"):
        net(torch.zeros(5, 120, 120))


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match=r"make 5 -> 20 frames, not 5 -> 10"):
        make_network(TABLES["hko7 conv3d"], 5, 10, device="meta")
    with pytest.raises(ValueError, match="no precision 'fp8', only float32, bf16"):
        make_network(TABLES["hko7 convgru"], 5, 20, precision="fp8", device="meta")
    with pytest.raises(ValueError, match="at least one frame"):
        make_network(TABLES["hko7 convgru"], 5, 0, device="meta")


def test_other_numbers_of_frames():
    assert make_network(narrow_table(TABLES["hko7 conv2d"], (2,)), 3, 7)(torch.rand(2, 3, 120, 240)).shape == (
        2,
        7,
        120,
        240,
    )
    assert make_network(narrow_table(TABLES["hko7 convgru"], (2, 3, 4, 5)), 3, 7)(torch.rand(1, 3, 30, 60)).shape == (
        1,
        7,
        30,
        60,
    )


RECURRENT = ["mnist convgru K3D2", "mnist trajgru L5", "mnist dfn", "hko7 convgru", "hko7 trajgru"]
CONVOLUTIONAL = {"mnist conv2d": (8,), "mnist conv3d": (4,), "hko7 conv2d": (24,), "hko7 conv3d": (4,)}
LEARNED = dict.fromkeys(RECURRENT, (8, 12, 16, 16)) | CONVOLUTIONAL


@pytest.mark.parametrize("name", LEARNED)
def test_a_sequence_can_be_learned_by_heart(name):
    net, sequences = small(name, LEARNED[name])
    inputs, leads = frames_of(name)
    if is_recurrent(TABLES[name]):
        net.leads = leads = 3
        sequences, inputs = sequences[:1], 3
    frames, truth = sequences[:, :inputs], sequences[:, inputs : inputs + leads]
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        error = F.mse_loss(net(frames), truth) / truth.var()
        if error < 0.1:
            return
        error.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    pytest.fail(f"{error:.3f} of the variance is left")
