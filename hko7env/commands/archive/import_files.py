"""Convert a weather service's files into an archive; an existing archive is extended.

An import that is interrupted continues when the same command is given again.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from hko7env.archive.store import is_local
from hko7env.command_line import Parser, UsageError, add_out, add_scheduler, add_workers
from hko7env.importers import RadarImportError, Window, available_formats, format_options, import_radar, load_format
from hko7env.options import add_options, given

WINDOW = ("ROW", "COLUMN", "HEIGHT", "WIDTH")


def main(arguments: list[str] | None = None) -> int:
    """Import the files and print the number of frames and of files left out; returns 0."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        config = _format_options(words)
        args = _parser(config).parse_args(words)
        archive, problems = import_radar(
            load_format(args.format, **given(args, config) if config else {}),
            args.source,
            args.out,
            window=window_of(args),
            period=tuple(args.period) if args.period else None,
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
    text = text.replace("keep_going=True", "--keep-going").replace("workers=1", "--workers 1")
    return re.sub(r'\b(timestamp|arguments)=(")', r"--\1 \2", text)


def _format_options(words: list[str]) -> Any:
    """The dataclass of the options of the format that a command line names; None if there are none or no format."""
    try:
        args, _ = _parser(None).parse_known_args([word for word in words if word not in ("-h", "--help")])
    except UsageError:  # only help is asked for, or arguments are missing
        return format_options(words[0]) if words and not words[0].startswith("-") else None
    return format_options(args.format)


def _place(word: str) -> Path | str:
    return Path(word) if is_local(word) else word


def _parser(config: Any) -> Parser:
    """The parser, with the options of the format if ``config`` is not None."""
    parser = Parser("hko7env archive import", __doc__ or "")
    add = parser.add_argument
    add_format(parser, ", and has more options")
    add("source", type=_place, metavar="SOURCE", help="a file or folder, or for cf and mlcast a store's URL")
    add_out(parser, "the archive to make or to extend")
    help_text = "leave out files that cannot be read and list them at the end; default: stop at the first"
    add("--keep-going", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add_window(parser)
    help_text = "first time to import and first one after it, such as 2020-06-01 2020-07-01, in UTC; default: all"
    add("--period", nargs=2, metavar=("BEGIN", "END"), help=help_text)
    add_workers(parser, "the reading of files")
    add_scheduler(parser)
    if config is not None:
        add_options(parser.add_argument_group("options of the format"), config)
    return parser


def add_format(parser: Parser, more: str = "") -> None:
    """Add ``FORMAT``, the format of the files; ``more`` ends its help."""
    help_text = f"format of the files: {', '.join(available_formats())}, or a module; an importer of pysteps is named "
    parser.add_argument("format", metavar="FORMAT", help=f"{help_text}as in pysteps:fmi_pgm{more}")


def add_window(parser: Parser) -> None:
    """Add ``--window``, the part of the grid to import."""
    help_text = (
        "part of the grid to import, in px from its north-west corner, padded if it reaches beyond; default: all"
    )
    parser.add_argument("--window", type=int, nargs=4, metavar=WINDOW, help=help_text)


def window_of(args: argparse.Namespace) -> Window | None:
    """The window that was given, or None. Raises RadarImportError if it is empty."""
    return Window(*args.window) if args.window else None
