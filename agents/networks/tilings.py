"""How the fused transition of TrajGRU divides its work among programs; see :mod:`agents.networks.fused_transition`."""

from dataclasses import dataclass
from typing import NamedTuple

PROGRAMS = 264  # of a sum over all locations: two for each multiprocessor of a large GPU
SMALLEST = 16  # rows and columns of a block that tensor cores multiply


@dataclass(frozen=True)
class Tiling:
    """How much one program computes.

    Attributes:
        pixels: Locations.
        channels: Channels of the result.
        inner: Terms of a sum that are multiplied at once.
        gates: Rows of the weight's gradient.
        warps: Groups of 32 threads.
        stages: Loads that are under way at once.
    """

    pixels: int
    channels: int
    inner: int
    gates: int
    warps: int
    stages: int = 2


TILINGS = (  # from the smallest maps to the largest
    Tiling(pixels=16, channels=32, inner=64, gates=64, warps=4),
    Tiling(pixels=32, channels=64, inner=32, gates=64, warps=4),
    Tiling(pixels=64, channels=64, inner=32, gates=64, warps=8),
    Tiling(pixels=128, channels=64, inner=32, gates=128, warps=8),
)


def tilings_for(pixels: int) -> tuple[Tiling, Tiling]:
    """The tilings worth a measurement for maps of so many locations in all, the default last."""
    first = 0 if pixels <= 2048 else 1 if pixels <= 16384 else 2
    return TILINGS[first], TILINGS[first + 1]


class Split(NamedTuple):
    """How the gradient of the weight is summed over all locations.

    Attributes:
        pixels: Locations that are multiplied at once.
        gates: Rows of a block of the gradient.
        channels: Columns of a block.
        blocks: Blocks in a column of blocks, and in a row.
        share: Locations of a part.
        parts: Parts, each with a sum of its own.
    """

    pixels: int
    gates: int
    channels: int
    blocks: tuple[int, int]
    share: int
    parts: int


def split_sum(tiling: Tiling, pixels: int, channels: int, links: int) -> Split:
    """The division of the sum for the gradient (3 C, L C) over ``pixels`` locations: enough programs to fill a GPU."""
    rows, inner = 3 * channels, min(max(tiling.pixels, 32), 64)
    gates, width = block(tiling.gates, rows), block(tiling.channels, channels)
    blocks = ceil_divide(rows, gates), links * ceil_divide(channels, width)
    wanted = max(PROGRAMS // (blocks[0] * blocks[1]), 1)
    share = inner * ceil_divide(ceil_divide(pixels, inner), wanted)
    return Split(inner, gates, width, blocks, share, ceil_divide(pixels, share))


def block(largest: int, entries: int) -> int:
    """The size of a block of at most ``largest`` of ``entries``: a power of two that tensor cores can multiply."""
    return min(largest, max(1 << (entries - 1).bit_length(), SMALLEST))


def ceil_divide(total: int, size: int) -> int:
    """The number of blocks of ``size`` that hold ``total``."""
    return -(-total // size)
