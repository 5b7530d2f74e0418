import copy
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from agents.benchmarks.plain_trajgru import plain
from agents.networks.encoder_forecaster import add_coordinates, apply_dynamic_filters
from agents.networks.paper_tables import PRINTED, TABLES, is_recurrent, narrow_table
from agents.networks.recurrent import TrajGRU
from agents.networks.registry import make_network
from tests.helpers.networks import frames_of, random_tensor, small_network, stir_links

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


@pytest.mark.parametrize("name", COUNTS)
def test_shapes_and_gradients_reach_every_parameter(name):
    net, sequences = small_network(name)
    stir_links(net)
    inputs, leads = frames_of(name)
    forecast = net(sequences[:, :inputs])
    assert forecast.shape == (2, leads, *sequences.shape[2:])
    assert forecast.dtype == torch.float32
    F.mse_loss(forecast, sequences[:, inputs:], reduction="sum").backward()
    for parameter_name, parameter in net.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name


def test_at_first_links_are_0_and_their_last_layer_learns():
    net, sequences = small_network("hko7 trajgru")
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
    net, sequences = small_network(name)
    stir_links(net)
    frames = sequences[:, :5]
    with torch.no_grad():
        torch.testing.assert_close(net(frames), step_by_step(net, frames), rtol=1e-4, atol=1e-5)


def test_the_benchmark_measures_against_the_same_network():
    net, sequences = small_network("hko7 trajgru")
    stir_links(net)
    with torch.no_grad():
        torch.testing.assert_close(plain(net)(sequences[:, :5]), net(sequences[:, :5]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hko7 trajgru", "mnist dfn", "hko7 convgru"])
def test_sequences_and_leads_do_not_mix(name):
    net, sequences = small_network(name)
    stir_links(net).eval()
    inputs, _ = frames_of(name)
    with torch.no_grad():
        both = net(sequences[:, :inputs])
        torch.testing.assert_close(both[1:], net(sequences[1:, :inputs]), rtol=1e-4, atol=1e-5)
        net.leads = 2
        torch.testing.assert_close(both[:, :2], net(sequences[:, :inputs]), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(both, both.flip(0), atol=1e-3)


def test_coordinates_are_aligned_to_the_corners():
    x = add_coordinates(random_tensor(2, 3, 4, 5, dtype=torch.float32))
    assert x.shape == (6, 4, 4, 5)
    torch.testing.assert_close(x[:, 0].view(3, 2, 4, 5).transpose(0, 1), random_tensor(2, 3, 4, 5, dtype=torch.float32))
    torch.testing.assert_close(x[3, 1, 2], torch.tensor([-1, -0.5, 0, 0.5, 1]))
    torch.testing.assert_close(x[3, 2, :, 2], torch.tensor([-1, -1 / 3, 1 / 3, 1]))
    assert (x[:, 3] == 1).all()


def test_dynamic_filters_look_at_their_window():
    frame = random_tensor(2, 6, 7, dtype=torch.float32)
    logits = torch.full((4, 9, 6, 7), -100.0)  # two leads
    logits[:2, 3] = 100  # row 1, column 0 of the window: the neighbour on the left
    logits[2:, 7] = 100  # row 2, column 1: the one below
    ahead = apply_dynamic_filters(frame, logits).view(2, 2, 6, 7)
    torch.testing.assert_close(ahead[0], F.pad(frame, (1, 0))[..., :-1])
    torch.testing.assert_close(ahead[1], F.pad(ahead[0], (0, 0, 0, 1))[:, 1:])


@pytest.mark.parametrize("name", ["hko7 trajgru", "hko7 convgru", "mnist dfn", "hko7 conv2d", "mnist conv3d"])
def test_bf16_stays_near_float32(name):
    net, sequences = small_network(name)
    stir_links(net, 0.05).eval()  # trained on two sequences, batch normalisation would magnify what differs
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
    net, sequences = small_network(name)
    stir_links(net).eval()
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
    one, again, other = (small_network(name, seed=seed)[0] for seed in (3, 3, 4))
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
    net, _ = small_network("hko7 trajgru")
    with pytest.raises(ValueError, match=r"grid of 48 x 64 px .* total stride of 30 px: pad the frames to 60 x 90"):
        net(torch.zeros(1, 5, 48, 64))
    net, _ = small_network("hko7 conv2d")
    with pytest.raises(ValueError, match=r"grid of 60 x 120 px .* total stride of 120 px"):
        net(torch.zeros(1, 5, 60, 120))
    with pytest.raises(ValueError, match="batch, frame, row, column"):
        net(torch.zeros(5, 120, 120))


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match=r"turn 5 frames into 20, not 5 into 10"):
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
CONVOLUTIONAL = {"mnist conv2d": (8,), "mnist conv3d": (4,), "hko7 conv2d": (6,), "hko7 conv3d": (3,)}
LEARNED = dict.fromkeys(RECURRENT, (8, 12, 16, 16)) | CONVOLUTIONAL


@pytest.mark.parametrize("name", LEARNED)
def test_a_sequence_can_be_learned_by_heart(name, monkeypatch):
    """Better than its last frame, or than the mean of two sequences: of the variance 0.3 and 0.5 are left."""
    if name.endswith("conv3d"):  # of one channel in three dimensions: oneDNN has only a slow reference kernel for them
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    net, sequences = small_network(name, LEARNED[name])
    inputs, leads = frames_of(name)
    if is_recurrent(TABLES[name]):
        net.leads = leads = 3
        sequences, inputs = sequences[:1], 3
    frames, truth = sequences[:, :inputs], sequences[:, inputs : inputs + leads]
    simple = frames[:, -1:] if is_recurrent(TABLES[name]) else truth.mean(0)
    bound = 0.8 * (simple - truth).square().mean()
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        error = F.mse_loss(net(frames), truth)
        if error < bound:
            return
        error.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    pytest.fail(f"an error of {error:.3g} is left, not {bound:.3g}")
