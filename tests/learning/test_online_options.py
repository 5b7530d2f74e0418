"""Ways of learning online beyond Algorithm 1: windows that are not complete, fewer weights, resets, bias by lead."""

import numpy as np
import pytest
import torch

from agents.learning.checkpoint import CheckpointError, read, write
from agents.learning.lead_bias import HALF_LIFE, LARGEST_GAIN, PRIOR, LeadBias
from agents.learning.loss import window_loss
from agents.learning.network_agent import Config, NetworkAgent
from agents.networks.flow_net import build_flow_net
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import make_network
from hko7env.contract import NonLearningAgent, OptionError
from hko7env.scores import scored
from hko7env.testing import AgentTests, forecast, observation, task
from hko7env.units import HKO7

pytestmark = pytest.mark.usefixtures("one_thread")

SOME = task(60, 60)
TINY = narrow_table(TABLES["hko7 convgru"], (2, 2, 3, 3))


def tiny(some=SOME, table=TINY, **options):
    net = make_network(table, some.inputs, some.leads, seed=3)
    return NetworkAgent(some, net, Config(**{"online_rate": 1e-2, **options}))


def stream(steps, some=SOME, episodes=(0,)):
    return [observation(some, 0, step, new_episode=step in episodes) for step in range(steps)]


def show(agent, *observations):
    for one in observations:
        agent.store(one)
        agent.update()


def weights(agent):
    return {name: p.detach().clone() for name, p in agent.net.named_parameters()}


def changed(before, agent):
    return {name for name, p in agent.net.named_parameters() if not torch.equal(before[name], p)}


class TestAllOfThem(AgentTests):
    leads = (20, 7)

    def make(self, some):
        return tiny(some, due_leads=True, learn="last", reset=True, lead_bias=True, replay_windows=1)


class TestTheOfficialOrder(AgentTests):
    leads = (7,)

    def make(self, some):
        return tiny(some, due_leads=True, lead_bias=True, order="official")


# ---------------------------------------------------------------- windows whose later leads are not there


def test_leads_that_are_due_are_learned_from_before_a_window_is_complete():
    """The gradient is that of all windows of the newest frames: 10 to 25 frames, 5 to 20 leads."""
    shown = stream(6)
    agent, batches = tiny(due_leads=True), []
    compute = agent._loss_and_gradients
    agent._loss_and_gradients = lambda batch: batches.append([part.clone() for part in batch]) or compute(batch)
    show(agent, *shown)
    assert [len(frames) for frames, _ in batches] == [1, 2, 3, 4, 4]
    frames, present = batches[-1]
    wanted = np.concatenate([one["frames"] for one in shown])
    for row, known in enumerate((25, 20, 15, 10)):
        np.testing.assert_array_equal(frames[row, :known], wanted[-known:])
        assert not frames[row, known:].any()
        assert present[row].tolist() == [True] * known + [False] * (25 - known)


def test_leads_that_are_not_due_have_no_part_in_the_loss():
    net, static = make_network(TINY, 5, 20, seed=3), torch.from_numpy(SOME.scored)
    frames = torch.from_numpy(np.concatenate([one["frames"] for one in stream(5)]))[None]
    present = torch.arange(25)[None] < 10
    whole = window_loss(net, net, frames, present, static, SOME)
    short = window_loss(net, net, torch.where(present[..., None, None], frames, 0), present, static, SOME)
    first = window_loss(net, lambda seen: net(seen)[:, :5], frames[:, :10], present[:, :10], static, SOME)
    assert whole == short
    assert whole.item() == pytest.approx(first.item() * 5 / 20, rel=1e-5), "the mean is over all 20 leads"


def test_windows_that_are_due_never_reach_into_another_episode():
    agent = tiny(due_leads=True, replay_windows=3)
    show(agent, *stream(7, episodes=(0, 6)))
    assert agent._due is None
    assert agent._steps == 5
    agent.store(observation(SOME, 0, 7, new_episode=False))
    assert [segment.episode for segment in agent._due] == [2, 2]


# ---------------------------------------------------------------- the last layers alone


