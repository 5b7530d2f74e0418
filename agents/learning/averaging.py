"""An exponential moving average of a network's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from .checkpoint import check


class WeightAverage:
    """The average of the parameters of ``net``; buffers, as of batch normalisation, are not averaged.

    Args:
        net: The network.
        decay: Share of the average that each step keeps; 0 for no average.

    Attributes:
        values: The average by the names of the parameters; empty if there is none.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay = net, decay
        self.values = {name: p.detach().clone() for name, p in net.named_parameters()} if decay else {}

    def update(self, step: int) -> None:
        """Include the weights after ``step``, counted from 0.

        The decay warms up as (1 + t) / (10 + t), so that the random initial weights are forgotten.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, mean in self.values.items():
            mean.lerp_(self.net.get_parameter(name).detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the network has the averaged weights, if there is an average."""
        own = {name: self.net.get_parameter(name).detach().clone() for name in self.values}
        self.net.load_state_dict(self.values, strict=False)
        try:
            yield
        finally:
            self.net.load_state_dict(own, strict=False)

    def check(self, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
        """Raise CheckpointError unless ``tensors``, of the checkpoint at ``path``, fit the averaged parameters."""
        check(tensors, self.values, path)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take ``tensors`` as the average."""
        for name, value in tensors.items():
            self.values[name].copy_(value)
