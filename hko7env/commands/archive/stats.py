"""Print the rain-rate classes (Shi et al. 2017, Table 2), the splits (Table 12) and monthly means of an archive."""

from hko7env import progress
from hko7env.archive import Archive
from hko7env.archive.statistics import format_tables, summarise
from hko7env.command_line import Parser, add_archive_positional, add_scheduler, add_workers


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; returns 0."""
    args = _parser().parse_args(arguments)
    archive = Archive(args.archive)
    times = archive.select(args.split)
    with progress.bar(len(times), "reading", "frame") as bar:
        summary = summarise(args.archive, times, workers=args.workers, scheduler=args.scheduler, step=bar.update)
    print(format_tables(archive, summary), end="")
    return 0


def _parser() -> Parser:
    parser = Parser("hko7env archive stats", __doc__ or "", renamed={"--page": "hko7env archive plot --out"})
    add_archive_positional(parser)
    parser.add_argument("--split", metavar="NAME", help="count the frames of this split only; default: all good frames")
    add_workers(parser, "the reading of frames")
    add_scheduler(parser)
    return parser
