"""Forecasts of an agent that counts how they came true, kept until their valid times have been observed."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.contract import Observation, Task

Array = npt.NDArray[Any]
Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Issued:
    """A forecast that is not verified yet.

    Attributes:
        time: Issue time, minutes since 1970-01-01.
        bins: (K, 5, h, w), the bins of counts that it was made from, at the locations that are counted.
    """

    time: int
    bins: Array


class UnverifiedForecasts:
    """The newest segment, and the forecasts of the episode whose last valid time it has not passed.

    Args:
        task: The frames to forecast.

    Attributes:
        frames: (J, H, W) uint8 levels of the newest segment.
        present: (J,) which of its frames are there.
    """

    def __init__(self, task: Task) -> None:
        self._leads, self._cadence = task.leads, task.cadence
        self.frames: Levels = np.zeros((task.inputs, task.height, task.width), np.uint8)
        self.present: npt.NDArray[np.bool_] = np.zeros(task.inputs, bool)
        self._times: npt.NDArray[np.int64] = np.zeros(task.inputs, np.int64)
        self._issued: deque[Issued] = deque()

    def __len__(self) -> int:
        return len(self._issued)

    def store(self, observation: Observation) -> None:
        """Keep the segment; a new episode drops the forecasts of the one before."""
        self.frames = observation["frames"].copy()
        self.present = observation["present"].astype(bool)
        self._times = observation["time"].copy()
        if observation["new_episode"]:
            self._issued.clear()

    def add(self, bins: Array) -> None:
        """Keep what the forecast of the newest segment was made from, once however often it is forecast."""
        issued = int(self._times[-1])
        if not self._issued or self._issued[-1].time != issued:
            self._issued.append(Issued(issued, bins))

    def verify(self) -> Iterator[tuple[Levels, list[tuple[int, Array]]]]:
        """Each frame of the newest segment that verifies forecasts: its levels, and lead (from 0) and bins of each."""
        while self._issued and self._issued[0].time + self._leads * self._cadence < self._times[0]:
            self._issued.popleft()
        for slot in np.flatnonzero(self.present):
            found = []
            for issued in self._issued:
                lead, rest = divmod(int(self._times[slot]) - issued.time, self._cadence)
                if rest == 0 and 1 <= lead <= self._leads:
                    found.append((lead - 1, issued.bins[lead - 1]))
            if found:
                yield self.frames[slot], found

    def state(self) -> dict[str, Array]:
        """Arrays of a checkpoint; :attr:`issue_times` go with them."""
        arrays: dict[str, Array] = {"frames": self.frames, "present": self.present, "times": self._times}
        return arrays | {f"issued.{n}": issued.bins for n, issued in enumerate(self._issued)}

    @property
    def issue_times(self) -> list[int]:
        """Issue times of the forecasts, minutes since 1970-01-01."""
        return [issued.time for issued in self._issued]

    def restore(self, arrays: Mapping[str, Array], issue_times: Sequence[int]) -> None:
        """Continue with what :meth:`state` and :attr:`issue_times` gave."""
        self.frames, self.present, self._times = arrays["frames"], arrays["present"], arrays["times"]
        self._issued = deque(Issued(time, arrays[f"issued.{n}"]) for n, time in enumerate(issue_times))
