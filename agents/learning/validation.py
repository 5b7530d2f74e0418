"""What the networks are trained for offline on radar: the loss of a batch of windows, and the score of a split."""

from collections.abc import Callable
from typing import Any

import torch

from hko7env.contract import Task
from hko7env.env import NowcastingEnv
from hko7env.runner import run
from hko7env.schedule import evenly
from hko7env.scores import Tally, scored

from .network_agent import Config, NetworkAgent, objective
from .trainer import Batch, Ranks

Tensor = torch.Tensor


def rain_loss(task: Task, *, balanced: bool, lead_power: float = 0) -> Callable[[Any, Batch], Tensor]:
    """The loss of a network on a batch, missing frames and unscored pixels left out."""

    def value(forward: Any, batch: Any) -> Tensor:
        frames, present, static = batch
        where = scored(frames[:, task.inputs :], static.expand(len(frames), *static.shape[-2:])[:, None])
        return objective(forward, frames, present, where, task, balanced=balanced, lead_power=lead_power)

    return value


class Validation:
    """B-MSE + B-MAE of a network on the sequences of an offline environment, or ``limit`` of them, spread evenly.

    Several processes share the sequences. Raises ValueError for a limit below 1.
    """

    def __init__(self, env: Any, net: Any, ranks: Ranks, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"at least 1 sequence must be validated on, got {limit}")
        if not isinstance(env, NowcastingEnv) or env.online:
            raise ValueError("validation needs the offline environment")
        self.env, self.net, self.ranks = env, net, ranks
        self.chosen = evenly(len(env.schedule), limit or len(env.schedule))

    def __call__(self) -> float:
        """The score, less being better."""
        agent = NetworkAgent(self.env.task, self.net, Config())
        total = Tally.zero(self.env.task.leads)
        for index in self.chosen[self.ranks.rank :: self.ranks.count].tolist():
            total += run(self.env, agent, options={"start": index, "stop": index + 1})
        error = (total.balanced_squared + total.balanced_absolute).mean()
        summed, sequences = self.ranks.total([error, total.sequences])
        return float(summed / sequences)
