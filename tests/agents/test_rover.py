import gymnasium
import numpy as np
import pytest
import torch

import hko7env
from agents.benchmarks import plain_rover
from agents.optical_flow.advection import SCHEMES
from agents.rover import Config, Rover, restore, transform
from hko7env.importers import Window, import_radar
from hko7env.loading import load
from hko7env.options import options_of
from hko7env.scores import tally
from hko7env.testing import AgentTests, observation, task
from hko7env.units import level

VARIANTS = [{}, {"nonlinear": False}, {"advection": "trajectory"}, {"newest_pair": True}, {"official_mask": True}]


class TestRover(AgentTests):
    memoryless = True

    def make(self, task):
        return load("agents.rover", task)


class TestRoverLinear(AgentTests):
    memoryless = True

    def make(self, task):
        return load("agents.rover", task, nonlinear=False, advection="trajectory", newest_pair=True)


def test_transform_has_the_published_values():
    levels = np.array([0, 71, 84, 118, 141, 158, 185, 255])
    published = [0, 0.0261, 0.0363, 0.0923, 0.2265, 0.5414, 0.8871, 1]
    np.testing.assert_allclose(transform(levels / 255), published, atol=5e-5)
    every = np.arange(256) / 255
    back = transform(every)
    restore(back, out=back)
    np.testing.assert_allclose(back, every, atol=2e-6)
    assert back[0] == 0


def test_dry_pixels_are_restored_exactly():
    values = np.random.default_rng(0).uniform(-0.2, 1.1, (61, 67)).astype(np.float32)
    values[::3] = 0
    ours, plain = values.copy(), values.copy()
    restore(values, out=ours)
    plain_rover.restore(plain)
    np.testing.assert_array_equal(ours, plain)
    assert not ours[values <= 0].any()


@pytest.mark.parametrize("drift", [(0, 0), (1.5, -3)])
@pytest.mark.parametrize("side", [(120, 136), (97, 131)])
def test_the_forecast_is_that_of_a_plain_rover(drift, side):
    some = task(*side)
    frames = cells(some, drift, 5)
    forecasts = []
    for make in (Rover, plain_rover.PlainRover):
        agent = make(some, Config(device="cpu"))
        agent.store(shown(frames))
        forecasts.append(agent.predict())
    # Sums in products with matrices may have another order on another processor.
    np.testing.assert_allclose(*forecasts, rtol=0, atol=1e-5)
    assert (forecasts[0] > 0).any()


