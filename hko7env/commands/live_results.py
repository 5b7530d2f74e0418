"""Write what a live run has scored so far as run folders: ``hko7env live-results live --out results``.

``hko7env report results`` compares them. The live run may go on meanwhile; nothing in its folder is changed. All agents
have the same sequences: those that a finished archive would have, as far as every agent has been scored on them.
"""

from pathlib import Path

from hko7env.command_line import Parser, add_out
from hko7env.evaluation.table import table
from hko7env.live_run.results import write_results


def main(arguments: list[str] | None = None) -> int:
    """Write the run folders and print their table; returns 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If a file of the live run or the archive cannot be used.
        OSError: If a file cannot be read or written.
    """
    parser = Parser("hko7env live-results", __doc__ or "")
    parser.add_argument("live", type=Path, metavar="LIVE", help="folder that `hko7env live` writes")
    help_text = "path or URL of the archive; default: where the live run found it"
    parser.add_argument("--archive", metavar="PATH", help=help_text)
    add_out(parser, "folder in which each run has a folder", "results")
    args = parser.parse_args(arguments)
    print(table(write_results(args.live, args.out, args.archive)), end="")
    print(f"Run folders with per-lead scores: {args.out}")
    return 0
