"""TrajGRU in its straightforward form, one link at a time: the reference of the benchmarks of networks."""

import copy
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from ..networks.encoder_forecaster import EncoderForecaster
from ..networks.gates import SLOPE
from ..networks.recurrent import TrajGRU

Tensor = torch.Tensor


def plain(net: EncoderForecaster) -> EncoderForecaster:
    """A copy of ``net`` with the same weights and results, whose TrajGRU layers are plain."""
    net = copy.deepcopy(net)
    for part in (net.encoder, net.forecaster):
        for name, layer in part.items():
            if isinstance(layer, TrajGRU):
                part[name] = PlainTrajGRU(layer)
    return net


class PlainTrajGRU(nn.Module):
    """The TrajGRU layer ``fast`` with a sampling call for each link and step and plain autograd."""

    def __init__(self, fast: TrajGRU) -> None:
        """Share the weights of ``fast``."""
        super().__init__()
        self.fast: Any = fast

    def forward(self, inputs: Tensor | None, state: Tensor, steps: int) -> list[Tensor]:
        """See :meth:`agents.networks.recurrent.ConvGRU.forward`."""
        fast, state, states = self.fast, state.contiguous(), []
        given = [None] * steps if inputs is None else inputs.contiguous().split(len(state))
        i2h = [None] * steps if inputs is None else fast.i2h(inputs.contiguous()).split(len(state))
        for x, to_state in zip(given, i2h, strict=True):
            hidden = fast.h2f(state) if x is None else fast.h2f(state) + fast.i2f(x)
            flow = fast.flow(F.leaky_relu(hidden, SLOPE))
            h2h = fast.h2h(torch.cat([self.look(state, each) for each in flow.split(2, 1)], 1))
            r, z, n = h2h.chunk(3, 1)
            i_r, i_z, i_n = (0, 0, 0) if to_state is None else to_state.chunk(3, 1)
            reset, update = torch.sigmoid(i_r + r), torch.sigmoid(i_z + z)
            state = update * state + (1 - update) * F.leaky_relu(i_n + reset * n, SLOPE)
            states.append(state)
        return states

    def look(self, state: Tensor, flow: Tensor) -> Tensor:
        """``state`` (B, C, H, W), sampled bilinearly at p - ``flow`` (B, 2, H, W) px; outside it is 0."""
        height, width = state.shape[2:]
        y, x = torch.meshgrid(
            torch.arange(height, device=state.device), torch.arange(width, device=state.device), indexing="ij"
        )
        x = 2 * (x - flow[:, 0]) / (width - 1) - 1
        y = 2 * (y - flow[:, 1]) / (height - 1) - 1
        return F.grid_sample(state, torch.stack([x, y], -1), padding_mode="zeros", align_corners=True)
