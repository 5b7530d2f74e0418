"""Copy a weather service's files into a folder at the pace at which they once came, or faster.

It stands in for a live feed. Given again after a stop, the command continues with the files that are not there yet.
"""

import argparse
import math
from pathlib import Path

from hko7env.archive.format import minutes
from hko7env.command_line import Parser, add_out
from hko7env.commands.archive.import_files import add_format
from hko7env.importers.replaying import replay


def main(arguments: list[str] | None = None) -> int:
    """Drop the files and print their number; returns 0."""
    args = _parser().parse_args(arguments)
    dropped = 0
    for _ in replay(args.format, args.source, args.out, speed=args.speed, begin=args.begin, end=args.end):
        dropped += 1
    print(f"{args.out}: {dropped} files dropped")
    return 0


def _parser() -> Parser:
    parser = Parser("hko7env archive replay", __doc__ or "")
    add = parser.add_argument
    add_format(parser)
    add("source", type=Path, metavar="SOURCE", help="a folder of files")
    add_out(parser, "the folder to drop them into")
    add("--speed", type=_speed, default=1.0, metavar="X", help="how many times faster than they came; default: 1")
    add(
        "--begin",
        type=_time,
        metavar="TIME",
        help="first time, such as 2026-07-18T12:00 UTC; default: the first file's",
    )
    add("--end", type=_time, metavar="TIME", help="time before which the last frame lies; default: all files")
    return parser


def _speed(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expects a number above 0, got {word!r}")
    return value


def _time(word: str) -> int:
    try:
        return minutes(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expects a time such as 2026-07-18T12:00, got {word!r}") from error
