"""Find ground clutter by the rule of Shi et al. 2017, appendix D.2, and write it into the static mask."""

import argparse
from typing import Any

import numpy as np

from hko7env import progress
from hko7env.archive import Archive
from hko7env.archive.clutter import DEVIATIONS, count_archive, find_outliers
from hko7env.archive.format import OUT_OF_RANGE, OUTLIER
from hko7env.command_line import Parser, add_archive_positional, add_scheduler, add_workers
from hko7env.synthetic.radar import radar_mask


def main(arguments: list[str] | None = None) -> int:
    """Find the outliers, print their number and write the mask, or compare it with the known one; returns 0."""
    args = _parser().parse_args(arguments)
    archive = Archive(args.archive, writable=not args.against_truth)
    if args.against_truth and archive.attributes.get("synthetic", {}).get("preset") == "varied":
        raise ValueError(f"{args.archive} has other clutter in each episode: leave --against-truth out")
    times = archive.select(args.split)
    with progress.bar(len(times), "counting levels", "frame") as bar:
        counted = count_archive(args.archive, times, workers=args.workers, scheduler=args.scheduler, step=bar.update)
    in_range = archive.mask != OUT_OF_RANGE
    found = find_outliers(counted, in_range, deviations=args.deviations)
    print(f"{counted.frames} frames, {int(in_range.sum())} locations in range, threshold {found.threshold:.3f}")
    print(f"{int((found.mask == OUTLIER).sum())} outliers")
    if args.against_truth:
        _compare(archive, found.mask == OUTLIER, in_range)
    else:
        settings = {"split": args.split, "deviations": args.deviations}
        record = {"frames": counted.frames, **settings, "threshold": found.threshold}
        archive.update(mask=found.mask, attributes={"denoised": record})
    return 0


def _compare(archive: Archive, outliers: Any, in_range: Any) -> None:
    """Print hits and false alarms against the clutter of a synthetic archive, or else against the stored mask."""
    synthetic = archive.attributes.get("synthetic")  # its clutter follows from the seed, whatever the mask is now
    known = (radar_mask(archive.shape, synthetic["seed"]) if synthetic else archive.mask) == OUTLIER
    clean = in_range & ~known
    hits, false_alarms = np.count_nonzero(outliers & known), np.count_nonzero(outliers & clean)
    print(f"found {hits} of {known.sum()} ({hits / max(known.sum(), 1):.1%})")
    print(f"false alarms {false_alarms} of {clean.sum()} ({false_alarms / max(clean.sum(), 1):.2%})")


def _parser() -> Parser:
    parser = Parser("hko7env archive denoise", __doc__ or "")
    add_archive_positional(parser)
    parser.add_argument("--split", metavar="NAME", help="count the frames of this split only; default: all good frames")
    help_text = "an outlier's distance exceeds the mean by this many standard deviations"
    parser.add_argument(
        "--deviations", type=float, default=DEVIATIONS, metavar="D", help=f"{help_text}; default: {DEVIATIONS:g}"
    )
    help_text = "write nothing; compare the outliers with the known clutter; default: write the mask"
    parser.add_argument("--against-truth", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add_workers(parser, "the counting of frames")
    add_scheduler(parser)
    return parser
