"""Make an archive of synthetic rain, with the true rain and motion, hidden from agents, in its group ``truth``.

The preset varied is training data: each episode has its own type of rain and radar faults, there is no truth and no
test split, and a score on it says nothing. The same seed gives the same frames. A command that is interrupted continues
when it is given again.
"""

from pathlib import Path
from typing import Any

import numpy as np

from hko7env.archive.format import iso
from hko7env.archive.rainy_days import read_times
from hko7env.command_line import Parser, add_out, add_workers, integer
from hko7env.synthetic import SEED, SIZES, make, make_demo, make_varied
from hko7env.synthetic.weather import EpisodeSpec, hko7

MAKERS = {"demo": make_demo, "varied": make_varied}  # presets with a function of their own


def main(arguments: list[str] | None = None) -> int:
    """Make the archive and print its number of frames and fingerprint; returns 0."""
    parser = _parser()
    args = parser.parse_args(arguments)
    if args.test_times and args.preset != "hko7":
        parser.error("--test-times goes with --preset hko7 only")
    if args.preset == "hko7" and args.cadence != 6:
        parser.error("the frames of --preset hko7 are 6 minutes apart: leave --cadence out")
    common: dict[str, Any] = {"seed": args.seed, "cadence": args.cadence}
    common |= {"workers": args.workers, "shard": args.shard, "visible": True}
    if args.shape:
        common["shape"] = tuple(args.shape)
    if args.preset in MAKERS:
        archive = MAKERS[args.preset](args.out, **common)
    else:
        weather = _with_test_times(args.seed, args.test_times) if args.test_times else SIZES[args.preset](args.seed)
        archive = make(args.out, weather=weather, **common)
    print(f"{args.out}: {len(archive)} frames, fingerprint {archive.fingerprint}")
    return 0


def _with_test_times(seed: int, file: Path) -> tuple[EpisodeSpec, ...]:
    """HKO-7's episodes with the test times of ``file``. Raises ValueError for times that no episodes can have."""
    listed = read_times(file)
    episodes = hko7(seed, listed)
    before, test = ([e.times(6) for e in episodes if (e.split == "test") is tested] for tested in (False, True))
    if listed[0] <= np.concatenate(before).max():
        raise ValueError(f"{file}: {iso(listed[0])} is not later than all frames of train and valid; list later times")
    if not np.array_equal(np.concatenate(test), listed):
        raise ValueError(f"{file}: some of its times are less than 6 minutes apart; leave one of each out")
    return episodes


def _parser() -> Parser:
    parser = Parser("hko7env archive synthetic", __doc__ or "", renamed={"--size": "--preset"})
    add = parser.add_argument
    help_text = (
        "what to make: demo has about 3,000 frames, two-days 833, small about 4,800, hko7 235,254; varied has "
        "3,600, to train on only; default: demo"
    )
    add("--preset", choices=(*MAKERS, *SIZES), default="demo", help=help_text)
    add("--seed", type=integer(0), default=SEED, metavar="N", help=f"seed of the rain; default: {SEED}")
    add_out(parser, "the archive to make")
    help_text = "minutes between frames; default: 6"
    add("--cadence", type=integer(1), default=6, metavar="MINUTES", help=help_text)
    help_text = "size of a frame in px of 1.07 km; default: 480 480, of demo and varied 240 240"
    add("--shape", type=integer(1), nargs=2, metavar=("HEIGHT", "WIDTH"), help=help_text)
    help_text = "frames in a file, a multiple of 5; large ones suit an archive that is not extended; default: 5"
    add("--shard", type=integer(1), metavar="N", help=help_text)
    help_text = (
        "for --preset hko7: CSV file with the ISO times of the test frames in its first column; default: 131 rainy days"
    )
    add("--test-times", type=Path, metavar="FILE", help=help_text)
    add_workers(parser, "the making of episodes")
    return parser
