"""The network that starts from the flow: a small U-Net corrects carried frames, one lead time like another."""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import nn

from hko7env.schedule import INPUTS, LEADS
from hko7env.units import THRESHOLDS, ZR

from .devices import select_device
from .network import Network

Tensor = torch.Tensor

FLOW_NET = "flow_net"  # its name
SLOPE = 0.1  # of the leaky ReLU
WIDTHS = (16, 32, 48, 64)  # channels at 1/2, 1/4, 1/8 and 1/16 of the resolution
EVENTS = len(THRESHOLDS)


class Corrected(NamedTuple):
    """What the network makes of a carried frame.

    Attributes:
        pixels: (B, H, W) the forecast for the balanced errors, pixels, not bounded.
        logits: (B, 5, H, W) log odds that each threshold of rain rate is reached.
    """

    pixels: Tensor
    logits: Tensor


class FlowNet(Network):
    """Corrects frames that were carried to a lead time; see :class:`agents.optical_flow.carried.Carried`.

    It works at half the resolution, whose cells hold the four pixels of the newest frame as channels, so that no detail
    is lost. The correction is added to the carried newest frame.

    Args:
        inputs: J, number of input frames.
        leads: Not used: all lead times share the weights.
        low_precision: Multiply in bfloat16.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)

    def __init__(self, table: tuple[()], inputs: int, leads: int, *, low_precision: bool = False) -> None:
        super().__init__(table, inputs, leads, low_precision=low_precision)
        first = 4 + inputs + 1 + 1
        widths = WIDTHS
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, stride=1 if n == 0 else 2)
            for n, (a, b) in enumerate(zip((first, *widths), widths))
        )
        self.same = nn.ModuleList(nn.Conv2d(b, b, 3, padding=1) for b in widths)
        self.deep = nn.ModuleList(nn.Conv2d(widths[-1], widths[-1], 3, padding=1) for _ in range(2))
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.merge = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in widths[:-1])
        self.head = nn.Conv2d(widths[0] + first, 4 * (1 + EVENTS), 3, padding=1)

    @property
    def total_stride(self) -> int:
        return 16

    def initialise(self, seed: int) -> None:
        super().initialise(seed)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.weight[:4].zero_()
            self.head.bias[4:].fill_(-4.0)

    def forward(self, newest: Tensor, context: Tensor) -> Corrected:
        """Correct carried frames.

        Args:
            newest: (B, H, W) the carried newest frame, pixels.
            context: (B, J + 2, H / 2, W / 2), see :class:`agents.optical_flow.carried.Carried`.
        """
        first = torch.cat([F.pixel_unshuffle(newest[:, None], 2), context], 1)
        first = first.contiguous(memory_format=torch.channels_last)
        with torch.autocast(newest.device.type, torch.bfloat16, enabled=self.low_precision):
            x, kept = first, []
            for down, same in zip(self.down, self.same):
                x = F.leaky_relu_(down(x), SLOPE)
                x = F.leaky_relu_(same(x), SLOPE)
                kept.append(x)
            for layer in self.deep:
                x = x + F.leaky_relu_(layer(x), SLOPE)
            for level in reversed(range(len(self.merge))):
                x = F.interpolate(self.lift[level](x), scale_factor=2, mode="bilinear")
                x = F.leaky_relu_(self.merge[level](x + kept[level]), SLOPE)
            out = self.head(torch.cat([x, first.to(x.dtype)], 1)).float()
        out = F.pixel_shuffle(out, 2)
        return Corrected(newest + out[:, 0], out[:, 1:])


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
        net = FlowNet((), INPUTS, LEADS, low_precision=precision == "bf16")
    net.to_empty(device=select_device(device))
    net.initialise(seed)
    net.to(memory_format=torch.channels_last)
    net.metadata = {"model": FLOW_NET, "widths": list(WIDTHS), "inputs": INPUTS, "zr": [zr.a, zr.b]}
    return net
