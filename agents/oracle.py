"""Oracles: they see what no agent may see, the hidden motion and growth of a synthetic archive.

They are no competitors: they give the ceiling of a table. ``python tools/evaluate.py agents.oracle --truth mine.zarr``
carries the newest frame's rain along its true motion; with ``--growth true`` it also grows and decays as is known
beforehand, by place and by time of day. What cannot be known, the noise of the atmosphere, is hidden from them too.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hko7env.contract import Observation, OptionError, Task
from hko7env.synthetic import Truth, default_archive
from hko7env.synthetic.wind import spread

_STEP = 4  # pixels between the points whose paths are followed


@dataclass(frozen=True)
class Config:
    """Whose truth to see, and how much of it."""

    truth: str = ""  # the synthetic archive; default: the embedded one
    growth: bool = False  # know growth and decay by place and time of day


class Oracle:
    """Carries the clean newest frame along the true motion, interpolating once."""

    def __init__(self, task: Task, config: Config) -> None:
        self.task, self.config = task, config
        self._truth = Truth(config.truth or str(default_archive()))
        grid, cadence = self._truth.place.shape, self._truth.cadence
        if (grid, cadence) != ((task.height, task.width), task.cadence):
            raise OptionError(
                f"the truth is of {grid[0]} x {grid[1]} px every {cadence} min, the frames are {task.height} x "
                f"{task.width} every {task.cadence}: give --truth the archive that is evaluated"
            )
        self._clean = np.zeros((task.height, task.width), np.uint8)
        self._time: int | None = None
        self._late = 0

    def store(self, observation: Observation) -> None:
        """Take the newest frame that is there; the observation tells the time, the archive the rest."""
        there = np.flatnonzero(observation["present"])
        self._time = int(observation["time"][there[-1]]) if len(there) else None
        if self._time is not None:
            self._late = self.task.inputs - 1 - int(there[-1])
            self._clean = self._truth.clean(self._time)

    def update(self) -> None:
        """Nothing is learned: all is known."""

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels; no rain if no frame of the segment is there."""
        height, width = shape = (self.task.height, self.task.width)
        forecast = np.zeros((self.task.leads, height, width), np.float32)
        if self._time is None:
            return forecast
        points = np.indices((-(-height // _STEP) + 1, -(-width // _STEP) + 1), dtype=np.float32) * _STEP
        paths = np.zeros_like(points)  # displacement, from each point, to where its rain was in the newest frame
        pixels = np.indices(shape, dtype=np.float32)
        known, now = self._known(), self._truth.growth(self._time)
        for k, (motion, growth) in enumerate(self._truth.ahead(self._time, self._late + self.task.leads)):
            back = spread(motion, points.shape[1:], _STEP)
            before = (points - back) / _STEP
            paths = np.stack([ndimage.map_coordinates(p, before, order=1, mode="nearest") for p in paths]) - back
            if k >= self._late:
                where = pixels + spread(paths, shape, 1, _STEP)
                field = ndimage.map_coordinates(known, where, order=1, cval=known.min())
                forecast[k - self._late] = self._pixels(field, growth - now)
        return forecast

    def _known(self) -> npt.NDArray[np.float32]:
        """What is carried: levels, or latent values less what place adds."""
        if not self.config.growth:
            return self._clean.astype(np.float32)
        return np.asarray(self._truth.marginal.latent(self._clean) - self._truth.place, np.float32)

    def _pixels(self, field: npt.NDArray[np.float32], growth: float) -> npt.NDArray[np.float32]:
        if self.config.growth:
            field = self._truth.marginal.levels(field + self._truth.place + np.float32(growth)).astype(np.float32)
        return np.asarray(np.clip(field / 255, 0, 1), np.float32)


def make(task: Task, config: Config) -> Oracle:
    """The oracle for ``task``."""
    return Oracle(task, config)
