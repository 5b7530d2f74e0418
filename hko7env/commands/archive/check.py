"""Compare a synthetic archive with HKO-7: rain-rate classes, spectrum, and the skill of simple forecasts.

The exit status is 1 if a target is missed.
"""

from hko7env import progress
from hko7env.archive import Archive
from hko7env.command_line import Parser, add_archive_positional, add_workers, integer
from hko7env.synthetic.realism import SEQUENCES, check, work


def main(arguments: list[str] | None = None) -> int:
    """Print each target beside the value and return 0, or 1 if a target is missed."""
    parser = Parser("hko7env archive check", __doc__ or "")
    add_archive_positional(parser)
    help_text = f"number of sequences to forecast, evenly spread over the archive; default: {SEQUENCES}"
    parser.add_argument("--sequences", type=integer(1), default=SEQUENCES, metavar="N", help=help_text)
    add_workers(parser, "frames and sequences")
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    with progress.bar(work(archive, args.sequences), "checking", "step") as bar:
        rows = list(check(args.archive, sequences=args.sequences, workers=args.workers, step=bar.update))
    widths = [max(len(cell) for cell in column) for column in zip(*(row[:3] for row in rows), strict=True)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        print(f"{'met   ' if row.passed else 'MISSED'}  {cells}".rstrip())
    missed = sum(not row.passed for row in rows)
    print(f"{args.archive}: {len(rows) - missed} of {len(rows)} targets met")
    return 1 if missed else 0
