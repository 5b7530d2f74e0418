"""Time and skill of ROVER and its variants, compared with the last frame and, if installed, OpenCV's DIS flow."""

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.contract import Agent, Observation, Task
from hko7env.loading import load
from hko7env.runner import run
from hko7env.scores import averages, scored
from hko7env.synthetic import default_archive

from .timing import Line, peak_memory

ROVERS: dict[str, dict[str, Any]] = {
    "ROVER non-linear": {},
    "ROVER linear": {"nonlinear": False},
    "ROVER non-linear, trajectory": {"advection": "trajectory"},
    "ROVER linear, trajectory": {"nonlinear": False, "advection": "trajectory"},
    "ROVER non-linear, newest pair": {"newest_pair": True},
}


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds a forecast and Table 3 scores of each method, over all sequences of each archive.

    The ratio is that of the B-MSE to the last frame's.
    """
    for path in args.archive or [str(default_archive())]:
        env: Any = gymnasium.make("HKO7-Offline-v0", archive=path).unwrapped
        agents: dict[str, Agent] = {"last frame": load("agents.last_frame", env.task)}
        agents |= {name: load("agents.rover", env.task, **options) for name, options in ROVERS.items()}
        if importlib.util.find_spec("cv2"):
            agents["OpenCV DIS, one interpolation"] = DIS(env.task)
        reference = None
        for name, agent in agents.items():
            found = _measure_one(env, f"{Path(path).stem}/{name}", agent)
            reference = reference or found["b_mse"]
            yield found | {"ratio": round(found["b_mse"] / reference, 4)}


def _measure_one(env: Any, name: str, agent: Agent) -> Line:
    watch = Stopwatch(agent)
    with progress.bar(len(env.schedule), name, "seq") as bar:
        mean = averages(run(env, watch, after=lambda _: bar.update()))
    return {
        "name": f"flow/{name}",
        "median": round(1e3 * median(watch.seconds), 1),
        "unit": "ms/sequence",
        "ratio": 1.0,
        "bytes": peak_memory(),
        "sequences": len(env.schedule),
        "csi": [None if np.isnan(c) else round(float(c), 4) for c in mean["csi"]],
        "b_mse": round(float(mean["b_mse"])),
        "b_mae": round(float(mean["b_mae"])),
    }


class Stopwatch:
    """An agent that times the forecasts of another."""

    def __init__(self, agent: Agent) -> None:
        """Time the forecasts of ``agent``, in seconds, into the list ``seconds``."""
        self.store, self.update = agent.store, agent.update
        self.agent = agent
        self.seconds: list[float] = []

    def predict(self) -> npt.NDArray[np.float32]:
        """The forecast of the other agent."""
        start = time.perf_counter()
        forecast = self.agent.predict()
        self.seconds.append(time.perf_counter() - start)
        return forecast


class DIS:
    """Reference: OpenCV's dense inverse search flow, the newest frame interpolated once."""

    def __init__(self, task: Task) -> None:
        """Make the agent for ``task``; needs the package cv2."""
        cv2: Any = importlib.import_module("cv2")
        self.cv2, self.task = cv2, task
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def store(self, observation: Observation) -> None:
        """Keep the last two frames, (2, H, W) uint8 levels, with 0 where a pixel is masked or noise."""
        frames = observation["frames"][-2:]
        self.pair = np.where(scored(frames, self.task.scored), frames, np.uint8(0))

    def update(self) -> None:
        """Do nothing: DIS does not learn."""

    def predict(self) -> npt.NDArray[np.float32]:
        """The forecast, (K, H, W) float32 pixels."""
        motion = self.flow.calc(*self.pair, None)
        columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self.pair.shape[:0:-1]))
        newest = self.pair[1] / np.float32(255)
        paths = ((columns - k * motion[..., 0], rows - k * motion[..., 1]) for k in range(1, self.task.leads + 1))
        return np.stack([self.cv2.remap(newest, *path, self.cv2.INTER_LINEAR) for path in paths])
