"""Convert a weather service's files into an archive; an existing archive is extended.

An import that is interrupted continues when the same command is given again.
"""

import argparse
from pathlib import Path

from hko7env.command_line import Parser, add_out, add_scheduler, add_workers
from hko7env.importers import RadarImportError, Window, available_formats, import_radar

WINDOW = ("ROW", "COLUMN", "HEIGHT", "WIDTH")


def main(arguments: list[str] | None = None) -> int:
    """Import the files and print the number of frames and of files left out; returns 0."""
    args = _parser().parse_args(arguments)
    try:
        archive, problems = import_radar(
            args.format,
            args.source,
            args.out,
            window=window_of(args),
            keep_going=args.keep_going,
            workers=args.workers,
            scheduler=args.scheduler,
        )
    except RadarImportError as error:
        raise ValueError(_with_flags(str(error))) from error
    for problem in problems:
        print(f"left out: {problem}")
    print(f"{args.out}: {len(archive)} frames, {len(problems)} files left out")
    return 0


def _with_flags(text: str) -> str:
    """``text`` with flags in place of the parameters that it names."""
    return text.replace("keep_going=True", "--keep-going").replace("workers=1", "--workers 1")


def _parser() -> Parser:
    parser = Parser("hko7env archive import", __doc__ or "")
    add = parser.add_argument
    add_format(parser)
    add("source", type=Path, metavar="SOURCE", help="a file or folder")
    add_out(parser, "the archive to make or to extend")
    help_text = "leave out files that cannot be read and list them at the end; default: stop at the first"
    add("--keep-going", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add_window(parser)
    add_workers(parser, "the reading of files")
    add_scheduler(parser)
    return parser


def add_format(parser: Parser) -> None:
    """Add ``FORMAT``, the format of the files."""
    help_text = f"format of the files: {', '.join(available_formats())}, or a module"
    parser.add_argument("format", metavar="FORMAT", help=help_text)


def add_window(parser: Parser) -> None:
    """Add ``--window``, the part of the grid to import."""
    help_text = (
        "part of the grid to import, in px from its north-west corner, padded if it reaches beyond; default: all"
    )
    parser.add_argument("--window", type=int, nargs=4, metavar=WINDOW, help=help_text)


def window_of(args: argparse.Namespace) -> Window | None:
    """The window that was given, or None. Raises RadarImportError if it is empty."""
    return Window(*args.window) if args.window else None
