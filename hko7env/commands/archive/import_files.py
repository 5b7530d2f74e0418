"""Convert a weather service's files into an archive; an existing archive is extended.

An import that is interrupted continues when the same command is given again.
"""

import argparse
from pathlib import Path

from hko7env.archive.store import is_local
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
            window=Window(*args.window) if args.window else None,
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
    return text.replace("keep_going=True", "--keep-going").replace("workers=1", "--workers 1")


def _place(word: str) -> Path | str:
    return Path(word) if is_local(word) else word


def _parser() -> Parser:
    parser = Parser("hko7env archive import", __doc__ or "")
    add = parser.add_argument
    add("format", metavar="FORMAT", help=f"format of the files: {', '.join(available_formats())}, or a module")
    add("source", type=_place, metavar="SOURCE", help="a file or folder, or for cf and mlcast a store's URL")
    add_out(parser, "the archive to make or to extend")
    help_text = "leave out files that cannot be read and list them at the end; default: stop at the first"
    add("--keep-going", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    help_text = (
        "part of the grid to import, in px from its north-west corner, padded if it reaches beyond; default: all"
    )
    add("--window", type=int, nargs=4, metavar=WINDOW, help=help_text)
    help_text = "first time to import and first one after it, such as 2020-06-01 2020-07-01, in UTC; default: all"
    add("--period", nargs=2, metavar=("BEGIN", "END"), help=help_text)
    add_workers(parser, "the reading of files")
    add_scheduler(parser)
    return parser
