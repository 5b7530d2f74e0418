"""ROVER, the real-time optical flow of the Hong Kong Observatory, as Table 3 of Shi et al. 2017 ran it.

The flow between the two newest frames carries the last of them on, twenty steps of one frame's time. The non-linear
variant sees and carries a transformed frame, in which echo about 33 dBZ stands out.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Observation, OptionError, Task
from hko7env.scores import scored
from hko7env.units import dbz, pixel

from .optical_flow.variational import advect, flow

CENTRE, SHARPNESS = 33.0, 4.0  # dBZ: of the arctan transform
_FLOOR, _CEILING = (math.atan((edge - CENTRE) / SHARPNESS) for edge in (-10.0, 60.0))


@dataclass(frozen=True)
class Config:
    """Which ROVER to run; the default is the paper's "ROVER + Non-linear"."""

    nonlinear: bool = True  # transform the frames
    advection: str = "recursive"  # "trajectory": interpolate once, replicate the border
    newest_pair: bool = False  # if one of the last two frames is missing, use the newest two that are there
    official_mask: bool = False  # blank level 71 too, as the released floating-point mask does
    device: str = "cpu"  # or "cuda"


class Rover:
    """Extrapolates the newest frame along the flow between it and the one before."""

    def __init__(self, task: Task, config: Config) -> None:
        self.task, self.config = task, config
        self.device = torch.device(config.device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise OptionError("this machine has no CUDA device that torch can use: choose --device cpu")
        self._frames = np.zeros((task.inputs, task.height, task.width), np.uint8)
        self._present = np.zeros(task.inputs, bool)
        levels = np.arange(256) / 255
        self._table = transform(levels) if config.nonlinear else levels.astype(np.float32)

    def store(self, observation: Observation) -> None:
        """Keep the J frames, blank where they are masked or noise; a missing frame is blank already."""
        frames = observation["frames"]
        keep = scored(frames, self.task.scored)
        if self.config.official_mask:
            keep &= frames != 71
        self._frames = np.where(keep, frames, np.uint8(0))
        self._present = observation["present"].astype(bool)

    def update(self) -> None:
        """Nothing is learned."""

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels."""
        first, second = self._pair()
        newest = torch.from_numpy(self._table[self._frames[second]]).to(self.device)[None]
        quantised = (self._table * np.float32(255)).astype(np.uint8)  # truncated, as the released wrapper does
        pair = torch.from_numpy(quantised[self._frames[[first, second]]]).to(self.device)
        motion = flow(pair[:1], pair[1:]) / max(second - first, 1)
        late = self.task.inputs - 1 - second  # steps from the frame to the time of issue
        ahead = advect(newest, motion, late + self.task.leads, scheme=self.config.advection)[0, late:]
        forecast: npt.NDArray[np.float32] = ahead.cpu().numpy()
        for lead in forecast:  # one at a time stays in the processor's cache
            if self.config.nonlinear:
                restore(lead)
            np.clip(lead, 0, 1, out=lead)
        return forecast

    def _pair(self) -> tuple[int, int]:
        """Slots of the two frames to compare; the last two, as the released code has it, unless they are missing."""
        last = self.task.inputs - 1
        there = np.flatnonzero(self._present)
        if not self.config.newest_pair or len(there) == 0:
            return last - 1, last
        return int(there[-2:][0]), int(there[-1])


def transform(pixels: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Pixels [0, 1] to [0, 1], steepest at 33 dBZ; Shi et al. 2017, section 5.1, constants of the released code."""
    angle = np.arctan((dbz(np.asarray(pixels, np.float64)) - CENTRE) / SHARPNESS)
    return ((angle - _FLOOR) / (_CEILING - _FLOOR)).astype(np.float32)


def restore(transformed: npt.NDArray[np.float32]) -> None:
    """Undo :func:`transform` in place; what is 0 stays 0."""
    dry = transformed <= 0
    transformed *= np.float32(_CEILING - _FLOOR)
    transformed += np.float32(_FLOOR)
    np.tan(transformed, out=transformed)
    transformed *= np.float32(pixel(SHARPNESS) - pixel(0.0))
    transformed += np.float32(pixel(CENTRE))
    transformed[dry] = 0


def make(task: Task, config: Config) -> Rover:
    """The agent for ``task``."""
    return Rover(task, config)
