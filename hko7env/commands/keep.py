"""What an evaluation keeps besides tallies, as arguments."""

import argparse
from typing import Any

from hko7env.command_line import integer
from hko7env.evaluation.diagnostics import EVERY
from hko7env.evaluation.recording import KEEP, Extras


def add_keep(parser: Any) -> None:
    """Add ``--keep`` and what belongs to it to a parser or group."""
    help_text = (
        "keep in run folders, for the page of hko7env report: diagnostics (blur, displacement); default: nothing"
    )
    parser.add_argument("--keep", nargs="+", choices=KEEP, default=(), help=help_text)
    help_text = f"diagnose one of N sequences, which takes ten times as long as scoring it; default: {EVERY}"
    parser.add_argument("--diagnose-every", type=integer(1), default=EVERY, metavar="N", help=help_text)
    help_text = "keep the forecasts of N sequences, evenly spread over the split, for hko7env report; default: 0"
    parser.add_argument("--keep-forecasts", type=integer(0), default=0, metavar="N", help=help_text)


def extras_of(args: argparse.Namespace) -> Extras:
    """What parsed arguments say is to be kept."""
    return Extras(frozenset(args.keep), args.diagnose_every, args.keep_forecasts)
