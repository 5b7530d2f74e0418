"""The base classes of all networks: interface, initial weights and the constants of loss and optimiser."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, get_args

import torch
from torch import nn

from hko7env.contract import OptionError

from .gates import SLOPE
from .paper_tables import Row, Table, total_stride
from .recurrent import RecurrentCell, TrajGRU
from .transition import Fused, find_obstacle

Tensor = torch.Tensor


class TrainableNetwork(nn.Module):
    """What training and online learning need of a network.

    Attributes:
        metadata: What the weights were made for, stored with them; see ``registry.describe_weights``. Empty unless the
            network was built by name.
        epsilon: Constant under the root in AdaGrad, for online learning.
        betas: Decay of the moments in Adam, for training.
        gain: Factor of the variance of the initial weights, see :meth:`initialise`.
    """

    epsilon: ClassVar[float] = 1e-8
    betas: ClassVar[tuple[float, float]] = (0.5, 0.999)
    gain: ClassVar[float] = 2 / (1 + SLOPE**2)

    def __init__(self) -> None:
        super().__init__()
        self.metadata: dict[str, Any] = {}

    def cells(self) -> Iterator[RecurrentCell]:
        """The recurrent layers."""
        return (module for module in self.modules() if isinstance(module, RecurrentCell))

    def select_transition(self, fused: Fused) -> None:
        """Set whether transitions of TrajGRU are fused; see :func:`agents.networks.transition.advance`.

        Raises:
            OptionError: If there is no such choice, or ``fused`` is "on" and the network or its device has no fused
                transition.
        """
        if fused not in get_args(Fused):
            raise OptionError(f"fused is one of {', '.join(get_args(Fused))}, got {fused!r}")
        cells = [cell for cell in self.cells() if isinstance(cell, TrajGRU)]
        if fused == "on":
            obstacle = find_obstacle(cells[0].h2h.weight.device) if cells else "only TrajGRU has one"
            if obstacle is not None:
                raise OptionError(f"there is no fused transition here, as {obstacle}: choose fused auto or off")
        for cell in cells:
            cell.fused = fused

    def parts(self) -> list[list[nn.Parameter]]:
        """Groups of parameters whose gradients are clipped together, each group by its own norm."""
        return [list(self.parameters())]

    def parameter_groups(self, link_rate_share: float = 1.0) -> list[dict[str, Any]]:
        """Groups of parameters for an optimiser, with the ``share`` of the learning rate that each is trained at.

        Args:
            link_rate_share: The share for the parameters that generate the links; that of all others is 1.

        Returns:
            Two groups ``{"params": [...], "share": ...}``: all others, links. The latter may be empty.
        """
        links = {parameter: None for cell in self.cells() for parameter in cell.link_parameters()}
        others = [parameter for parameter in self.parameters() if parameter not in links]
        return [{"params": others, "share": 1.0}, {"params": list(links), "share": link_rate_share}]

    def initialise(self, seed: int) -> None:
        """Draw all weights anew from ``seed``, independent of PyTorch's global random state.

        As in the released code: normally distributed with variance 2 gain / (fan in + fan out) (MSRA), biases 0.
        Of the layers that generate links only the last one is 0, so that all links begin without displacement. Appendix
        A of the paper prints 0 for all of them, but then their weights would have no gradient.
        """
        random = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                fans = (module.weight.shape[0] + module.weight.shape[1]) * math.prod(module.kernel_size)
                drawn = torch.randn(module.weight.shape, generator=random) * math.sqrt(2 * self.gain / fans)
                with torch.no_grad():
                    module.weight.copy_(drawn)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_parameters()
        for cell in self.cells():
            cell.initialise_links(0.0)


class Network(TrainableNetwork):
    """A network made from the rows of a table: called with frames (B, J, H, W), it gives forecasts (B, K, H, W).

    Frames are pixels, in [0, 1] for radar and up to 1 / 0.6 for MovingMNIST++. Forecasts are float32 pixels and not
    bounded, since the last layer is linear.

    Args:
        table: Its rows, see :mod:`agents.networks.paper_tables`.
        inputs: J, number of input frames.
        leads: K, number of frames to forecast.
        low_precision: Multiply in bfloat16; weights, states and links stay float32.

    Attributes:
        sums_leads: Whether the loss sums over leads instead of averaging.
        balanced_scale: Factor of B-MSE + B-MAE in the loss.
        plain_scale: Factor of MSE + MAE in the loss.
    """

    sums_leads: ClassVar[bool] = False
    balanced_scale: ClassVar[float] = 1e-5
    plain_scale: ClassVar[float] = 5e-5

    def __init__(self, table: Table, inputs: int, leads: int, *, low_precision: bool = False) -> None:
        super().__init__()
        self.table, self.inputs, self.leads, self.low_precision = table, inputs, leads, low_precision

    @property
    def total_stride(self) -> int:
        """Height and width of the frames must be multiples of this many px."""
        return total_stride(self.table)

    def output_parameters(self) -> list[nn.Parameter]:
        """Parameters of the last layers, which turn features into the forecast."""
        raise NotImplementedError(f"{type(self).__name__} does not say which of its layers are the last")

    def set_update_gate_bias(self, bias: float) -> None:
        """Set the bias of the update gates of all recurrent layers; see :meth:`RecurrentCell.set_update_gate_bias`.

        Raises:
            ValueError: If the network has no update gates.
        """
        cells = list(self.cells())
        if not cells:
            raise ValueError("update_gate_bias applies to recurrent layers, and this network has none")
        for cell in cells:
            cell.set_update_gate_bias(bias)

    def initialise_links(self, spacing: float) -> None:
        """Initialise the links of all layers; see :meth:`TrajGRU.initialise_links`.

        Args:
            spacing: In px of each layer's map.

        Raises:
            ValueError: If the network has no links.
        """
        cells = [cell for cell in self.cells() if cell.link_parameters()]
        if not cells:
            raise ValueError("link_spacing applies to layers with links, such as TrajGRU, and this network has none")
        for cell in cells:
            cell.initialise_links(spacing)


def check_grid(table: Table, frames: Tensor) -> None:
    """Check that height and width of the frames are multiples of the total stride of ``table``.

    Args:
        table: Rows of a network.
        frames: (B, J, H, W).

    Raises:
        ValueError: If H or W is no multiple of the total stride, or the frames are not (B, J, H, W).
    """
    if frames.ndim != 4:
        raise ValueError(f"frames are (batch, frame, row, column), got {tuple(frames.shape)}")
    height, width = frames.shape[-2:]
    stride = total_stride(table)
    if height % stride or width % stride:
        padded = " x ".join(str(math.ceil(n / stride) * stride) for n in (height, width))
        raise ValueError(
            f"a grid of {height} x {width} px is not a multiple of the network's total stride of {stride} px: "
            f"pad the frames to {padded}, or crop them to multiples of {stride}"
        )


def make_convolution(row: Row) -> nn.Module:
    """The module of a "conv" or "deconv" row, in two or three dimensions."""
    kinds: dict[tuple[str, bool], Any] = {
        ("conv", False): nn.Conv2d,
        ("conv", True): nn.Conv3d,
        ("deconv", False): nn.ConvTranspose2d,
        ("deconv", True): nn.ConvTranspose3d,
    }
    kind = kinds[row.type, isinstance(row.kernel, tuple)]
    layer: nn.Module = kind(row.channels_in, row.channels_out, row.kernel, row.stride, row.padding, bias=row.bias)
    return layer
