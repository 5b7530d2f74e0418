"""All that an environment and an agent share: the task, the observation, and what an agent has to do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict, runtime_checkable

import numpy as np
import numpy.typing as npt

from hko7env.units import HKO7, ZR


class OptionError(ValueError):
    """Options that an agent cannot be made with here; the message says what to choose, no traceback is needed."""


class Observation(TypedDict):
    """What an agent sees in a step: the J newly observed frames.

    ``frames`` (J, H, W) uint8 levels, raw; ``present`` (J,) int8, 0 where a frame is missing and all 0; ``time`` (J,)
    int64 minutes since 1970-01-01; ``new_episode`` 1 if nothing seen before may be continued.
    """

    frames: npt.NDArray[np.uint8]
    present: npt.NDArray[np.int8]
    time: npt.NDArray[np.int64]
    new_episode: int


@dataclass(frozen=True, eq=False)
class Task:
    """The static facts an agent is made for: J inputs, K leads, H x W frames every ``cadence`` minutes.

    ``scored`` (H, W) bool is the static mask (True = scored), ``zr`` the relation between level and rain rate.
    """

    inputs: int
    leads: int
    height: int
    width: int
    cadence: int
    scored: npt.NDArray[np.bool_]
    zr: ZR = HKO7


@runtime_checkable
class Agent(Protocol):
    """Forecasts the next K frames from what it has been shown. It may keep copies of observations, never views."""

    def store(self, observation: Observation) -> None:
        """Take in the J newest frames; if ``new_episode`` is 1, forget the frames before them."""

    def update(self) -> None:
        """Learn from what has been stored, if this agent learns."""

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels in [0, 1] for the K frames after the newest stored one."""


@runtime_checkable
class Learner(Agent, Protocol):
    """An agent that carries something across episodes (weights, optimiser state) and can therefore be checkpointed."""

    def save(self, path: Path) -> None:
        """Write all that makes the next predictions what they are, random state and stored frames included."""

    def restore(self, path: Path) -> None:
        """Become the agent that :meth:`save` wrote to ``path``. Raises ValueError for a file that is none."""