@pytest.mark.parametrize(
    "name, widths, some, learned",
    [
        ("hko7 convgru", (2, 2, 3, 3), SOME, ("fdeconv4", "fdeconv4b", "fconv5")),
        ("hko7 conv2d", (2,), task(120, 120), ("vid5", "vid6", "vid7")),
    ],
)
def test_a_corrector_learns_the_last_layers_alone(name, widths, some, learned):
    table = narrow_table(TABLES[name], widths)
    agent, whole = (tiny(some, table, learn=learn) for learn in ("last", "all"))
    rows = {row.name for row in table}
    before = weights(agent)
    show(agent, *stream(5, some))
    found = changed(before, agent)
    assert found
    assert {part.split(".")[1] for part in found} == rows & set(learned)
    show(whole, *stream(5, some))
    assert found < changed(before, whole)
    for key in found:  # the first step of AdaGrad on unclipped gradients is the same
        torch.testing.assert_close(agent.net.get_parameter(key), whole.net.get_parameter(key), rtol=1e-4, atol=1e-6)


def test_a_network_that_names_no_last_layers_is_refused():
    with pytest.raises(NotImplementedError, match="FlowNet does not say which of its layers are the last"):
        build_flow_net(HKO7).output_parameters()


# ---------------------------------------------------------------- reset


@pytest.mark.parametrize("order", ["paper", "official"])
def test_a_reset_gives_the_first_forecasts_of_a_new_agent(order):
    options = {"reset": True, "lead_bias": True, "order": order}
    used, fresh, kept = tiny(**options), tiny(**options), tiny(order=order)
    before = weights(used)
    show(used, *stream(6))
    show(kept, *stream(6))
    assert changed(before, used)
    again = [observation(SOME, 2, step, new_episode=step == 0) for step in range(6)]
    for one in again:
        np.testing.assert_array_equal(forecast(used, one), forecast(fresh, one))
    assert changed(weights(fresh), used) == set()
    show(kept, *again)
    assert changed(weights(fresh), kept), "without the option weights are kept"


def test_a_reset_after_a_checkpoint_goes_back_to_the_trained_weights(tmp_path):
    agent, before = tiny(reset=True), weights(tiny())
    show(agent, *stream(6))
    agent.save(tmp_path / "checkpoint")
    resumed = tiny(reset=True)
    resumed.restore(tmp_path / "checkpoint")
    assert changed(before, resumed)
    resumed.store(stream(1)[0])
    assert not changed(before, resumed)


# ---------------------------------------------------------------- bias by lead


def segment(value, present=(1, 1, 1, 1, 1)):
    frames = np.full((5, 60, 60), value, np.uint8) * np.array(present, np.uint8)[:, None, None]
    return frames, np.array(present, bool)


def test_the_gain_is_the_weighted_slope_of_truth_on_forecast():
    """By hand: one forecast of level 100, of which five leads come due at each of two segments, one frame missing."""
    bias = LeadBias(SOME)
    one = bias.correct(np.full((20, 60, 60), 100 / 255, np.float32))
    np.testing.assert_allclose(one, 100 / 255, rtol=1e-6)
    pixels, decay = SOME.scored.sum(), 0.5 ** (1 / HALF_LIFE)
    wanted = np.full((2, 20), PRIOR)
    for first, value, present in ((0, 150, (1, 1, 0, 1, 1)), (5, 200, (1, 1, 1, 1, 1))):
        frames, there = segment(value, present)
        bias.advance(new_episode=False)
        bias.learn(frames, there)
        weight = HKO7.weights[value] * pixels
        for lead in first + np.flatnonzero(there):
            wanted[0, lead] = wanted[0, lead] * decay + weight * (100 / 255) * (value / 255)
            wanted[1, lead] = wanted[1, lead] * decay + weight * (100 / 255) ** 2
        bias.correct(np.zeros((20, 60, 60), np.float32))
        if first == 0:
            assert len(bias.issued) == 1
    # the second forecast, of zeros, has come due for the first five leads: its sums are forgotten a little
    there = np.ones(5, bool)
    wanted[:, :5][:, there] *= decay
    np.testing.assert_allclose(bias.sums, wanted, rtol=1e-6)
    np.testing.assert_allclose(bias.gains, np.clip(wanted[0] / wanted[1], 1 / LARGEST_GAIN, LARGEST_GAIN))
    assert (bias.gains[10:] == 1).all()


