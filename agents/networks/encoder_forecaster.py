"""The networks of Shi et al. 2017, made from the rows of their tables: frames in, frames out.

All take frames (B, J, H, W), pixels in [0, 1], and give (B, K, H, W), pixels that nothing bounds: the last layer is
linear. :meth:`parts` gives the parameters whose gradients are clipped together.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from .paper_tables import Row, Table, is_recurrent, total_stride
from .recurrent import SLOPE, ConvGRU, TrajGRU

Tensor = torch.Tensor
CELLS: dict[str, type[ConvGRU]] = {"convgru": ConvGRU, "trajgru": TrajGRU}
PRECISIONS = ("float32", "bf16")


def network(
    table: Table, inputs: int, leads: int, *, seed: int = 0, precision: str = "float32", device: str = "cpu"
) -> "EncoderForecaster | CNN":
    """The network of ``table`` for J ``inputs`` and K ``leads``, its weights drawn from ``seed``.

    ``precision`` "bf16" lets convolutions multiply in bfloat16; weights, states and flow stay float32. On the device
    "meta" it takes no memory. Raises ValueError for a precision, or numbers of frames, that it cannot have.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"there is no precision {precision!r}, only {', '.join(PRECISIONS)}")
    if min(inputs, leads) < 1:
        raise ValueError(f"a network takes and gives at least one frame, not {inputs} -> {leads}")
    low = precision == "bf16"
    with torch.device("meta"):  # where PyTorch's own initialisation leaves the global random state alone
        net = EncoderForecaster(table, leads, low) if is_recurrent(table) else CNN(table, inputs, leads, low)
    if device != "meta":
        net.to_empty(device=device)
        initialise(net, seed)
    return net


def initialise(net: nn.Module, seed: int) -> None:
    """Draw the weights anew: normal, of variance gain / mean of fan in and fan out; biases 0.

    Gain is that of a leaky ReLU, in the CNNs 1, as in the released code. The last layer of a flow generator is 0: all
    links begin as the location itself.
    """
    random = torch.Generator().manual_seed(seed)
    gain = 1.0 if isinstance(net, CNN) else 2 / (1 + SLOPE**2)
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            fans = (module.weight.shape[0] + module.weight.shape[1]) * math.prod(module.kernel_size)
            drawn = torch.randn(module.weight.shape, generator=random) * math.sqrt(2 * gain / fans)
            with torch.no_grad():
                module.weight.copy_(drawn)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_parameters()
    for module in net.modules():
        if isinstance(module, TrajGRU):
            nn.init.zeros_(module.flow.weight)


class EncoderForecaster(nn.Module):
    """Encoder and forecaster in reversed order, states handed over level by level; Shi et al. 2017, figure 1.

    Layer by layer over the whole sequence: nothing is fed back, so a layer's inputs are all known when it begins.
    """

    sums_leads = False  # the loss on radar is a mean over leads
    epsilon = 1e-8  # of AdaGrad online, under the root

    def __init__(self, table: Table, leads: int, low: bool) -> None:
        super().__init__()
        self.table, self.leads, self.low = table, leads, low
        self.encoder = nn.ModuleDict({row.name: _layer(row) for row in table if row.name.startswith("e")})
        self.forecaster = nn.ModuleDict({row.name: _layer(row) for row in table if row.name.startswith("f")})

    def parts(self) -> list[list[nn.Parameter]]:
        """Parameters of the encoder, parameters of the forecaster."""
        return [list(part.parameters()) for part in (self.encoder, self.forecaster)]

    def forward(self, frames: Tensor) -> Tensor:
        """(B, K, H, W) of ``frames`` (B, J, H, W). Raises ValueError where the rows do not fit H x W."""
        check_grid(self.table, frames)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.low):
            sequence = self.forecast(self.encode(frames), frames[:, -1])
        return sequence.unflatten(0, (self.leads, -1))[:, :, 0].transpose(0, 1)

    def encode(self, frames: Tensor) -> list[Tensor]:
        """The states after ``frames`` (B, J, H, W), from the finest level to the coarsest, each (B, C, H', W')."""
        states, sequence = [], with_coordinates(frames)
        for row in self.table[: len(self.encoder)]:
            layer = self.encoder[row.name]
            if row.type in CELLS:
                begin = sequence.new_zeros(len(frames), row.channels_out, *sequence.shape[2:], dtype=frames.dtype)
                following = layer(sequence, begin.contiguous(memory_format=torch.channels_last), frames.shape[1])
                states.append(following[-1])
                sequence = torch.cat(following)
            else:
                sequence = self._convolved(row, layer, sequence)
        return states

    def forecast(self, states: list[Tensor], newest: Tensor) -> Tensor:
        """The forecasts (K B, 1, H, W) from the encoder's ``states`` and the ``newest`` frame (B, H, W)."""
        sequence: Any = None  # the top has no input
        states = list(states)
        for row in self.table[len(self.encoder) :]:
            layer = self.forecaster[row.name]
            if row.type in CELLS:
                sequence = torch.cat(layer(sequence, states.pop(), self.leads))
            elif row.type == "local":
                sequence = filtered(newest, sequence)
            else:
                sequence = self._convolved(row, layer, sequence)
        return sequence

    def _convolved(self, row: Row, layer: nn.Module, sequence: Tensor) -> Tensor:
        """A convolution and, unless its values are the result, the leaky ReLU. First and last stay float32."""
        if row.name in ("econv1", "fconv5"):  # coordinates and rain: bfloat16 has 128 steps in [0.5, 1]
            with torch.autocast(sequence.device.type, enabled=False):
                convolved = layer(sequence.float())
        else:
            convolved = layer(sequence)
        result = self.table[-2 if self.table[-1].type == "local" else -1]
        return convolved if row is result else F.leaky_relu_(convolved, SLOPE)


