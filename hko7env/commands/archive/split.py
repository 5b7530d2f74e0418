"""Name a part of an archive, which other commands take as --split: the days of a list, or days with rain."""

from pathlib import Path

import numpy as np

from hko7env.archive import Archive
from hko7env.archive.format import DAY, iso
from hko7env.archive.rainy_days import radar_days, ranges, read_days
from hko7env.command_line import Parser, add_archive_positional


def main(arguments: list[str] | None = None) -> int:
    """Write the split and print its number of days and frames; returns 0."""
    args = _parser().parse_args(arguments)
    archive = Archive(args.archive, writable=True)
    if args.radar_mean is not None:
        days = radar_days(archive, archive.select(), args.radar_mean)
    else:
        days = read_days(args.days or args.gauge, rainy_only=args.gauge is not None)
    days = [day for day in days if not args.years or int(iso(day)[:4]) in args.years]
    if not days:
        raise ValueError(f"no day is left for split {args.name!r}, nothing was written: relax the rule or --years")
    archive.update(splits={**archive.splits, args.name: ranges(days)})
    frames = np.isin(archive.times // DAY, np.array(days, np.int64) // DAY)
    recorded = len(np.unique(archive.times[frames] // DAY))
    print(f"{args.name}: {len(days)} days, {recorded} of them with frames, {int(frames.sum())} frames")
    return 0


def _parser() -> Parser:
    parser = Parser("hko7env archive split", __doc__ or "")
    add_archive_positional(parser)
    parser.add_argument("name", metavar="NAME", help="name of the split, such as test")
    rule = parser.add_mutually_exclusive_group(required=True)
    help_text = "file with one day a line: YYYYMMDD, YYYYMMDD,mm or year,month,day,mm"
    rule.add_argument("--days", type=Path, metavar="FILE", help=help_text)
    help_text = "such a file with the rain of each day in mm; takes the days of more than 0 mm"
    rule.add_argument("--gauge", type=Path, metavar="FILE", help=help_text)
    help_text = "days with at least this mean rain rate over time and scored locations, in mm/h"
    rule.add_argument("--radar-mean", type=float, metavar="MM_PER_H", help=help_text)
    parser.add_argument("--years", type=int, nargs="+", metavar="YEAR", help="days of these years only; default: all")
    return parser
