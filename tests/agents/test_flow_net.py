"""The network that starts from the flow: what it counts and learns, what it saves, and bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.calibration.reliability import EVENTS, STEP
from agents.flow_net import Config, make
from agents.learning import checkpoint
from agents.learning.checkpoint import CheckpointError
from hko7env.contract import OptionError
from hko7env.testing import AgentTests, forecast, observation, task
from hko7env.units import ZR
from tests.helpers.flow_net import calibrated_weights
from tests.helpers.rain import steady

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return calibrated_weights(tmp_path_factory.mktemp("weights") / "flow_net.safetensors")


class TestFlowNet(AgentTests):
    @pytest.fixture(autouse=True)
    def _weights(self, weights):
        self.weights = weights

    def task(self, height=32, width=24, leads=0):
        return super().task(height, width, leads)

    def make(self, task):
        return make(task, Config(checkpoint=self.weights))


class TestLastLayer(TestFlowNet):
    def make(self, task):
        return make(task, Config(checkpoint=self.weights, online_rate=1e-3, half_life=3.0))


class TestBalancedErrors(TestFlowNet):
    def make(self, task):
        return make(task, Config(checkpoint=self.weights, aim="mse", half_life=0, online_rate=0.0))


def stream(some, steps):
    """Rain that moves, five frames a step."""
    frames = np.rint(steady(some, (0.0, 1.0), 5 * steps).numpy()).astype(np.uint8)
    for step in range(steps):
        one = observation(some, step=step, new_episode=step == 0)
        one["frames"] = frames[5 * step : 5 * step + 5]
        yield one


def test_truth_is_counted_once_when_it_is_seen(weights):
    some = replace(task(64, 96), scored=np.ones((64, 96), bool))
    agent = make(some, Config(checkpoint=weights, half_life=1e9, online_rate=0.0))
    cells = 64 // STEP * (96 // STEP)
    for step, one in enumerate(stream(some, 6)):
        one["frames"][:] = 0  # no noise, which is not counted
        forecast(agent, one)
        due = [max(step - lead // 5, 0) for lead in range(20)]
        np.testing.assert_allclose(agent._counts.sum((1, 2, 3)), np.array(due) * cells * EVENTS, rtol=1e-4)
    assert len(agent._issued) == 5


def test_odds_follow_what_came_true(weights):
    some = task(64, 96)
    rates = {}
    for level in (0, 150):
        agent = make(some, Config(checkpoint=weights, prior_weight=0.01, online_rate=0.0))
        for one in stream(some, 6):
            one["frames"][:] = level
            forecast(agent, one)
        rates[level] = agent._odds[:5, :3].numpy()
    assert (rates[150] < rates[0]).all(), "rain everywhere makes less certain events worth forecasting"


def test_only_the_last_layer_learns(weights):
    some = task(64, 96)
    agent, fixed = (make(some, Config(checkpoint=weights, online_rate=rate)) for rate in (1e-3, 0.0))
    before = {name: value.clone() for name, value in agent.net.state_dict().items()}
    for one in stream(some, 6):
        both = [forecast(each, one) for each in (agent, fixed)]
    changed = {name for name, value in agent.net.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}
    assert not np.array_equal(*both)
    assert all(torch.equal(value, before[name]) for name, value in fixed.net.state_dict().items())


def test_learning_lowers_the_error_of_what_is_learned(weights):
    some = task(64, 96)
    agent = make(some, Config(checkpoint=weights, online_rate=1e-4))
    windows = list(stream(some, 5))
    frames, present = np.concatenate([one["frames"] for one in windows]), np.ones(25, bool)

    def error():
        agent._last_layer.steps = 0  # the same lead times each time
        return agent._last_layer.learn(frames, present)

    errors = [error() for _ in range(8)]
    assert errors[-1] < errors[0]


def test_missing_truth_teaches_nothing(weights):
    some = task(64, 96)
    agent = make(some, Config(checkpoint=weights, online_rate=1e-3))
    for one in stream(some, 6):
        one["present"][:] = 0
        one["frames"][:] = 0
        forecast(agent, one)
    assert not agent._counts.any()
    assert torch.equal(agent.net.head.weight, make(some, Config(checkpoint=weights)).net.head.weight)


@pytest.mark.parametrize("cadence", [5, 10])
def test_other_cadences_are_told_to_the_network(weights, cadence):
    some = task(64, 96, cadence=cadence)
    agent = make(some, Config(checkpoint=weights))
    for one in stream(some, 2):
        found = forecast(agent, one)
    assert found.shape == (20, 64, 96)


def test_weights_that_cannot_serve_are_refused_with_the_remedy(weights, tmp_path):
    some = task(64, 96)
    tensors, metadata = checkpoint.read(weights)
    bare = tmp_path / "bare.safetensors"
    checkpoint.write(bare, checkpoint.named("net", checkpoint.under("net", tensors)), metadata)
    with pytest.raises(OptionError, match=r"bare\.safetensors is not calibrated: hko7env calibrate --network"):
        make(some, Config(checkpoint=bare))
    narrow = tmp_path / "narrow.safetensors"
    checkpoint.write(narrow, tensors | {"counts": torch.zeros(20, 5, 3, 2)}, metadata)
    with pytest.raises(CheckpointError, match="counts of another form"):
        make(some, Config(checkpoint=narrow))
    with pytest.raises(CheckpointError, match="zr"):
        make(replace(some, zr=ZR(200.0, 1.6)), Config(checkpoint=weights))
    with pytest.raises(CheckpointError, match="inputs"):
        make(replace(some, inputs=4), Config(checkpoint=weights))
    with pytest.raises(OptionError, match=r"nowhere\.safetensors"):
        make(some, Config(checkpoint=tmp_path / "nowhere.safetensors"))
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(OptionError, match="damaged"):
        make(some, Config(checkpoint=damaged))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"aim": "mae"}, "aim is one of csi, mse, got 'mae'"),
        ({"half_life": -1.0}, "half_life must be at least 0 and finite"),
        ({"online_rate": float("nan")}, "online_rate must be at least 0 and finite"),
        ({"precision": "int8"}, "precision is one of float32, bf16"),
    ],
)
def test_an_option_out_of_range_is_named(option, message):
    with pytest.raises(OptionError, match=message):
        Config(**option)


def test_a_state_of_another_grid_is_refused_and_nothing_changes(weights, tmp_path):
    some, other = task(64, 96), task(64, 80)
    agent = make(other, Config(checkpoint=weights))
    agent.save(tmp_path / "other")
    mine = make(some, Config(checkpoint=weights))
    for one in stream(some, 2):
        expected = forecast(mine, one)
    with pytest.raises(CheckpointError, match="was not saved by this agent for this grid"):
        mine.restore(tmp_path / "other")
    np.testing.assert_array_equal(mine.predict(), expected)
