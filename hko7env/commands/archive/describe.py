"""Print what an archive holds: source, times and gaps, static mask, units, splits and fingerprint."""

import numpy as np

from hko7env.archive import Archive
from hko7env.archive.format import describe_mask, iso
from hko7env.command_line import Parser, add_archive_positional
from hko7env.schedule import schedule
from hko7env.units import THRESHOLDS, pixel

GAPS = 10  # printed one by one


def main(arguments: list[str] | None = None) -> int:
    """Print the description; returns 0."""
    parser = Parser("hko7env archive describe", __doc__ or "")
    add_archive_positional(parser)
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    height, width = archive.shape
    print(f"{args.archive}: {len(archive)} frames of {height} x {width}, every {archive.cadence} min")
    for name in ("source", "licence", "source_zr", "conversion"):
        if archive.attributes.get(name):
            print(f"  {name.replace('_', ' ')}: {archive.attributes[name]}")
    print(f"  georeference: {archive.crs or 'none'}")
    if len(archive):
        _describe_times(archive)
    print(f"  mask: {describe_mask(archive.mask)}")
    _describe_units(archive)
    if len(archive):
        _describe_splits(archive)
    print(f"  fingerprint {archive.fingerprint}")
    return 0


def _describe_times(archive: Archive) -> None:
    suspect = int((archive.status != 0).sum())
    print(f"  from {iso(archive.times[0])} to {iso(archive.times[-1])}, {suspect} suspect")
    steps = np.diff(archive.times)
    gaps = np.flatnonzero(steps != archive.cadence)
    print(f"  gaps: {len(gaps)}")
    for i in gaps[:GAPS]:
        print(f"    {iso(archive.times[i])} -> {iso(archive.times[i + 1])}: {steps[i]} min")
    if len(gaps) > GAPS:
        print(f"    and {len(gaps) - GAPS} more")


def _describe_units(archive: Archive) -> None:
    print(f"  units: level 0..255, dBZ = 70 level / 255 - 10, Z = {archive.zr.a:g} R^{archive.zr.b:g}")
    for threshold, first in zip(THRESHOLDS, archive.zr.threshold_levels, strict=True):
        dbz = float(archive.zr.dbz(threshold))
        level = 255 * float(pixel(dbz))
        print(f"    {threshold:>4g} mm/h = {dbz:5.2f} dBZ = level {level:6.2f}, reached from {first}")


def _describe_splits(archive: Archive) -> None:
    for split in (None, *archive.splits):
        name = split or "all frames"
        try:
            times = archive.select(split)
        except ValueError:  # the split lies outside the recorded times
            print(f"  {name}: no good frame")
            continue
        walk = schedule(times, cadence=archive.cadence)
        print(f"  {name}: {len(times)} frames, {len(walk)} sequences in {len(walk.episode_starts)} episodes")