class CNN(nn.Module):
    """Convolutions down, transposed ones up; the frames are channels, or the depth of a three-dimensional map."""

    sums_leads = True  # as the released code, where leads are channels of one summed map: 20 times the mean
    epsilon = 1e-7  # MXNet's default, which the released code changes for recurrent networks only

    def __init__(self, table: Table, inputs: int, leads: int, low: bool) -> None:
        super().__init__()
        self.deep = isinstance(table[0].kernel, tuple)
        if self.deep:
            own = table[0].size_in[0], table[-1].size_out[0]  # type: ignore[index]
            if own != (inputs, leads):
                raise ValueError(f"the rows of this 3D CNN make {own[0]} -> {own[1]} frames, not {inputs} -> {leads}")
        else:
            table = (table[0]._replace(channels_in=inputs), *table[1:-1], table[-1]._replace(channels_out=leads))
        self.table, self.low = table, low
        self.layers = nn.ModuleDict({row.name: _layer(row) for row in table})
        kind = nn.BatchNorm3d if self.deep else nn.BatchNorm2d
        self.norms = nn.ModuleDict({row.name: kind(row.channels_out) for row in table if row.name in NORMALISED})

    def parts(self) -> list[list[nn.Parameter]]:
        """All parameters together."""
        return [list(self.parameters())]

    def forward(self, frames: Tensor) -> Tensor:
        """(B, K, H, W) of ``frames`` (B, J, H, W). Raises ValueError where the rows do not fit H x W."""
        check_grid(self.table, frames)
        x = frames[:, None] if self.deep else frames.contiguous(memory_format=torch.channels_last)
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.low):
            for row in self.table:
                x = self.layers[row.name](x)
                if row.name in self.norms:
                    x = self.norms[row.name](x)
                if row.name not in LINEAR:
                    x = F.leaky_relu_(x, SLOPE)
        return (x[:, 0] if self.deep else x).to(frames.dtype)


NORMALISED = ("enc2", "enc3", "enc4", "vid2", "vid3", "vid4")  # "We always use BN" is printed; these the code has
LINEAR = ("vid5", "vid6", "vid7")


def check_grid(table: Table, frames: Tensor) -> None:
    """Raise ValueError unless ``frames`` (B, J, H, W) can go through the strides of ``table``."""
    if frames.ndim != 4:
        raise ValueError(f"frames are (batch, frame, row, column), got {tuple(frames.shape)}")
    height, width = frames.shape[-2:]
    stride = total_stride(table)
    if height % stride or width % stride:
        fitting = " x ".join(str(math.ceil(n / stride) * stride) for n in (height, width))
        raise ValueError(
            f"a grid of {height} x {width} does not go through strides of {stride} in all: "
            f"pad the frames to {fitting}, or crop them to multiples of {stride}"
        )


def with_coordinates(frames: Tensor) -> Tensor:
    """Frames (B, J, H, W) as a sequence (J B, 4, H, W): frame, x and y in [-1, 1], ones, channels last in memory."""
    batch, inputs, height, width = frames.shape
    sequence = frames.new_ones(inputs, batch, height, width, 4)
    sequence[..., 0] = frames.transpose(0, 1)
    sequence[..., 1] = torch.linspace(-1, 1, width, device=frames.device)
    sequence[..., 2] = torch.linspace(-1, 1, height, device=frames.device)[:, None]
    return sequence.flatten(0, 1).permute(0, 3, 1, 2)


def filtered(frame: Tensor, logits: Tensor) -> Tensor:
    """The dynamic filter network's forecasts: ``frame`` (B, H, W) filtered again and again, by filters of its own.

    ``logits`` (K B, k k, H, W) become the weights of k x k windows about each location: (K B, 1, H, W). De Brabandere
    et al. 2016; outside the frame is 0.
    """
    kernel = math.isqrt(logits.shape[1])
    forecasts = []
    for weights in logits.to(frame.dtype).softmax(1).split(len(frame)):
        windows = F.unfold(frame[:, None], kernel, padding=kernel // 2).unflatten(2, frame.shape[1:])
        frame = (weights * windows).sum(1)
        forecasts.append(frame)
    return torch.cat(forecasts)[:, None]


def _layer(row: Row) -> nn.Module:
    """The module of one row."""
    if row.type in CELLS:
        return CELLS[row.type](row, has_input=row.name != "frnn1")
    if row.type == "local":
        return nn.Identity()  # has no parameters: its filters are the layer before
    kinds: Any = {
        ("conv", False): nn.Conv2d,
        ("conv", True): nn.Conv3d,
        ("deconv", False): nn.ConvTranspose2d,
        ("deconv", True): nn.ConvTranspose3d,
    }
    kind = kinds[row.type, isinstance(row.kernel, tuple)]
    layer: nn.Module = kind(row.channels_in, row.channels_out, row.kernel, row.stride, row.padding, bias=row.bias)
    return layer
