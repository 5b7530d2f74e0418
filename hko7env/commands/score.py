"""Score a file of forecasts made elsewhere: ``hko7env score FORECASTS.zarr --archive casgo.zarr --name mine``.

The file, netCDF or zarr by the CF conventions, holds rain rate, reflectivity or pixels over (issue time, lead time, y,
x) on the grid of the archive. Its sequences, scores and run folder are those of ``hko7env evaluate``.
A run that is interrupted continues when the same command is given again.
"""

from collections import Counter
from pathlib import Path

from hko7env.command_line import Parser, add_archive, add_out, add_split, integer
from hko7env.commands.keep import add_keep, extras_of
from hko7env.evaluation.score import Scored, ScorePlan, score
from hko7env.evaluation.table import table


def main(arguments: list[str] | None = None) -> int:
    """Score the file that ``arguments`` name and print its row of the table.

    Returns:
        The exit status 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If the file, the archive, the split or the run folder cannot be used.
        OSError: If a file cannot be read or written.
    """
    args = make_parser().parse_args(arguments)
    scored = score(
        ScorePlan(args.forecasts, args.archive, args.split, args.limit, args.name), args.out, extras=extras_of(args)
    )
    print(table([scored.result]), end="")
    for line in describe_missing(scored):
        print(line)
    print(f"Run folder with per-lead scores: {scored.folder}")
    return 0


def describe_missing(scored: Scored) -> list[str]:
    """Lines that say how many sequences have no forecast, and why; none if all have one."""
    if not scored.missing:
        return []
    kinds = Counter(one.why for one in scored.missing.values())
    shown = ", ".join(f"{kind}: {number}" for kind, number in kinds.most_common())
    return [
        f"{len(scored.missing)} of {scored.sequences} sequences have no forecast ({shown}); missing.json in the run "
        "folder lists them.",
        "The scores are over the others: compare them only with runs of the same sequences.",
    ]


def make_parser() -> Parser:
    """The command's own arguments."""
    parser = Parser("hko7env score", __doc__ or "")
    add = parser.add_argument
    help_text = "a netCDF file (.nc) or zarr store of forecasts; docs/scoring-forecasts.md describes the layout"
    add("forecasts", type=Path, metavar="FORECASTS", help=help_text)
    add_archive(parser)
    add_split(parser)
    help_text = "score the first N sequences only; default: all"
    add("--limit", type=integer(1), metavar="N", help=help_text)
    add("--name", metavar="NAME", help="name of the forecasts in tables; default: the file's, without its suffix")
    add_keep(parser)
    add_out(parser, "folder in which each run has a folder", "results")
    return parser
