"""The score of a network on splits of archives."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hko7env.forecast import Forecast
from hko7env.schedule import INPUTS, LEADS, evenly
from hko7env.scores import Tally
from hko7env.split_view import SplitView

from ..networks.network import Network
from .distributed import Ranks
from .forecasting import forecast_frames

Frames = npt.NDArray[np.uint8]


class Validation:
    """B-MSE + B-MAE of a network, mean over the leads, on the sequences of a split; several processes share them.

    Args:
        view: The split.
        net: The network.
        ranks: The processes.
        limit: How many sequences to validate on, evenly spaced; None for all.

    Raises:
        ValueError: If the split has no sequence, or ``limit`` is below 1.
    """

    def __init__(self, view: SplitView, net: Network, ranks: Ranks, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"at least 1 sequence must be validated on, got {limit}")
        count = len(view.schedule)
        if count == 0:
            raise ValueError(
                f"{view.archive.name}, split {view.split}, holds no sequence to validate on: choose another, or none"
            )
        self.view, self.net, self.ranks = view, net, ranks
        self.chosen = evenly(count, limit or count)

    def __call__(self) -> float:
        """The score; lower is better."""
        return self._score(lambda frames: forecast_frames(self.net, self.net, frames))

    @cached_property
    def last_frame(self) -> float:
        """The score of the newest frame as forecast of all leads, on the same sequences."""
        return self._score(lambda frames: np.repeat(frames[-1:], LEADS, axis=0))

    def relative(self) -> float:
        """The score divided by that of the last frame.

        Raises:
            ValueError: If the last frame makes no error, as where there is no rain.
        """
        if self.last_frame == 0:
            raise ValueError(
                f"{self.view.archive.name}, split {self.view.split}, holds no rain to validate on: choose another "
                "split, or leave this archive out"
            )
        return self() / self.last_frame

    def _score(self, forecast: Callable[[Frames], Forecast]) -> float:
        """B-MSE + B-MAE of the forecasts made of frames (J, H, W)."""
        total = Tally.zero(LEADS)
        for index in self.chosen[self.ranks.rank :: self.ranks.count].tolist():
            slots = self.view.schedule.slots(index)
            frames, _ = self.view.frames_at(slots[:INPUTS])
            total += self.view.score(slots[INPUTS:], forecast(np.stack(frames)))
        summed, sequences = self.ranks.total([total.balanced_error, total.sequences])
        return float(summed / sequences)


def average_relative(validations: Sequence[Validation]) -> Callable[[], float]:
    """Validate on several archives.

    Args:
        validations: One for each archive.

    Returns:
        A function that returns the mean of their :meth:`Validation.relative`, so that no archive dominates.
    """
    return lambda: float(np.mean([validation.relative() for validation in validations]))
