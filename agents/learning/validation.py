"""The score of a network on a split of an archive."""

import numpy as np

from hko7env.schedule import INPUTS, LEADS, evenly
from hko7env.scores import Tally
from hko7env.split_view import SplitView

from ..networks.network import Network
from .distributed import Ranks
from .forecasting import forecast_frames


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
        total = Tally.zero(LEADS)
        for index in self.chosen[self.ranks.rank :: self.ranks.count].tolist():
            slots = self.view.schedule.slots(index)
            frames, _ = self.view.frames_at(slots[:INPUTS])
            total += self.view.score(slots[INPUTS:], forecast_frames(self.net, self.net, np.stack(frames)))
        summed, sequences = self.ranks.total([total.balanced_error, total.sequences])
        return float(summed / sequences)
