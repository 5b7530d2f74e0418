"""The calibrated flow: what it learns, counted by hand, and what it makes of odd or bad input."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

import hko7env
from agents.calibrated_flow import Config, make
from agents.calibration.decisions import choose_thresholds
from agents.calibration.features import BINS
from agents.learning.checkpoint import CheckpointError
from hko7env.contract import OptionError
from hko7env.runner import run
from hko7env.testing import AgentTests, forecast, observation, task
from tests.helpers.rain import steady


class TestCalibratedFlow(AgentTests):
    def make(self, task):
        return make(task, Config())


class TestBalancedErrors(AgentTests):
    def make(self, task):
        return make(task, Config(aim="mae", half_life=3.0))


def uniform(some, level, step):
    one = observation(some, step=step, new_episode=step == 0)
    one["frames"][:] = level
    return one


@pytest.mark.parametrize("half_life, kept", [(60.0, 4), (0.0, 0)])
def test_forecasts_are_kept_until_they_are_verified_only(half_life, kept):
    some = task(32, 48)
    agent = make(some, Config(half_life=half_life))
    for step in range(8):
        forecast(agent, uniform(some, 120, step))
    assert len(agent._issued) <= kept + 1
    assert bool(agent._issued) == bool(half_life)


def test_what_came_true_is_counted_to_the_cell():
    some = replace(task(32, 48), scored=np.ones((32, 48), bool))
    agent = make(some, Config())
    levels = [150, 150, 120, 120]
    for step, level in enumerate(levels[:3]):
        agent.store(uniform(some, level, step))
        agent.update()
        bins = agent.features.bins(agent._issued.frames, agent._issued.present, some.leads).verified()
        assert len(np.unique(bins)) == 5, "uniform rain, one bin of each event"
        if step == 0:
            wet = bins[0, :, 0, 0]
        agent.predict()
    cells = 8 * 12
    faded = np.float32(0.5 ** (1 / 60))
    wanted = np.zeros((20, BINS, 6), np.float32)
    wanted[0:5, wet, 3] = cells  # the first forecast, leads 1 to 5: 150 is 5 to 10 mm/h
    wanted *= faded
    wanted[0:5, wet, 2] += cells  # the second forecast: 120 is 2 to 5 mm/h
    wanted[5:10, wet, 2] += cells  # the first forecast, leads 6 to 10
    np.testing.assert_allclose(agent._counts, wanted, rtol=1e-6)
    missing = uniform(some, levels[3], 3)
    missing["present"][:] = 0
    missing["frames"][:] = 0
    agent.store(missing)
    agent.update()
    np.testing.assert_allclose(agent._counts, wanted * faded, rtol=1e-6, err_msg="missing truth was counted")


def test_thresholds_suit_the_forecasts_so_far(monkeypatch):
    some = replace(task(32, 48), scored=np.ones((32, 48), bool))
    agent = make(some, Config(occurrence_weight=2.0, half_life=30.0))
    asked = []
    monkeypatch.setattr(
        "agents.calibrated_flow.choose_thresholds",
        lambda chances, occurrence: asked.append(occurrence) or choose_thresholds(chances, occurrence),
    )
    cells, faded, wanted = 8 * 12, np.float32(0.5 ** (1 / 30)), 2 * agent._prior_occurrence
    earlier = np.zeros_like(wanted)
    for step, level in enumerate([150, 120, 0]):
        forecast(agent, uniform(some, level, step))
        agent.predict()  # once more, which counts nothing twice
        bins = agent.features.bins(agent._issued.frames, agent._issued.present, some.leads).verified()
        newest = np.zeros_like(wanted)
        newest[:, np.unique(bins)] = cells
        for occurrence in asked:
            np.testing.assert_allclose(occurrence, wanted + faded * earlier + newest, rtol=1e-6)
        asked.clear()
        earlier = faded * earlier + newest


def test_noise_and_masked_locations_are_not_counted():
    some = task(32, 48)  # a corner is out of range
    agent = make(some, Config())
    for step in range(2):
        one = uniform(some, 150, step)
        one["frames"][:, 20:] = 40  # noise
        forecast(agent, one)
    rows, columns = np.indices((8, 12)) * 4 + 1
    counted = some.scored[rows, columns] & (rows < 20)
    assert agent._counts[0].sum() == 5 * counted.sum(), "once for each event"


def test_learning_follows_the_truth():
    some = task(120, 96)
    agent = make(some, Config(prior_weight=1.0))
    for step in range(20):
        flashing = uniform(some, 150, step)
        flashing["frames"][:4] = 0  # every fifth frame is wet all over, the others are dry
        ahead = forecast(agent, flashing)
        if step == 0:
            assert (ahead.mean((1, 2)) > 0.5).all(), "the prior knows steady rain only"
    np.testing.assert_allclose(ahead.mean((1, 2))[4::5], 150 / 255, atol=0.06)
    wet = agent.features.bins(agent._issued.frames, agent._issued.present, some.leads).verified()[0, :, 0, 0]
    assert (agent._probabilities[:4, wet, 0] > 0.8).all(), "it has always been dry six minutes later"
    assert (agent._probabilities[4, wet, 3] > 0.9).all()


@pytest.mark.parametrize("options", [{"half_life": 0.0}, {}])
def test_offline_uses_the_prior_alone(small_archive, options):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(small_archive))
    agent = make(env.unwrapped.task, Config(**options))
    run(env, agent, options={"stop": 3})
    assert not agent._counts.any()
    online = gymnasium.make("HKO7-Online-v0", archive=str(small_archive))
    agent = make(online.unwrapped.task, Config(**options))
    run(online, agent, options={"stop": 3})
    assert agent._counts.any() == (agent.config.half_life > 0)


def test_a_prior_without_weight_gives_a_forecast():
    some = task(32, 32)
    agent = make(some, Config(prior_weight=0.0, occurrence_weight=0.0))
    for step in range(3):
        assert np.isfinite(forecast(agent, observation(some, step=step, new_episode=step == 0))).all()


def test_memory_is_bounded():
    some = task(32, 32)
    agent = make(some, Config())
    for step in range(12):
        forecast(agent, observation(some, step=step, new_episode=step == 0))
    assert len(agent._issued) <= some.leads // some.inputs + 1


@pytest.mark.parametrize(("height", "width"), [(7, 9), (33, 50), (64, 40)])
@pytest.mark.parametrize("cadence", [2, 15])
def test_any_grid_and_cadence(height, width, cadence):
    some = task(height, width, leads=9, cadence=cadence)
    for step in range(3):
        ahead = forecast(make(some, Config()), observation(some, step=step, new_episode=step == 0))
    assert ahead.shape == (9, height, width)
    assert np.isfinite(ahead).all()


def test_moving_rain_is_forecast_where_it_goes():
    some = replace(task(112, 128), scored=np.ones((112, 128), bool))
    frames = steady(some, (1.5, -1.0), 15).numpy().astype(np.uint8)
    one = observation(some)
    one["frames"] = frames[:5]
    csi = {}
    for name in ("agents.last_frame", "agents.calibrated_flow"):
        wet, truth = forecast(hko7env.load(name, some), one)[:10] >= 84 / 255, frames[5:] >= 84
        csi[name] = (wet & truth).sum() / (wet | truth).sum()
    assert csi["agents.calibrated_flow"] > csi["agents.last_frame"] + 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"aim": "csl"}, "csi, mse, mae"), ({"half_life": -1.0}, "half_life"), ({"prior_weight": np.inf}, "prior_weight")],
)
def test_options_are_checked(options, message):
    with pytest.raises(OptionError, match=message):
        make(task(32, 32), Config(**options))


def test_a_checkpoint_of_another_task_is_refused(tmp_path):
    agent = make(task(32, 32), Config())
    forecast(agent, observation(task(32, 32)))
    agent.save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="start the run anew"):
        make(task(32, 48), Config()).restore(tmp_path / "a")
