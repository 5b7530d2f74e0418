"""TrajGRU's transition in PyTorch and fused, at the sizes of the paper's networks: times on a GPU, or counts."""

import argparse
from collections.abc import Iterator
from math import prod

import torch

from hko7env.contract import OptionError

from ..networks.paper_tables import TABLES
from ..networks.tilings import split_sum, tilings_for
from ..networks.transition import REPEATS, Case, find_obstacle
from ..networks.transition import measure as measure_case
from .timing import Line, line

NETWORKS = ("hko7 trajgru", "mnist trajgru L13")
BATCHES = (1, 4)
MEGA, GIGA = 1e6, 1e9
FLOAT = 4  # bytes
# How often PyTorch's way reads or writes a map of all links, as float32 and in the number format of the products.
# Forward: written by the sampling, copied with the channels in order, rounded if the formats differ, projected.
# Backward: the same up to the rounding; read for the gradient of the weight, written as the gradient with respect to
# the samples; in float32 again, copied, read by the backward pass of the sampling.
PASSES = {torch.float32: ((4, 0), (8, 0)), torch.bfloat16: ((4, 2), (8, 4))}


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Median milliseconds of one transition, or with ``args.list`` what it multiplies and moves.

    Raises:
        OptionError: If there is no fused transition here.
    """
    if args.list:
        yield from (count(case) for case in cases("cuda") if case.learns)
        return
    obstacle = find_obstacle(torch.device("cuda"))
    if obstacle is not None:
        raise OptionError(f"there is no fused transition here, as {obstacle}: only --list works")
    for case in cases("cuda"):
        times = measure_case(case)
        for tiling, milliseconds in times.items():
            name = "PyTorch" if tiling is None else f"fused, {tiling.pixels} locations a program"
            yield line(f"transition/{case}/{name}", milliseconds / 1e3 / REPEATS, "ms", milliseconds / times[None])


def cases(device: str) -> Iterator[Case]:
    """The transitions of the paper's networks, each once."""
    sizes = {
        (row.channels_out, row.size_out, row.state): None
        for name in NETWORKS
        for row in TABLES[name]
        if row.type == "trajgru"
    }
    for channels, side, links in sizes:
        for batch in BATCHES:
            for products in PASSES:
                for learns in (False, True):
                    assert isinstance(side, int)  # maps have two equal sides
                    shape = (batch, channels, side, side)
                    yield Case(torch.device(device), shape, links, torch.float32, products, True, learns)


def count(case: Case) -> Line:
    """Multiplications and additions of the products, and bytes that each way moves at least, forward and backward.

    Every kernel is taken to read each of its inputs once and to write each of its results once. Of PyTorch's way only
    maps of all links are counted; the fused way has none, and everything is counted.
    """
    (batch, channels, height, width), links = case.shape, case.links
    pixels, size = batch * height * width, case.products.itemsize
    samples, weights = pixels * links * channels, 3 * channels * links * channels
    plain = [samples * (FLOAT * full + size * low) for full, low in PASSES[case.products]]
    flow, maps = pixels * 2 * links * FLOAT, pixels * channels
    forward = maps * FLOAT * (2 + 4) + maps * size * 3 + flow + weights * size  # states, what is kept; input
    by_gates = maps * FLOAT * (1 + 1 + 4 + 1) + maps * size * (3 + 3)
    by_samples = maps * FLOAT * (1 + 2) + maps * size * 3 + 2 * flow + weights * size
    parts = split_sum(tilings_for(pixels)[-1], pixels, channels, links).parts
    by_projection = maps * FLOAT + maps * size * 3 + flow + weights * FLOAT * (2 * parts + 1 if parts > 1 else 1)
    product = 2 * prod((3 * channels, links * channels, pixels))
    return {
        "name": f"transition/{case}",
        "GFLOP": [round(each / GIGA, 2) for each in (product, 2 * product)],
        "MB PyTorch": [round(each / MEGA, 1) for each in plain],
        "MB fused": [round(each / MEGA, 1) for each in (forward, by_gates + by_samples + by_projection)],
    }
