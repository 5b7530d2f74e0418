"""The convolutional networks of Shi et al. 2017, two- and three-dimensional; Tables 7, 8, 13 and 14."""

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from .gates import SLOPE
from .network import Network, check_grid, make_convolution
from .paper_tables import Table

Tensor = torch.Tensor

# The tables print "We always use BN"; the released code has it after these rows only.
NORMALISED = ("enc2", "enc3", "enc4", "vid2", "vid3", "vid4")
LINEAR = ("vid5", "vid6", "vid7")  # rows without leaky ReLU


class CNN(Network):
    """Strided convolutions, then transposed convolutions; arguments as for :class:`Network`.

    In two dimensions the frames are channels, in three they are the depth of the maps.

    Raises:
        ValueError: If a three-dimensional table is not for ``inputs`` and ``leads`` frames.
    """

    sums_leads = True  # in the released code leads are channels of one map that is summed
    balanced_scale = 5e-5  # as plain_scale; with the sum over 20 leads 100 times the loss of the recurrent networks
    epsilon = 1e-7  # MXNet's default, which the released code changes for the recurrent networks only
    gain = 1.0  # Xavier, where appendix A of the paper prints MSRA

    def __init__(self, table: Table, inputs: int, leads: int, *, low_precision: bool = False) -> None:
        three_dimensional = isinstance(table[0].kernel, tuple)
        if not three_dimensional:
            table = (table[0]._replace(channels_in=inputs), *table[1:-1], table[-1]._replace(channels_out=leads))
        elif (own := (_depth(table[0].size_in), _depth(table[-1].size_out))) != (inputs, leads):
            raise ValueError(f"the rows of this 3D CNN turn {own[0]} frames into {own[1]}, not {inputs} into {leads}")
        super().__init__(table, inputs, leads, low_precision=low_precision)
        self.three_dimensional = three_dimensional
        self.layers = nn.ModuleDict({row.name: make_convolution(row) for row in table})
        norm = nn.BatchNorm3d if three_dimensional else nn.BatchNorm2d
        self.norms = nn.ModuleDict({row.name: norm(row.channels_out) for row in table if row.name in NORMALISED})

    def output_parameters(self) -> list[nn.Parameter]:
        """Parameters of the linear layers at the end."""
        rows = [row for row in self.table if row.name in LINEAR]
        return [parameter for row in rows for parameter in self.layers[row.name].parameters()]

    def forward(self, frames: Tensor) -> Tensor:
        """Forecast.

        Args:
            frames: (B, J, H, W) pixels.

        Returns:
            (B, K, H, W) pixels of the same type, not bounded.

        Raises:
            ValueError: If H or W is no multiple of the total stride.
        """
        check_grid(self.table, frames)
        x = frames[:, None] if self.three_dimensional else frames.contiguous(memory_format=torch.channels_last)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.low_precision):
            for row in self.table:
                x = self.layers[row.name](x)
                if row.name in self.norms:
                    x = self.norms[row.name](x)
                if row.name not in LINEAR:
                    x = F.leaky_relu_(x, SLOPE)
        return (x[:, 0] if self.three_dimensional else x).to(frames.dtype)


def _depth(size: int | tuple[int, ...]) -> int:
    assert isinstance(size, tuple)
    return size[0]
