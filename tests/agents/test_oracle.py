"""Oracles: the more is known, the better the forecast."""

import shutil

import numpy as np
import pytest

from hko7env.env import NowcastingEnv
from hko7env.loading import load
from hko7env.runner import run
from hko7env.scores import scores
from hko7env.synthetic import EpisodeSpec, Truth, make
from hko7env.synthetic.rain import (
    Marginal,
)
from hko7env.testing import AgentTests


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A wet day of 180 x 180 frames."""
    path = tmp_path_factory.mktemp("oracle") / "moving.zarr"
    make(path, shape=(180, 180), seed=3, weather=(EpisodeSpec("test", "2015-06-01T00:00", 60, missing=(9, 24)),))
    return str(path)


def test_an_oracle_of_another_archive_is_refused(moving, small_archive):
    task = NowcastingEnv(archive=str(small_archive), split="test").task
    with pytest.raises(ValueError, match="give the archive that is evaluated as the option truth"):
        load("agents.oracle", task, truth=moving)


def test_who_knows_more_forecasts_better(moving):
    csi = {}
    for name, agent, options in (
        ("last frame", "agents.last_frame", {}),
        ("motion", "agents.oracle", {"truth": moving}),
        ("growth", "agents.oracle", {"truth": moving, "growth": True}),
    ):
        env = NowcastingEnv(archive=moving, split="test", online=False)
        csi[name] = np.nanmean(scores(run(env, load(agent, env.task, **options)))["csi"][:, :4], axis=1)
    assert (csi["motion"] > csi["last frame"]).mean() > 0.9
    assert csi["growth"].mean() > csi["motion"].mean()


def test_the_oracle_carries_a_frame_along_a_motion_that_is_known_by_hand(moving, tmp_path):
    """Two pixels down and three left a step, everywhere, always: the forecast is the shifted frame."""
    shutil.copytree(moving, tmp_path / "steady.zarr")
    path = str(tmp_path / "steady.zarr")
    writable = Truth(path, writable=True)
    steps = len(writable.steps)
    nodes = next(writable.ahead(int(writable.steps[0]), 1))[0].shape[1:]
    motion = np.broadcast_to(np.array([2, -3], np.float32)[:, None, None], (2, *nodes))
    writable.write("motion", 0, np.broadcast_to(motion, (steps, *motion.shape)))
    env = NowcastingEnv(archive=path, split="test", online=False)
    agent = load("agents.oracle", env.task, truth=path)
    observation, _ = env.reset()
    agent.store(observation)
    forecast = agent.predict()
    clean = Truth(path).clean(int(observation["time"][-1])) / 255
    for k in (0, 4, 19):
        down, left = 2 * (k + 1), 3 * (k + 1)
        np.testing.assert_allclose(forecast[k][down:, : 180 - left], clean[: 180 - down, left:], atol=1e-4)
    assert (forecast[19][:39] == 0).all(), "nothing is known to flow in"


class TestOracle(AgentTests):
    memoryless = True

    @pytest.fixture(autouse=True)
    def archive(self, tmp_path_factory, monkeypatch):
        from agents import oracle

        class Known:
            """A truth of any grid: still air, and the frame of a fixed pattern."""

            def __init__(self, task):
                self.shape = (task.height, task.width)
                self.terrain_bias, self.cadence = np.zeros(self.shape, np.float32), task.cadence
                self.marginal = Marginal((1.3, 1.6, 1.9, 2.2, 2.6))

            def clean(self, time):
                return np.random.default_rng(time).integers(0, 256, self.shape, dtype=np.uint8)

            def diurnal_cycle(self, time):
                return 0.0

            def ahead(self, time, steps):
                for _ in range(steps):
                    yield np.ones((2, 6, 6), np.float32), 0.1

        self.known = Known
        self.oracle = oracle
        self.patch = monkeypatch

    def make(self, task):
        self.patch.setattr(self.oracle, "Truth", lambda path: self.known(task))
        return load("agents.oracle", task, truth="x", growth=True)
