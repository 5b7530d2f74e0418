"""Draw the points that the links of a TrajGRU read, level by level, as in Figure 3 of Shi et al. 2017.

Arrows lead from some locations to the points that their links read, drawn over the newest input frame. Above each level
stands the share of its links that read outside the map, where everything is 0.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from hko7env.command_line import Parser, UsageError, add_archive, add_out
from hko7env.contract import Task
from hko7env.env import NowcastingEnv
from hko7env.options import add_options, given

from ..learning.checkpoint import CheckpointError, read
from ..learning.weights import check_metadata, load_weights
from ..networks.encoder_forecaster import EncoderForecaster
from ..networks.link_plots import Flow, describe_level, draw_levels, record_links
from ..networks.registry import SIZES, build

SUFFIXES = (".png", ".webp")


@dataclass(frozen=True)
class Options:
    """What to draw."""

    split: Annotated[str | None, "split of the archive; none: test if the archive has it, otherwise all"] = None
    sequence: Annotated[int | None, "index of a sequence of the split; none: the middle one"] = None
    across: Annotated[int, "number of locations with arrows along a side"] = 8
    device: Annotated[Literal["auto", "cpu", "cuda"], "device; auto is cuda where it is available"] = "auto"


def main(arguments: list[str] | None = None) -> int:
    """Draw the links of the checkpoints that ``arguments`` name, one row of panels each.

    Returns:
        The exit status 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If a checkpoint, the archive, the split or the sequence cannot be used.
        OSError: If a file cannot be read or written.
    """
    args = _parser().parse_args(arguments)
    options = Options(**given(args, Options))
    if options.across < 1:
        raise UsageError(f"--across must be at least 1, got {options.across}")
    if args.out.suffix not in SUFFIXES:
        raise UsageError(f"--out ends in {' or '.join(SUFFIXES)}, got {args.out}")
    env = gymnasium.make("HKO7-Offline-v0", archive=args.archive, split=options.split).unwrapped
    assert isinstance(env, NowcastingEnv)
    count = len(env.schedule)
    index = count // 2 if options.sequence is None else options.sequence
    if not 0 <= index < count:
        raise UsageError(f"--sequence is 0 to {count - 1}, got {index}")
    frames = env.reset(options={"start": index, "stop": count})[0]["frames"]
    found = [read_links(path, env.task, frames, options.device) for path in args.checkpoints]
    _stack([draw_levels(levels, frames[-1], options.across) for levels in found]).save(args.out)
    print(f"{args.out}: links after the frame of {env.issued(index)}")
    for path, levels in zip(args.checkpoints, found, strict=True):
        print(path, *(describe_level(name, flow) for name, flow in levels.items()), sep="\n  ")
    return 0


def _parser() -> Parser:
    parser = Parser("hko7env links", __doc__ or "")
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="checkpoints of TrajGRUs")
    add_archive(parser)
    add_options(parser, Options)
    add_out(parser, "a .png or .webp file", "links.png")
    return parser


def read_links(path: Path, task: Task, frames: npt.NDArray[np.uint8], device: str = "cpu") -> dict[str, Flow]:
    """The links of a TrajGRU at its newest input frame and, in the forecaster, at its first lead time.

    Args:
        path: A checkpoint of a TrajGRU.
        task: The task of the archive.
        frames: (J, H, W) uint8 levels.
        device: Where to compute.

    Returns:
        The flow (L, 2, H', W') in px of each recurrent layer's map, by the name of its row.

    Raises:
        CheckpointError: If the checkpoint is damaged or not of a TrajGRU.
    """
    _, metadata = read(path)
    check_metadata(metadata, {"model": "trajgru"}, path)
    size = metadata.get("size")
    if size not in SIZES:
        raise CheckpointError(f"{path} has size {size!r}, but {' or '.join(SIZES)} is needed: train the network again")
    net = build("trajgru", size, task, device=device)
    load_weights(net, path)
    inputs = torch.from_numpy(frames)[None].to(next(net.parameters()).device) / 255
    _, found = record_links(net.train(False), inputs)
    assert isinstance(net, EncoderForecaster)
    return {name: flow[-1 if name in net.encoder else 0, 0] for name, flow in found.items()}


def _stack(rows: list[Image.Image]) -> Image.Image:
    """Pictures below each other."""
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
