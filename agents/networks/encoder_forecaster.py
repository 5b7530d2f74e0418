"""The recurrent networks of Shi et al. 2017: encoder and forecaster (figure 1), and the dynamic filter network."""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from .gates import SLOPE
from .network import Network, check_grid, make_convolution
from .paper_tables import Row, Table
from .recurrent import CELLS

Tensor = torch.Tensor


class EncoderForecaster(Network):
    """An encoder from the finest level to the coarsest and a forecaster back (figure 1).

    The last state of the encoder at each level is the first state of the forecaster at that level. Each layer runs over
    the whole sequence before the next one: no forecast is fed back, so all inputs of a layer are known when it starts.
    The first half of the recurrent rows, with the rows before and between them, is the encoder. Arguments are those of
    :class:`Network`.
    """

    def __init__(self, table: Table, inputs: int, leads: int, *, low_precision: bool = False) -> None:
        super().__init__(table, inputs, leads, low_precision=low_precision)
        recurrent = [index for index, row in enumerate(table) if row.recurrent]
        middle = recurrent[len(recurrent) // 2]
        top = table[middle]
        self.encoder = nn.ModuleDict({row.name: _make_layer(row) for row in table[:middle]})
        self.forecaster = nn.ModuleDict({row.name: _make_layer(row, row is not top) for row in table[middle:]})

    def parts(self) -> list[list[nn.Parameter]]:
        """Parameters of the encoder, parameters of the forecaster."""
        return [list(part.parameters()) for part in (self.encoder, self.forecaster)]

    def output_parameters(self) -> list[nn.Parameter]:
        """Parameters of the convolutions after the last recurrent layer."""
        last = max(index for index, row in enumerate(self.table) if row.recurrent)
        return [parameter for row in self.table[last + 1 :] for parameter in self.forecaster[row.name].parameters()]

    def forward(self, frames: Tensor) -> Tensor:
        """Forecast.

        Args:
            frames: (B, J, H, W) pixels, for any J.

        Returns:
            (B, K, H, W) float32 pixels, not bounded.

        Raises:
            ValueError: If H or W is no multiple of the total stride.
        """
        check_grid(self.table, frames)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.low_precision):
            sequence = self.forecast(self.encode(frames), frames[:, -1])
        forecast: Tensor = sequence.unflatten(0, (self.leads, -1))[:, :, 0].transpose(0, 1)
        return forecast

    def encode(self, frames: Tensor) -> list[Tensor]:
        """The states (B, C, H', W') after ``frames`` (B, J, H, W), from the finest level to the coarsest."""
        states, sequence = [], add_coordinates(frames)
        for row in self.table[: len(self.encoder)]:
            layer = self.encoder[row.name]
            if row.recurrent:
                zeros = sequence.new_zeros(len(frames), row.channels_out, *sequence.shape[2:], dtype=frames.dtype)
                following = layer(sequence, zeros.contiguous(memory_format=torch.channels_last), frames.shape[1])
                states.append(following[-1])
                sequence = torch.cat(following)
            else:
                sequence = self._convolve(row, layer, sequence)
        return states

    def forecast(self, states: list[Tensor], newest: Tensor) -> Tensor:
        """The time-major forecasts (K B, 1, H, W) from the encoder's ``states`` and the ``newest`` frame (B, H, W)."""
        sequence: Any = None  # the first layer has no input
        states = list(states)
        for row in self.table[len(self.encoder) :]:
            layer = self.forecaster[row.name]
            if row.recurrent:
                sequence = torch.cat(layer(sequence, states.pop(), self.leads))
            elif row.type == "local":
                sequence = apply_dynamic_filters(newest, sequence)
            else:
                sequence = self._convolve(row, layer, sequence)
        result: Tensor = sequence
        return result

    def _convolve(self, row: Row, layer: nn.Module, sequence: Tensor) -> Tensor:
        """A convolution and, except for the last one, the leaky ReLU. The first and the last row stay float32."""
        if row in (self.table[0], self.table[-1]):  # coordinates and rain: bfloat16 has 128 steps in [0.5, 1]
            with torch.autocast(sequence.device.type, enabled=False):
                convolved = layer(sequence.float())
        else:
            convolved = layer(sequence)
        last = self.table[-2 if self.table[-1].type == "local" else -1]
        return convolved if row is last else F.leaky_relu_(convolved, SLOPE)


def add_coordinates(frames: Tensor) -> Tensor:
    """Frames (B, J, H, W) as a time-major sequence (J B, 4, H, W), channels last in memory.

    The channels are the frame, x and y in [-1, 1] and ones, as in the released code.
    """
    batch, inputs, height, width = frames.shape
    sequence = frames.new_ones(inputs, batch, height, width, 4)
    sequence[..., 0] = frames.transpose(0, 1)
    sequence[..., 1] = torch.linspace(-1, 1, width, device=frames.device)
    sequence[..., 2] = torch.linspace(-1, 1, height, device=frames.device)[:, None]
    return sequence.flatten(0, 1).permute(0, 3, 1, 2)


def apply_dynamic_filters(frame: Tensor, logits: Tensor) -> Tensor:
    """Forecasts of the dynamic filter network (De Brabandere et al. 2016; Shi et al. 2017, Table 11).

    The frame is filtered K times in succession, each time with other filters.

    Args:
        frame: (B, H, W); outside of it is 0.
        logits: (K B, k k, H, W), time-major; their softmax weights the k x k window around each location.

    Returns:
        (K B, 1, H, W).
    """
    kernel = math.isqrt(logits.shape[1])
    forecasts = []
    for weights in logits.to(frame.dtype).softmax(1).split(len(frame)):
        windows = F.unfold(frame[:, None], kernel, padding=kernel // 2).unflatten(2, frame.shape[1:])
        frame = (weights * windows).sum(1)
        forecasts.append(frame)
    return torch.cat(forecasts)[:, None]


def _make_layer(row: Row, has_input: bool = True) -> nn.Module:
    if row.recurrent:
        return CELLS[row.type](row, has_input=has_input)
    if row.type == "local":
        return nn.Identity()  # no parameters: the filters are the output of the layer before
    return make_convolution(row)