def test_what_is_not_scored_or_of_another_episode_has_no_part_in_the_bias():
    bias = LeadBias(SOME)
    bias.correct(np.full((20, 60, 60), 0.5, np.float32))
    bias.advance(new_episode=True)
    bias.learn(*segment(255))
    assert (bias.sums == PRIOR).all()
    bias.correct(np.full((20, 60, 60), 0.5, np.float32))
    bias.advance(new_episode=False)
    assert not scored(np.uint8(40), True)
    bias.learn(*segment(40))
    assert np.array_equal(bias.sums[0], bias.sums[1])
    assert (bias.gains == 1).all()
    bias.advance(new_episode=False)  # nothing was forecast after the last segment
    bias.learn(*segment(255))
    assert (bias.gains == 1).all()


def test_the_bias_of_a_forecast_that_is_half_the_truth_is_found():
    """With a network that forecasts half of the newest frame, on rain that does not change."""
    some = task(60, 60)
    agent = tiny(some, lead_bias=True, learn="last", online_rate=0.0)
    agent._forward = lambda pixels: (
        (pixels[:, -1:] / 2).expand(-1, 20, -1, -1) + 0 * next(iter(agent._learned.values())).sum()
    )
    shown = stream(12, some)
    for one in shown:
        one["frames"][:] = shown[0]["frames"][:1]
        ahead = forecast(agent, one)
    truth = shown[0]["frames"][0] / 255
    error = np.abs(ahead - truth)[:, some.scored].mean(1)
    half = np.abs(truth / 2)[some.scored].mean()
    assert error[0] < 0.1 * half
    assert (error < half).all()
    assert agent._bias.gains[0] == pytest.approx(2, rel=0.1)


def test_offline_no_bias_is_learned():
    agent = tiny(lead_bias=True)
    offline = NonLearningAgent(agent)
    for one in stream(4):
        forecast(offline, one)
    assert (agent._bias.gains == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        {"bias.sums": torch.zeros(2, 20, dtype=torch.float64)},
        {"bias.sums": torch.ones(2, 19, dtype=torch.float64)},
        {"bias.forecasts": torch.zeros(2, 20, 30, 60, dtype=torch.uint8)},
        {"bias.forecasts": torch.zeros(9, 20, 60, 60, dtype=torch.uint8)},
        {"bias.forecasts": torch.zeros(0, 20, 60, 60, dtype=torch.uint8)},
        {"bias.current": None},
        {"bias.current": torch.ones(2)},
    ],
)
def test_a_damaged_state_of_the_bias_is_named_and_changes_nothing(tmp_path, change):
    agent = tiny(lead_bias=True)
    for one in stream(3):
        forecast(agent, one)
    path = tmp_path / "checkpoint"
    agent.save(path)
    tensors, metadata = read(path)
    write(path, {k: v for k, v in (tensors | change).items() if v is not None}, metadata)
    other = tiny(lead_bias=True)
    with pytest.raises(CheckpointError, match="holds stored forecasts that cannot be read"):
        other.restore(path)
    assert (other._bias.sums == PRIOR).all()
    assert not other.buffer.segments


def test_a_checkpoint_of_other_ways_to_learn_is_refused(tmp_path):
    for name, options in (("all", {}), ("bias", {"lead_bias": True}), ("last", {"learn": "last"})):
        agent = tiny(**options)
        show(agent, *stream(2))
        agent.save(tmp_path / name)
    with pytest.raises(CheckpointError, match="unverified None"):
        tiny(lead_bias=True).restore(tmp_path / "all")
    with pytest.raises(CheckpointError, match="also has"):
        tiny(learn="last").restore(tmp_path / "all")
    with pytest.raises(CheckpointError, match="lacks"):
        tiny().restore(tmp_path / "last")
    with pytest.raises(OptionError, match="learn is one of all, last, got 'first'"):
        Config(learn="first")
