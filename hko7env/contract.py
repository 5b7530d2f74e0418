"""What an environment and an agent share: the task, the observation, and the methods of an agent."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from hko7env.units import HKO7, ZR

Made = TypeVar("Made", bound=Callable[..., Any])
_MEMORYLESS = "memoryless"  # attribute of functions that make agents


class OptionError(ValueError):
    """An agent cannot be made with these options; the message says what to choose, and commands print it alone."""


class Observation(TypedDict):
    """What an agent sees in one step: the J newest frames.

    Attributes:
        frames: (J, H, W) uint8 levels, raw; row 0 is north, column 0 west.
        present: (J,) int8, 0 where a frame is missing and all 0.
        time: (J,) int64 minutes since 1970-01-01.
        new_episode: 1 if these frames do not continue those of the step before, else 0.
    """

    frames: npt.NDArray[np.uint8]
    present: npt.NDArray[np.int8]
    time: npt.NDArray[np.int64]
    new_episode: int


@dataclass(frozen=True, eq=False)
class Task:
    """What an agent is made for.

    Attributes:
        inputs: J, number of frames in an observation.
        leads: K, number of frames to forecast.
        height: H, rows of a frame.
        width: W, columns of a frame.
        cadence: Minutes between frames.
        scored: (H, W) bool static mask, True = scored.
        zr: Relation between level and rain rate.
        online: Whether agents may learn. Offline, every forecast is independent of the others.
    """

    inputs: int
    leads: int
    height: int
    width: int
    cadence: int
    scored: npt.NDArray[np.bool_]
    zr: ZR = HKO7
    online: bool = True


@runtime_checkable
class Agent(Protocol):
    """Forecasts the next K frames from the frames it has been shown.

    An agent may keep copies of observations, but no views: the caller may change the arrays afterwards.
    """

    def store(self, observation: Observation) -> None:
        """Take in the J newest frames; if ``new_episode`` is 1, forget the frames before them."""

    def update(self) -> None:
        """Learn from what has been stored, if this agent learns."""

    def predict(self) -> npt.NDArray[np.float32]:
        """Forecast the K frames after the newest stored one: (K, H, W) float32 pixels in [0, 1]."""


@runtime_checkable
class Learner(Agent, Protocol):
    """An agent that keeps something across episodes (weights, optimiser state) and can save it."""

    def save(self, path: Path) -> None:
        """Write everything that determines the next forecasts, including random state and stored frames."""

    def restore(self, path: Path) -> None:
        """Restore the state that :meth:`save` wrote to ``path``. Raises ValueError for any other file."""


def memoryless(make: Made) -> Made:
    """Declare that the agents that ``make`` makes depend on the newest observation alone.

    Such an agent forecasts the same whatever it was shown before, and its ``update`` does nothing. Online it therefore
    scores the same as offline, so evaluations of both settings run it once and share its sequences freely. Use it as a
    decorator of the function ``make`` of an agent's module. The declaration is not inherited, as an agent made of
    another one may well remember. :class:`hko7env.testing.AgentTests` tests it.

    Example:
        ``@memoryless`` above ``def make(task, config):``
    """
    setattr(make, _MEMORYLESS, True)
    return make


def is_memoryless(make: Callable[..., Any]) -> bool:
    """Whether ``make`` was declared :func:`memoryless`."""
    return bool(getattr(make, "__dict__", {}).get(_MEMORYLESS, False))


class NonLearningAgent:
    """An agent whose ``update`` does nothing, for offline runs, where nothing may be learned.

    Args:
        agent: The agent that stores and predicts.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def store(self, observation: Observation) -> None:
        """Pass the observation on."""
        self.agent.store(observation)

    def update(self) -> None:
        """Do nothing."""

    def predict(self) -> npt.NDArray[np.float32]:
        """Return the agent's forecast."""
        return self.agent.predict()
