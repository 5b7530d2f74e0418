"""Ways of learning online beyond Algorithm 1: windows that are not complete, fewer weights, resets, bias by lead."""

import itertools

import numpy as np
import pytest
import torch

from agents.learning.checkpoint import CheckpointError, read, write
from agents.learning.lead_bias import HALF_LIFE, PRIOR, LeadBias
from agents.learning.loss import window_loss
from agents.learning.network_agent import Config, NetworkAgent
from agents.networks.network import Network
from agents.networks.paper_tables import TABLES, narrow_table
from agents.networks.registry import make_network
from hko7env.contract import NonLearningAgent, OptionError
from hko7env.testing import AgentTests, forecast, observation, task

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


class SmallGrid(AgentTests):
    def task(self, height=30, width=24, leads=0):
        """A recurrent network has one location on it at its coarsest level; on the suite's second grid it has four."""
        return super().task(height, width, leads)


class TestAllOfThem(SmallGrid):
    leads = (20, 7)

    def make(self, some):
        return tiny(some, due_leads=True, learn="last", reset=True, lead_bias=True, replay_windows=1)


class TestTheOfficialOrder(SmallGrid):
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
    with pytest.raises(NotImplementedError, match="Network does not say which of its layers are the last"):
        Network((), 5, 20).output_parameters()


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


def test_a_level_becomes_the_one_observed_as_often():
    """By hand: all of a forecast of level 100 verifies as 150, at another lead as 200; a third frame is missing."""
    bias, pixels = LeadBias(SOME), SOME.scored.sum()
    one = bias.correct(np.full((20, 60, 60), 100 / 255, np.float32))
    np.testing.assert_allclose(one, 100 / 255, rtol=1e-6)
    for value, present in ((150, (1, 1, 0, 1, 1)), (200, (1, 1, 1, 1, 1))):
        bias.advance(new_episode=False)
        bias.learn(*segment(value, present))
        bias.correct(np.zeros((20, 60, 60), np.float32))
    decay, share = 0.5 ** (1 / HALF_LIFE), pixels / (pixels + PRIOR)
    wanted = np.zeros((2, 20, 256))
    wanted[0, [0, 1, 3, 4], 100] = wanted[1, [0, 1, 3, 4], 150] = decay * pixels
    wanted[0, :5, 0] = wanted[1, :5, 200] = pixels  # the second forecast has come due for the first five leads
    wanted[0, 5:10, 100] = wanted[1, 5:10, 200] = pixels
    np.testing.assert_allclose(bias.counts, wanted, rtol=1e-12)
    tables = bias.tables()
    assert tables[7, 100] == pytest.approx(100 + share * 100)
    np.testing.assert_array_equal(tables[10:], np.broadcast_to(np.arange(256), (10, 256)))
    assert (np.diff(tables, axis=1) >= 0).all()


def test_a_perfect_forecast_is_left_alone_and_levels_above_all_that_was_forecast_too():
    bias, shown = LeadBias(SOME), stream(6)
    for now, ahead in itertools.pairwise(shown):
        bias.advance(new_episode=False)
        bias.learn(now["frames"], now["present"].astype(bool))
        bias.correct(np.concatenate([ahead["frames"]] * 4) / np.float32(255))
    assert bias.counts[:, 0].sum() > 0
    common = np.flatnonzero(bias.counts[0, 0])
    np.testing.assert_allclose(bias.tables()[0, common], common, atol=1e-6)
    assert (bias.tables()[0, common.max() + 1 :] == np.arange(common.max() + 1, 256)).all()


def test_what_is_not_scored_or_of_another_episode_has_no_part_in_the_bias():
    bias = LeadBias(SOME)
    bias.correct(np.full((20, 60, 60), 0.5, np.float32))
    bias.advance(new_episode=True)
    bias.learn(*segment(255))
    assert not bias.counts.any()
    bias.correct(np.full((20, 60, 60), 0.5, np.float32))
    bias.advance(new_episode=False)
    bias.learn(*segment(40))  # noise
    assert not bias.counts.any()
    bias.advance(new_episode=False)  # nothing was forecast after the last segment
    bias.learn(*segment(255))
    assert not bias.counts.any()


def test_the_bias_of_a_forecast_that_is_half_the_truth_is_found(monkeypatch):
    """With a network that forecasts half of the newest frame, on rain that does not change."""
    agent = tiny(lead_bias=True, online_rate=0.0)
    half = lambda net, forward, frames: np.repeat(frames[-1:] / np.float32(510), 20, axis=0)  # noqa: E731
    monkeypatch.setattr("agents.learning.network_agent.forecast_frames", half)
    monkeypatch.setattr("agents.learning.lead_bias.PRIOR", 100.0)
    shown = stream(12)
    for one in shown:
        one["frames"][:] = shown[0]["frames"][:1]
        ahead = forecast(agent, one)
    truth = shown[0]["frames"][0] / 255
    error = np.abs(ahead - truth)[:, SOME.scored].mean(1)
    assert (error < 0.25 * np.abs(truth / 2)[SOME.scored].mean()).all()


def test_offline_no_bias_is_learned():
    agent = tiny(lead_bias=True)
    offline = NonLearningAgent(agent)
    for one in stream(4):
        forecast(offline, one)
    assert not agent._bias.counts.any()


@pytest.mark.parametrize(
    "change",
    [
        {"bias.counts": torch.full((2, 20, 256), -1.0, dtype=torch.float64)},
        {"bias.counts": torch.full((2, 20, 256), torch.nan, dtype=torch.float64)},
        {"bias.counts": torch.ones(2, 19, 256, dtype=torch.float64)},
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
    assert not other._bias.counts.any()
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
