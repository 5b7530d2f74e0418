"""Compare a synthetic archive with HKO-7: rain-rate classes, spectrum, and the skill of simple forecasts.

The exit status is 1 if a target is missed.
"""

from functools import partial

from hko7env import progress
from hko7env.archive import Archive, absolute_name
from hko7env.command_line import Parser, add_archive_positional, add_workers, integer
from hko7env.loading import load
from hko7env.synthetic.realism import SEQUENCES, AgentFactory, check, count_steps


def main(arguments: list[str] | None = None) -> int:
    """Print each target beside the value and return 0, or 1 if a target is missed."""
    parser = Parser("hko7env archive check", __doc__ or "")
    add_archive_positional(parser)
    help_text = f"number of sequences to forecast, evenly spread over the archive; default: {SEQUENCES}"
    parser.add_argument("--sequences", type=integer(1), default=SEQUENCES, metavar="N", help=help_text)
    add_workers(parser, "frames and sequences")
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    path = absolute_name(args.archive)
    agents: dict[str, AgentFactory] = {  # from the least to the most skilful
        "last frame": partial(load, "agents.last_frame"),
        "flow": partial(load, "agents.rover"),
        "true motion": partial(load, "agents.oracle", truth=path),
        "true motion and growth": partial(load, "agents.oracle", truth=path, growth=True),
    }
    with progress.bar(count_steps(archive, args.sequences), "checking", "step") as bar:
        rows = list(check(args.archive, agents, sequences=args.sequences, workers=args.workers, step=bar.update))
    widths = [max(len(cell) for cell in column) for column in zip(*(row[:3] for row in rows), strict=True)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        print(f"{'met   ' if row.passed else 'MISSED'}  {cells}".rstrip())
    missed = sum(not row.passed for row in rows)
    print(f"{args.archive}: {len(rows) - missed} of {len(rows)} targets met")
    return 1 if missed else 0
