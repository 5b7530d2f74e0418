"""ROVER, the real-time optical flow of the Hong Kong Observatory, as evaluated in Table 3 of Shi et al. 2017.

The newest frame is advected for K steps along the optical flow between the two newest frames. The non-linear variant
computes on transformed frames, in which differences around 33 dBZ are enhanced.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Observation, Task, memoryless
from hko7env.scores import scored
from hko7env.units import dbz, pixel

from .networks.devices import select_device
from .optical_flow.advection import advect_stepwise
from .optical_flow.variational import estimate_flow

CENTRE, WIDTH = 33.0, 4.0  # dBZ, of the arctan transform
_FLOOR, _CEILING = (math.atan((edge - CENTRE) / WIDTH) for edge in (-10.0, 60.0))


@dataclass(frozen=True)
class Config:
    """Which variant of ROVER to run; the default is the paper's "ROVER + Non-linear"."""

    nonlinear: Annotated[bool, "compute on transformed frames, in which differences around 33 dBZ are enhanced"] = True
    advection: Annotated[
        Literal["recursive", "trajectory"],
        "interpolate each forecast from the one before, or once along trajectories with the border replicated",
    ] = "recursive"
    newest_pair: Annotated[bool, "if one of the last two frames is missing, use the newest two present ones"] = False
    official_mask: Annotated[bool, "blank level 71 too, as the floating-point mask of the released code does"] = False
    device: Annotated[Literal["auto", "cpu", "cuda"], "device; auto is cuda where it is available"] = "auto"


class Rover:
    """Advects the newest frame along the flow between it and the one before.

    Args:
        task: The frames to forecast.
        config: The variant.

    Raises:
        OptionError: If torch cannot use the device here.
    """

    def __init__(self, task: Task, config: Config) -> None:
        self.task, self.config = task, config
        self.device = select_device(config.device)
        self._frames = np.zeros((task.inputs, task.height, task.width), np.uint8)
        self._present = np.zeros(task.inputs, bool)
        pixels = np.arange(256) / 255
        self._table = transform(pixels) if config.nonlinear else pixels.astype(np.float32)

    def store(self, observation: Observation) -> None:
        """Keep the J frames, with 0 where a pixel is masked or noise; a missing frame is 0 everywhere."""
        frames = observation["frames"]
        keep = scored(frames, self.task.scored)
        if self.config.official_mask:
            keep &= frames != 71
        self._frames = np.where(keep, frames, np.uint8(0))
        self._present = observation["present"].astype(bool)

    def update(self) -> None:
        """Do nothing: ROVER does not learn."""

    def predict(self) -> npt.NDArray[np.float32]:
        """The forecast, (K, H, W) float32 pixels in [0, 1]."""
        first, second = self._pair()
        newest = torch.from_numpy(self._table.take(self._frames[second])).to(self.device)[None]
        quantised = (self._table * np.float32(255)).astype(np.uint8)  # truncated, as in the released code
        pair = torch.from_numpy(quantised.take(self._frames[[first, second]])).to(self.device)
        motion = estimate_flow(pair[:1], pair[1:]) / max(second - first, 1)
        age = self.task.inputs - 1 - second  # steps from the frame to the issue time
        steps = age + self.task.leads
        forecast = np.empty((self.task.leads, *newest.shape[1:]), np.float32)
        ahead: Iterable[torch.Tensor] = advect_stepwise(newest, motion, steps, scheme=self.config.advection)
        if self.device.type != "cpu":  # one copy from the device
            ahead = torch.stack(list(ahead)).cpu()
        for lead, advected in zip(forecast, islice(ahead, age, None), strict=True):  # while it is in the cache
            if self.config.nonlinear:
                restore(advected[0].numpy(), out=lead)
            else:
                lead[...] = advected[0].numpy()
            np.clip(lead, 0, 1, out=lead)
        return forecast

    def _pair(self) -> tuple[int, int]:
        """Slots of the two frames to compare: the last two as in the released code, or the newest two present ones."""
        last = self.task.inputs - 1
        present = np.flatnonzero(self._present)
        if not self.config.newest_pair or len(present) == 0:
            return last - 1, last
        return int(present[-2:][0]), int(present[-1])


def transform(pixels: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The non-linear transform: an arctan of reflectivity, steepest at 33 dBZ. Shi et al. 2017, section 5.1.

    The constants are those of the released code.

    Args:
        pixels: In [0, 1], of any shape.

    Returns:
        The same shape, in [0, 1].
    """
    angle = np.arctan((dbz(np.asarray(pixels, np.float64)) - CENTRE) / WIDTH)
    return np.asarray((angle - _FLOOR) / (_CEILING - _FLOOR), np.float32)


def restore(transformed: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> None:
    """Invert :func:`transform`, for float32 of any shape; values up to 0 become 0. Results are not clipped.

    Args:
        transformed: What :func:`transform` returned.
        out: The result, of the same shape; may be ``transformed`` itself.
    """
    wet = transformed > 0
    np.multiply(transformed, np.float32(_CEILING - _FLOOR), out=out)
    out += np.float32(_FLOOR)
    np.tan(out, out=out)
    out *= np.float32(pixel(WIDTH) - pixel(0.0))
    out += np.float32(pixel(CENTRE))
    out *= wet  # several times faster than an assignment to the dry ones


@memoryless
def make(task: Task, config: Config) -> Rover:
    """Make the agent for ``task``."""
    return Rover(task, config)
