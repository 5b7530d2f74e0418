"""Make a prior for ``agents.calibrated_flow`` from archives: ``hko7env calibrate mine.zarr --out mine.safetensors``.

It counts what became of the echo that the agent extrapolates. With --network it counts instead how often the
probabilities of ``agents.flow_net`` came true, and writes its weights with these counts. Counts are kept in the folder
of --cache: a command that is interrupted continues when it is given again, and archives that were counted before are
not counted again.
"""

import hashlib
from pathlib import Path

from hko7env.archive import Archive
from hko7env.command_line import Parser, add_out, weighted_archive

from ..calibration.counting import Source, make_prior
from ..calibration.network_counting import calibrate_network
from ..learning.held_out import open_split


def main(arguments: list[str] | None = None) -> int:
    """Make the prior that ``arguments`` describe, and print what it was made from.

    Returns:
        The exit status 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If an archive or a split cannot be used.
        OSError: If a file cannot be read or written.
    """
    args = _parser().parse_args(arguments)
    sources = [Source(open_split(Archive(name), args.split, "split"), weight) for name, weight in args.archives]
    if args.network:
        told = calibrate_network(args.network, sources, args.out, args.cache)
    else:
        told = make_prior(sources, args.out, args.cache)
    data = args.out.read_bytes()
    print(f"{args.out}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    for one in told:
        print(f"  {one['weight']:g} x {one['source']}, {one['split']}, {one['sequences']} sequences")
    return 0


def _parser() -> Parser:
    parser = Parser("hko7env calibrate", __doc__ or "")
    help_text = "path or URL of an archive, and the weight of its mean sequence; without a weight: 1"
    parser.add_argument("archives", nargs="+", type=weighted_archive, metavar="ARCHIVE[=WEIGHT]", help=help_text)
    parser.add_argument("--split", default="train", help="split of every archive, or all; default: train")
    help_text = (
        "weights that a training of agents.flow_net made, to be calibrated on a split that it did not learn from, such "
        "as --split valid; default: none"
    )
    parser.add_argument("--network", type=Path, metavar="PATH", help=help_text)
    help_text = "folder in which counts are kept; default: calibration"
    parser.add_argument("--cache", type=Path, default=Path("calibration"), metavar="PATH", help=help_text)
    add_out(parser, "file of the prior or of the weights")
    return parser
