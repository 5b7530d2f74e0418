"""Agents for tests of the runner: a slow one, one that fails, and one that learns."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.last_frame import LastFrame


@dataclass(frozen=True)
class Config:
    delay: float = 0.0  # seconds a forecast takes
    fail_at: int = -1  # forecast, counted from 0, that raises
    label: str | None = None
    loud: bool = False


class Slow(LastFrame):
    def __init__(self, task, config):
        super().__init__(task)
        self.config, self.steps, self.seen = config, 0, []

    def store(self, observation):
        """Unlike last frame, it remembers its episode, so a wrong resume shows."""
        super().store(observation)
        if observation["new_episode"]:
            self.seen = []
        self.seen.append(self._frame)
        self._frame = np.mean(self.seen[-3:], axis=0)

    def predict(self):
        time.sleep(self.config.delay)
        if self.steps == self.config.fail_at:
            raise RuntimeError("the toy is broken")
        self.steps += 1
        return super().predict()


class Learner(Slow):
    """Learns a brightness over all episodes; what it forecasts depends on every step before."""

    def __init__(self, task, config):
        super().__init__(task, config)
        self.gain = np.float32(0.5)

    def update(self):
        self.gain = np.float32(0.9) * self.gain + np.float32(0.1) * (1 - self._frame.mean())

    def predict(self):
        return np.clip(self.gain * super().predict(), 0, 1)

    def save(self, path):
        with path.open("wb") as file:
            np.savez(file, gain=self.gain, frame=self._frame, seen=np.stack(self.seen))

    def restore(self, path):
        with np.load(path) as saved:
            self.gain, self._frame, self.seen = saved["gain"][()], saved["frame"], list(saved["seen"])


class Moody(Slow):
    """Its forecast depends on how often it has been asked, as that of a recurrent network may."""

    def store(self, observation):
        if observation["new_episode"]:
            self.asked = 0
        super().store(observation)

    def predict(self):
        self.asked += 1
        return super().predict() * np.float32(1 / self.asked)


def moody(task, config):
    return Moody(task, config)


def make(task, config):
    return Slow(task, config)


def learner(task, config):
    return Learner(task, config)


def nobody(task, config):
    return object()


class Liar(Slow):
    """Its forecast of sequence ``fail_at`` is bad in the way that ``label`` says."""

    def predict(self):
        good = LastFrame.predict(self)
        self.steps += 1
        if self.steps - 1 != self.config.fail_at:
            return good
        return {
            "type": good.tolist(),
            "shape": good[:-1],
            "dtype": good.astype(np.float64),
            "levels": good.astype(np.uint8),
            "nan": good + np.float32(np.nan),
            "range": good + np.float32(1.5),
        }[self.config.label]


def liar(task, config):
    return Liar(task, config)


class Mortal(Learner):
    """Learns as Learner; kills its process in the sixth forecast. It counts forecasts in the folder ``label``."""

    def predict(self):
        count = Path(self.config.label) / "forecasts"
        with count.open("a") as file:
            file.write(".")
        if count.stat().st_size == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict()


def mortal(task, config):
    return Mortal(task, config)
