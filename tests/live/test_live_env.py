import shutil

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from zarr.storage import MemoryStore

import hko7env
from hko7env.archive import Archive, ArchiveError, create
from hko7env.env import NowcastingEnv
from hko7env.forecast import ForecastError
from hko7env.live.env import LiveEnv
from tests.helpers.growing import Radar, levels


def pass_of(env, agent=None):
    """Observations by first slot, and tallies by first slot, of a pass with forecasts that differ between sequences."""
    seen, tallies, starts = {}, {}, []
    observation, _ = env.reset()
    over = False
    while not over:
        start = int(observation["time"][0])
        starts.append(start)
        seen[start] = observation
        value = np.float32((start // 6 % 97) / 97)
        observation, _, terminated, truncated, _ = env.step(np.full(env.action_space.shape, value, np.float32))
        tallies |= {starts[i]: t for i, t in env.revealed}
        over = terminated or truncated
    tallies |= {starts[i]: t for i, t in env.release()}
    return seen, tallies


@pytest.mark.parametrize("cleaned", [False, True])
def test_on_a_finished_archive_it_is_the_online_environment(small_archive, cleaned):
    """Observation by observation and tally by tally, wherever the official walk has the sequence."""
    official, expected = pass_of(NowcastingEnv(str(small_archive), cleaned=cleaned))
    causal, found = pass_of(LiveEnv(str(small_archive), timeout=0, cleaned=cleaned))
    assert (len(official), len(causal)) == (13, 21)
    for start, observation in official.items():
        for name in ("frames", "present", "time", "new_episode"):
            np.testing.assert_array_equal(causal[start][name], observation[name], err_msg=name)
        assert found[start] == expected[start]


@pytest.mark.filterwarnings("error")
def test_gymnasium_has_nothing_to_complain_of(small_archive):
    env = gymnasium.make("HKO7-Live-v0", archive=str(small_archive), timeout=0, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=True)


def test_the_runner_runs_it(small_archive):
    env = gymnasium.make("HKO7-Live-v0", archive=str(small_archive), timeout=0)
    tally = hko7env.run(env, hko7env.load("agents.last_frame", env.unwrapped.task))
    assert tally.sequences == 21
    assert tally == env.unwrapped.tally


@pytest.fixture
def radar(tmp_path):
    return Radar(tmp_path / "growing.zarr")


def live(radar, **arguments):
    """An environment whose sleep lets the radar go on and whose clock is the radar's."""
    return LiveEnv(radar.store, clock=radar.clock, sleep=radar.sleep, **{"poll": 5.0} | arguments)


def empty(env):
    return np.zeros(env.action_space.shape, np.float32)


def test_any_store_will_do_though_it_is_opened_at_every_look():
    radar = Radar(MemoryStore())
    radar.plan({m: m for m in range(0, 30, 6)})
    radar.run_to(0)
    assert live(radar, poll=100.0).reset()[0]["present"].all()


def test_it_waits_for_each_frame_and_no_longer(radar):
    radar.plan({minute: minute for minute in range(0, 300, 6)})  # arrives at its own minute
    radar.run_to(0)
    env = live(radar)
    observation, info = env.reset()
    assert observation["time"].tolist() == [0, 6, 12, 18, 24]
    assert 24 <= radar.now < 24.1
    assert info == {"sequence": 0, "clock": 24, "revealed": 0}
    for step in range(1, 6):
        observation, reward, terminated, truncated, info = env.step(empty(env))
        assert observation["time"][-1] == 24 + 30 * step
        assert (terminated, truncated) == (False, False)
        assert 24 + 30 * step <= radar.now < 24.1 + 30 * step
        assert info["revealed"] == (1 if step >= 4 else 0)
        assert (reward < 0) == (step >= 4)


def test_a_frame_that_never_comes_is_missing_once_a_later_one_is_there(radar):
    radar.plan({minute: minute for minute in range(0, 60, 6) if minute != 24})
    radar.run_to(0)
    env = live(radar)
    observation, _ = env.reset()
    assert observation["present"].tolist() == [1, 1, 1, 1, 0]
    assert not observation["frames"][4].any()
    assert 30 <= radar.now < 30.1


def test_an_overdue_frame_is_missing_after_the_patience_and_truth_if_it_comes_late(radar):
    radar.plan({m: m for m in range(0, 300, 6) if m != 24} | {24: 29})  # five minutes late, the next one follows
    radar.run_to(0)
    env = live(radar, patience=3)
    observation, _ = env.reset()
    assert observation["present"].tolist() == [1, 1, 1, 1, 0]
    assert 27 <= radar.now < 27.1
    np.testing.assert_array_equal(env.stream.observe(env._segment)["present"], [1, 1, 1, 1, 0])
    radar.run_to(40)
    env.stream.source.refresh()
    assert 24 in env.stream.view.times
    again = env.stream.observe(env._segment)
    assert again["present"].tolist() == [1, 1, 1, 1, 0], "what was issued is not changed by what comes later"
    assert not again["frames"][4].any()


def test_a_suspect_frame_is_missing_at_once(radar):
    radar.plan({m: m for m in range(0, 60, 6)}, suspect={12})
    radar.run_to(0)
    env = live(radar)
    assert env.reset()[0]["present"].tolist() == [1, 1, 0, 1, 1]
    assert radar.now < 24.1


def test_a_gap_begins_an_episode_and_a_pause_within_it_does_not(radar):
    minutes = [*range(0, 60, 6), *range(84, 144, 6), *range(156, 216, 6)]
    radar.plan({m: m for m in minutes})
    radar.run_to(0)
    env = live(radar, timeout=3600)
    starts, over = [], False
    observation, _ = env.reset()
    while not over:
        starts.append((int(observation["time"][0]), observation["new_episode"]))
        observation, _, _, over, _ = env.step(empty(env))
    assert starts == [(0, 1), (30, 0), (84, 1), (114, 0), (144, 0), (174, 0)]


def test_after_a_timeout_it_is_truncated_and_needs_a_reset(radar):
    radar.plan({m: m for m in range(0, 60, 6)})
    radar.run_to(0)
    env = live(radar, timeout=600)
    env.reset()
    env.step(empty(env))
    observation, _, terminated, truncated, _ = env.step(empty(env))
    assert (terminated, truncated) == (False, True)
    assert 54 + 10 <= radar.now < 54 + 10.1
    assert not observation["present"].any()
    assert observation in env.observation_space
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(empty(env))
    assert [i for i, _ in env.release()] == [0, 1]
    assert env.tally.pixels[:5].tolist() == [32] * 5
    assert env.tally.pixels[5:].tolist() == [0] * 15, "what has not come is not scored"
    with pytest.raises(TimeoutError, match="no segment"):
        env.reset(options={"begin": 40})


def test_stop_ends_the_wait(radar):
    radar.plan({m: m for m in range(0, 30, 6)})
    radar.run_to(0)
    env = live(radar)
    env.reset()
    radar.at(60, env.stop)
    _, _, _, truncated, _ = env.step(empty(env))
    assert truncated
    assert 60 <= radar.now < 60.1


def test_a_bad_forecast_changes_nothing(radar):
    radar.plan({m: m for m in range(0, 90, 6)})
    radar.run_to(90)
    env = live(radar, timeout=0)
    env.reset()
    for bad in (empty(env)[:3], empty(env) + np.float32(2), empty(env).astype(float)):
        with pytest.raises(ForecastError):
            env.step(bad)
    assert env.step(empty(env))[4]["sequence"] == 1


def test_polling_backs_off_to_the_longest_wait_and_starts_anew_with_a_frame(radar):
    radar.plan({m: m for m in range(0, 30, 6)})
    radar.run_to(0)
    env = live(radar, poll=2.0)
    env.reset()
    waits = np.array(radar.sleeps)
    assert waits[:8].tolist() == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0]
    assert waits.max() == 2.0
    assert (waits == 0.02).sum() == 4, "once for the wait, and once for each of three frames that did not end it"


def test_an_archive_that_is_exchanged_is_an_error(radar):
    radar.plan({m: m for m in range(0, 30, 6)})
    radar.run_to(24)
    env = live(radar, timeout=60)
    env.reset()
    shutil.rmtree(radar.store)
    create(radar.store, shape=(4, 8), cadence=5).append([0], levels([0]))
    with pytest.raises(ArchiveError, match="another grid, mask, cadence"):
        env.step(empty(env))


def test_what_it_cannot_be_made_of(tmp_path, radar):
    with pytest.raises(FileNotFoundError, match="wait until its writer"):
        LiveEnv(tmp_path / "none.zarr")
    with pytest.raises(ValueError, match="holds no good frame yet"):
        LiveEnv(radar.store)
    radar.plan({0: 0})
    radar.run_to(0)
    with pytest.raises(ValueError, match="no split 'tset'"):
        live(radar, split="tset")
    for name, value in (("patience", -1), ("timeout", float("nan")), ("poll", 0)):
        with pytest.raises(ValueError, match=name):
            live(radar, **{name: value})
    env = live(radar, timeout=0)
    with pytest.raises(ValueError, match="no option 'start'"):
        env.reset(options={"start": 3})
    with pytest.raises(ValueError, match="whole minutes"):
        env.reset(options={"begin": "2020"})
    with pytest.raises(ValueError, match="draws nothing"):
        LiveEnv(radar.store, render_mode="rgb_array")


def test_frames_that_are_removed_from_the_front_are_missing(tmp_path):
    """A writer that keeps the newest frames only replaces the archive by one that begins later."""
    whole = tmp_path / "whole.zarr"
    create(whole, shape=(4, 8)).append(range(0, 300, 6), levels(range(0, 300, 6)))
    env = LiveEnv(whole, timeout=0)
    env.reset()
    whole.rename(tmp_path / "old.zarr")
    create(whole, shape=(4, 8)).append(range(120, 300, 6), levels(range(120, 300, 6)))
    observation, *_ = env.step(empty(env))
    assert (observation["time"][0], observation["new_episode"]) == (120, 1)
    assert Archive(whole).times[0] == 120