def cells(some, drift, steps, seed=0):
    """(steps, H, W) levels of rain cells moving by ``drift`` px a frame."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((some.height, some.width))
    middle = (some.height / 2, some.width / 2)
    places = [(rng.normal(middle[0], 18), rng.normal(middle[1], 18), rng.uniform(6, 10)) for _ in range(6)]
    frames = []
    for k in range(steps):
        field = sum(
            np.exp(-((rows - r - drift[0] * k) ** 2 + (columns - c - drift[1] * k) ** 2) / (2 * s**2))
            for r, c, s in places
        )
        frames.append(np.where(field > 0.35, np.clip(200 * field, 0, 255), 0).astype(np.uint8))
    return np.stack(frames)


def shown(frames, present=(1, 1, 1, 1, 1)):
    one = observation(task(*frames.shape[1:]))
    there = np.array(present, np.int8)
    one["frames"] = frames[:5] * there[:, None, None].astype(np.uint8)
    one["present"] = there
    return one


def errors(agent, frames, one):
    """Balanced squared error of the first 8 leads."""
    agent.store(one)
    ahead = agent.predict()[:8]
    return tally(
        frames[5:13], np.ones((8, *frames.shape[1:]), bool), np.ascontiguousarray(ahead)
    ).balanced_squared.sum()


BIG = task(120, 136)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("drift", [(2, 0), (0, -3), (-2.5, 2.5), (1, 4)])
def test_moving_rain_is_forecast_better_than_by_its_last_frame(options, drift):
    frames = cells(BIG, drift, 25)
    still = errors(load("agents.last_frame", BIG), frames, shown(frames))
    assert errors(load("agents.rover", BIG, **options), frames, shown(frames)) < 0.4 * still


@pytest.mark.parametrize("options", VARIANTS)
def test_a_still_picture_forecasts_itself(options):
    frames = cells(BIG, (0, 0), 5)
    frames[frames <= 71] = 0
    agent = load("agents.rover", BIG, **options)
    agent.store(shown(frames))
    keep = np.where(BIG.scored, frames[-1], 0)
    for lead in agent.predict():
        np.testing.assert_array_equal(level(lead), keep)


def test_masked_and_noisy_pixels_are_blank():
    frames = np.full((5, 120, 136), 50, np.uint8)
    frames[:, 60:80, 60:80] = 200
    frames[:, :20, :20] = 200  # out of range
    for official, edge in ((False, 71), (True, 0)):
        frames[:, 100, 100] = 71
        agent = load("agents.rover", BIG, official_mask=official)
        agent.store(shown(frames))
        lead = level(agent.predict()[0])
        assert lead[70, 70] == 200
        assert not lead[:20, :20].any()
        assert not lead[30:50].any()
        assert lead[100, 100] == edge


def test_a_missing_last_frame():
    frames = cells(BIG, (0, 3), 25)
    one = shown(frames, present=(1, 1, 1, 1, 0))
    plain = load("agents.rover", BIG)
    plain.store(one)
    assert not plain.predict().any(), "as the released code: the blank frame is carried on"
    still = errors(load("agents.last_frame", BIG), frames, shown(frames))
    assert errors(load("agents.rover", BIG, newest_pair=True), frames, one) < 0.5 * still


@pytest.mark.parametrize("present", [(0, 1, 0, 1, 0), (1, 0, 0, 0, 1), (1, 0, 0, 1, 0)])
def test_the_newest_pair_counts_its_true_distance(present):
    frames = cells(BIG, (0, 1.5), 25)
    still = errors(load("agents.last_frame", BIG), frames, shown(frames))
    assert errors(load("agents.rover", BIG, newest_pair=True), frames, shown(frames, present)) < 0.5 * still


def test_one_frame_alone_stays_where_it_is():
    frames = cells(BIG, (0, 0), 5)
    agent = load("agents.rover", BIG, newest_pair=True)
    agent.store(shown(frames, present=(0, 1, 0, 0, 0)))
    keep = np.where(BIG.scored & (frames[1] > 70), frames[1], 0)
    np.testing.assert_array_equal(level(agent.predict()[-1]), keep)


def test_online_and_offline_give_identical_counts(small_archive):
    tallies = []
    for name in ("HKO7-Online-v0", "HKO7-Offline-v0"):
        env = gymnasium.make(name, archive=str(small_archive))
        tallies.append(hko7env.run(env, load("agents.rover", env.unwrapped.task), options={"stop": 10}))
    assert tallies[0] == tallies[1]


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load("agents.rover", BIG).device.type == "cpu"
    with pytest.raises(ValueError, match="no CUDA device"):
        load("agents.rover", BIG, device="cuda")


def test_options_have_help_and_choices():
    options = {option.name: option for option in options_of(Config)}
    assert options["advection"].choices == tuple(SCHEMES)
    assert options["device"].choices == ("auto", "cpu", "cuda")
    assert all(option.help for option in options.values())


@pytest.mark.slow
@pytest.mark.parametrize("day", ["20160928", "20170509"])
def test_real_rain_is_forecast_better_than_by_its_last_frame(shared, tmp_path, day):
    """Both Finnish events, in B-MSE and in CSI at 0.5, 2 and 5 mm/h, mean over the leads."""
    window = Window(560, 160, 480, 480)
    archive, _ = import_radar("fmi", shared / "fmi" / "pgm" / day, tmp_path / "a.zarr", window=window)
    env = gymnasium.make("HKO7-Offline-v0", archive=archive.name)
    means = [
        hko7env.averages(hko7env.run(env, load(name, env.unwrapped.task)))
        for name in ("agents.last_frame", "agents.rover")
    ]
    assert means[1]["b_mse"] < means[0]["b_mse"]
    assert (means[1]["csi"][:3] > means[0]["csi"][:3]).all()
