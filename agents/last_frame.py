"""The last frame, repeated: the baseline that every forecast has to beat (Shi et al. 2017, Table 3)."""

import numpy as np
import numpy.typing as npt

from hko7env.contract import Observation, Task


class LastFrame:
    """Persistence of the newest slot. A missing newest frame is forecast as no rain, as the released code does."""

    def __init__(self, task: Task) -> None:
        self._shape = (task.leads, task.height, task.width)
        self._frame = np.zeros(self._shape[1:], np.float32)

    def store(self, observation: Observation) -> None:
        """Keep the newest of the J frames."""
        self._frame = observation["frames"][-1] / np.float32(255)

    def update(self) -> None:
        """Nothing is learned."""

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32: the newest frame K times, as one read-only view."""
        return np.broadcast_to(self._frame, self._shape)


def make(task: Task) -> LastFrame:
    """The agent for ``task``; it has no options."""
    return LastFrame(task)
