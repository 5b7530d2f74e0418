"""Oracles: they see the hidden motion and growth of a synthetic archive, which no agent may see.

Their scores are the upper limit of a table, not entries of it. ``hko7env evaluate agents.oracle --archive mine.zarr
--truth mine.zarr`` moves the rain of the newest frame along its true motion; with ``--growth`` it also applies the
terrain bias and the diurnal cycle. The random part of growth and decay, which cannot be predicted, is not used.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hko7env.contract import Observation, OptionError, Task, memoryless
from hko7env.synthetic import Truth, default_archive
from hko7env.synthetic.wind import interpolate_nodes

_STEP = 4  # pixels between the points whose paths are traced


@dataclass(frozen=True)
class Config:
    """The archive whose truth is used, and how much of it."""

    truth: Annotated[str, "path of the synthetic archive that is evaluated; none: the default archive"] = ""
    growth: Annotated[bool, "apply growth and decay that depend on the location and the time of day too"] = False


class Oracle:
    """Moves the newest frame, without the errors of the radar, along the true motion with a single interpolation.

    Args:
        task: The task; its grid and cadence must be those of the archive.
        config: The options.

    Raises:
        OptionError: If the truth has another grid or cadence than the task.
    """

    def __init__(self, task: Task, config: Config) -> None:
        self.task, self.config = task, config
        self._truth = Truth(config.truth or str(default_archive()))
        grid, cadence = self._truth.terrain_bias.shape, self._truth.cadence
        if (grid, cadence) != ((task.height, task.width), task.cadence):
            raise OptionError(
                f"the truth has {grid[0]} x {grid[1]} px every {cadence} min, the frames have {task.height} x "
                f"{task.width} px every {task.cadence} min: give the archive that is evaluated as the option truth"
            )
        self._clean = np.zeros((task.height, task.width), np.uint8)
        self._time: int | None = None
        self._late = 0

    def store(self, observation: Observation) -> None:
        """Take the time of the newest frame that is present; its rain comes from the truth."""
        there = np.flatnonzero(observation["present"])
        self._time = int(observation["time"][there[-1]]) if len(there) else None
        if self._time is not None:
            self._late = self.task.inputs - 1 - int(there[-1])
            self._clean = self._truth.clean(self._time)

    def update(self) -> None:
        """Do nothing: an oracle does not learn."""

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels in [0, 1]; no rain if no frame of the segment is present."""
        height, width = shape = (self.task.height, self.task.width)
        forecast = np.zeros((self.task.leads, height, width), np.float32)
        if self._time is None:
            return forecast
        points = np.indices((-(-height // _STEP) + 1, -(-width // _STEP) + 1), dtype=np.float32) * _STEP
        paths = np.zeros_like(points)  # displacement from each point back to where its rain was in the newest frame
        pixels = np.indices(shape, dtype=np.float32)
        carried, now = self._carried(), self._truth.diurnal_cycle(self._time)
        for k, (motion, diurnal) in enumerate(self._truth.ahead(self._time, self._late + self.task.leads)):
            back = interpolate_nodes(motion, points.shape[1:], _STEP)
            before = (points - back) / _STEP
            paths = np.stack([ndimage.map_coordinates(p, before, order=1, mode="nearest") for p in paths]) - back
            if k >= self._late:
                sources = pixels + interpolate_nodes(paths, shape, 1, _STEP)
                field = ndimage.map_coordinates(carried, sources, order=1, cval=carried.min())
                forecast[k - self._late] = self._pixels(field, diurnal - now)
        return forecast

    def _carried(self) -> npt.NDArray[np.float32]:
        """The field that the motion carries: levels, or latent values without the terrain bias if growth is known."""
        if not self.config.growth:
            return self._clean.astype(np.float32)
        return np.asarray(self._truth.marginal.latent(self._clean) - self._truth.terrain_bias, np.float32)

    def _pixels(self, field: npt.NDArray[np.float32], growth: float) -> npt.NDArray[np.float32]:
        if self.config.growth:
            latent = field + self._truth.terrain_bias + np.float32(growth)
            field = self._truth.marginal.levels(latent).astype(np.float32)
        return np.asarray(np.clip(field / 255, 0, 1), np.float32)


@memoryless
def make(task: Task, config: Config) -> Oracle:
    """Make the oracle for ``task``."""
    return Oracle(task, config)
