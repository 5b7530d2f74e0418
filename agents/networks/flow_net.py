"""The network that starts from the flow: a small U-Net corrects advected frames, one lead time like another."""

import itertools
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from hko7env.schedule import INPUTS
from hko7env.units import THRESHOLDS, ZR

from .devices import select_device
from .network import TrainableNetwork

Tensor = torch.Tensor

FLOW_NET = "flow_net"  # its name
SLOPE = 0.1  # of the leaky ReLU
WIDTHS = (16, 32, 48, 64)  # channels at 1/2, 1/4, 1/8 and 1/16 of the resolution
FINE = 2  # px of the newest frame in a cell, along each side
EVENTS = len(THRESHOLDS)
INITIAL_ODDS = -4.0  # log odds of each event before the training


class Corrected(NamedTuple):
    """What the network makes of an advected frame.

    Attributes:
        pixels: (B, H, W) the forecast for the balanced errors, pixels, not bounded.
        logits: (B, 5, H, W) log odds that each threshold of rain rate is reached.
    """

    pixels: Tensor
    logits: Tensor

    def crop(self, height: int, width: int) -> "Corrected":
        """Without the padding: the first ``height`` rows and ``width`` columns."""
        return Corrected(self.pixels[..., :height, :width], self.logits[..., :height, :width])


class FlowNet(TrainableNetwork):
    """Corrects frames that were advected to a lead time, see :mod:`agents.optical_flow.segment_advection`.

    It works at half the resolution, whose cells hold the four pixels of the newest frame as channels, so that no detail
    is lost. The correction is added to the advected newest frame.

    Args:
        inputs: J, number of input frames.
        widths: Channels at 1/2, 1/4, ... of the resolution.
        low_precision: Multiply in bfloat16.

    Attributes:
        last_layer_only: Compute gradients for the last layer only.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    last_layer_only = False

    def __init__(self, inputs: int, widths: tuple[int, ...] = WIDTHS, *, low_precision: bool = False) -> None:
        super().__init__()
        self.low_precision = low_precision
        first = FINE * FINE + inputs + 2  # channels of the newest frame and of the context
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, stride=1 if level == 0 else 2)
            for level, (a, b) in enumerate(itertools.pairwise((first, *widths)))
        )
        self.same = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for b in widths)
        self.deep = nn.ModuleList(nn.Conv2d(widths[-1], widths[-1], 3, padding=1) for _ in range(2))
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.merge = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0] + first, FINE * FINE * (1 + EVENTS), 3, padding=1)

    @property
    def total_stride(self) -> int:
        """Height and width of advected frames must be multiples of this many px."""
        stride: int = FINE * 2 ** (len(WIDTHS) - 1)
        return stride

    def initialise(self, seed: int) -> None:
        """Draw all weights anew; the network begins without a correction, and with small odds of each event."""
        super().initialise(seed)
        assert self.head.bias is not None
        pixels = FINE * FINE
        with torch.no_grad():
            self.head.weight *= 0.1
            self.head.weight[:pixels] = 0
            self.head.bias[pixels:] = INITIAL_ODDS

    def forward(self, newest: Tensor, context: Tensor) -> Corrected:
        """Correct advected frames.

        Args:
            newest: (B, H, W) the advected newest frame, pixels.
            context: (B, J + 2, H / 2, W / 2), see :class:`agents.optical_flow.segment_advection.AdvectedFrames`.
        """
        first = torch.cat([F.pixel_unshuffle(newest[:, None], FINE), context], 1)
        first = first.contiguous(memory_format=torch.channels_last)
        with torch.autocast(newest.device.type, torch.bfloat16, enabled=self.low_precision):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.last_layer_only):
                features = self._features(first)
            out = self.head(features).float()
        out = F.pixel_shuffle(out, FINE)
        return Corrected(newest + out[:, 0], out[:, 1:])

    def _features(self, first: Tensor) -> Tensor:
        """The input of the last layer, (B, C, h, w), which holds the input of the first one, (B, C', h, w)."""
        x, kept = first, []
        for down, same in zip(self.down, self.same, strict=True):
            x = F.leaky_relu_(down(x), SLOPE)
            x = F.leaky_relu_(same(x), SLOPE)
            kept.append(x)
        for layer in self.deep:
            x = x + F.leaky_relu_(layer(x), SLOPE)
        for level in reversed(range(len(self.merge))):
            x = F.interpolate(self.lift[level](x), scale_factor=2, mode="bilinear")
            x = F.leaky_relu_(self.merge[level](x + kept[level]), SLOPE)
        return torch.cat([x, first.to(x.dtype)], 1)


def build_flow_net(zr: ZR, *, seed: int = 0, precision: str = "float32", device: str = "cpu") -> FlowNet:
    """The network with random weights and its ``metadata``.

    Args:
        zr: Relation of level to rain rate.
        seed: Of the weights.
        precision: "float32", or "bf16" to multiply in bfloat16.
        device: As :func:`select_device` takes it.

    Raises:
        OptionError: If torch cannot use the device here.
    """
    with torch.device("meta"):
        net = FlowNet(INPUTS, low_precision=precision == "bf16")
    net.to_empty(device=select_device(device))
    net.initialise(seed)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.metadata = {"model": FLOW_NET, "widths": list(WIDTHS), "inputs": INPUTS, "zr": [zr.a, zr.b]}
    return net
