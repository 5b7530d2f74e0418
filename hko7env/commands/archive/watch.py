"""Append files to an archive as they arrive in a folder, until the command is stopped.

Files that are damaged, late, double or revised are named and left out. What became of each file is in the log
ARCHIVE.files.jsonl beside the archive, the state of the command in ARCHIVE.watch.json. A command that is stopped or
killed continues when it is given again; nothing is lost and nothing is imported twice.
"""

from pathlib import Path

from hko7env.command_line import Parser, add_out
from hko7env.commands.archive.import_files import add_format, add_window, window_of
from hko7env.commands.interrupts import stop_requests
from hko7env.importers.watch_options import WatchOptions
from hko7env.importers.watching import watch, watching
from hko7env.options import add_options, given


def main(arguments: list[str] | None = None) -> int:
    """Watch the folder; returns 0 after SIGTERM, or with --once when all files have been dealt with."""
    args = _parser().parse_args(arguments)
    options = WatchOptions(**given(args, WatchOptions))
    with (
        stop_requests() as stop,
        watching(
            args.format,
            args.folder,
            args.out,
            options,
            window=window_of(args),
            report=lambda text: print(text, flush=True),
        ) as watcher,
    ):
        print(f"watching {args.folder} for {args.out}", flush=True)
        watch(watcher, options, stop.is_set, stop.wait)
        found = ", ".join(f"{count} {outcome}" for outcome, count in watcher.counts.items() if count) or "none"
        print(f"{args.out}: {watcher.frames} frames; files since the start: {found}")
    return 0


def _parser() -> Parser:
    parser = Parser("hko7env archive watch", __doc__ or "")
    add_format(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the folder that files are dropped into")
    add_out(parser, "the archive to make or to extend")
    add_window(parser)
    add_options(parser, WatchOptions)
    return parser
