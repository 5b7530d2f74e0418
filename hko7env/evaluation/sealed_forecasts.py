"""A wrapper of the environment that keeps something of each forecast until its truth is revealed."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import gymnasium

Kept = TypeVar("Kept")


class SealedForecasts(gymnasium.Wrapper[Any, Any, Any, Any], ABC, Generic[Kept]):
    """An environment that keeps something of the wanted forecasts once it has checked and scored them.

    Neither the agent nor the caller of ``step`` gets any of it.

    Args:
        env: The environment, wrapped or not.
        wanted: Indices of the sequences of which something is kept.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], wanted: set[int]) -> None:
        super().__init__(env)
        self._wanted = wanted
        self._sealed: dict[int, Kept] = {}
        self._index = 0

    @abstractmethod
    def measure(self, index: int, action: Any) -> Kept:
        """What to keep of ``action``, the forecast of the sequence ``index``."""

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        self._sealed.clear()
        observation, info = self.env.reset(**arguments)
        self._index = info["sequence"]
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment, which checks and scores the forecast, and measure it if it is wanted."""
        index = self._index
        result = self.env.step(action)
        self._index = result[-1]["sequence"]
        if index in self._wanted:
            self._sealed[index] = self.measure(index, action)
        return result
