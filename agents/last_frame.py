"""Persistence: the newest frame repeated for all lead times, the baseline of Shi et al. 2017, Table 3."""

import numpy as np
import numpy.typing as npt

from hko7env.contract import Observation, Task, memoryless


class LastFrame:
    """Repeats the newest frame. If it is missing, the forecast is no rain, as in the released code."""

    def __init__(self, task: Task) -> None:
        self._shape = (task.leads, task.height, task.width)
        self._frame = np.zeros(self._shape[1:], np.float32)

    def store(self, observation: Observation) -> None:
        """Keep the newest of the J frames."""
        self._frame = observation["frames"][-1] / np.float32(255)

    def update(self) -> None:
        """Do nothing: persistence does not learn."""

    def predict(self) -> npt.NDArray[np.float32]:
        """The newest frame K times, (K, H, W) float32 pixels in [0, 1]; a read-only view."""
        return np.broadcast_to(self._frame, self._shape)


@memoryless
def make(task: Task) -> LastFrame:
    """Make the agent for ``task``; it has no options."""
    return LastFrame(task)
