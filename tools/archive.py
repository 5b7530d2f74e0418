"""Make and inspect radar archives: import, describe, verify, denoise, pack."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hko7env import progress  # noqa: E402
from hko7env.archive import Archive, pack  # noqa: E402
from hko7env.denoise import DEVIATIONS, find_outliers, histogram  # noqa: E402
from hko7env.importers import Window, formats, import_radar  # noqa: E402
from hko7env.layout import CHUNK, DAY_SHARD, OUT_OF_RANGE, OUTLIER, SCORED, iso  # noqa: E402
from hko7env.schedule import schedule  # noqa: E402
from hko7env.units import THRESHOLDS, pixel  # noqa: E402

BATCH = 250  # frames whose levels are counted at once


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print; the exit status is 0, 1 for an error and 130 for an interrupt."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("import", help="bring a weather service's files into an archive")
    one.add_argument("format", help=", ".join(formats()))
    one.add_argument("source", type=Path, help="a file or folder")
    one.add_argument("destination", type=Path, help="the archive: made, or gone on with")
    one.add_argument("--keep-going", action="store_true", help="leave out what cannot be read, and list it at the end")
    places = ("ROW", "COLUMN", "HEIGHT", "WIDTH")
    one.add_argument("--window", type=int, nargs=4, metavar=places, help="keep this part of the grid")
    for name, text in (("describe", "say what is inside"), ("verify", "read and check every chunk")):
        commands.add_parser(name, help=text).add_argument("archive")
    one = commands.add_parser("denoise", help="find ground clutter and write it into the static mask")
    one.add_argument("archive")
    one.add_argument("--split", help="use the frames of this split only; default: all good frames")
    one.add_argument("--deviations", type=float, default=DEVIATIONS, help=f"default: {DEVIATIONS:g}")
    text = "write nothing; compare what is found with the mask that the archive holds"
    one.add_argument("--against-truth", action="store_true", help=text)
    one = commands.add_parser("pack", help="copy a finished archive into one file a day")
    one.add_argument("archive")
    one.add_argument("destination")
    one.add_argument("--shard", type=int, default=DAY_SHARD, help=f"frames a file; default: {DAY_SHARD}")
    known = parser.parse_args(arguments)
    try:
        command = {"import": _import, "describe": _describe, "verify": _verify, "denoise": _denoise, "pack": _pack}
        return command[known.command](known)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from there", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"archive: {error}", file=sys.stderr)
        return 1


def _import(known: argparse.Namespace) -> int:
    window = Window(*known.window) if known.window else None
    archive, problems = import_radar(
        known.format, known.source, known.destination, window=window, keep_going=known.keep_going
    )
    for text in problems:
        print(f"left out: {text}")
    print(f"{known.destination}: {len(archive)} frames, {len(problems)} files left out")
    return 0


def _describe(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    height, width = archive.shape
    print(f"{known.archive}: {len(archive)} frames of {height} x {width}, every {archive.cadence} min")
    for label in ("source", "licence", "source_zr", "conversion"):
        if archive.attributes.get(label):
            print(f"  {label.replace('_', ' ')}: {archive.attributes[label]}")
    print(f"  georeference: {archive.crs or 'none'}")
    if len(archive):
        print(f"  from {iso(archive.times[0])} to {iso(archive.times[-1])}, {int((archive.status != 0).sum())} suspect")
        steps = np.diff(archive.times)
        gaps = np.flatnonzero(steps != archive.cadence)
        print(f"  gaps: {len(gaps)}")
        for i in gaps[:10]:
            print(f"    {iso(archive.times[i])} -> {iso(archive.times[i + 1])}: {steps[i]} min")
        if len(gaps) > 10:
            print(f"    and {len(gaps) - 10} more")
    counts = [int((archive.mask == code).sum()) for code in (SCORED, OUTLIER, OUT_OF_RANGE)]
    print(f"  mask: {counts[0]} scored, {counts[1]} outlier, {counts[2]} out of range")
    print(f"  units: level 0..255, dBZ = 70 level / 255 - 10, Z = {archive.zr.a:g} R^{archive.zr.b:g}")
    for threshold, first in zip(THRESHOLDS, archive.zr.threshold_levels, strict=True):
        dbz = float(archive.zr.dbz(threshold))
        print(f"    {threshold:>4g} mm/h = {dbz:5.2f} dBZ = level {255 * float(pixel(dbz)):6.2f}, reached from {first}")
    for split in (None, *archive.splits) if len(archive) else ():
        try:
            times = archive.select(split)
        except ValueError:  # a split may lie ahead of what has been recorded
            print(f"  {split or 'all frames'}: no good frame")
            continue
        walk = schedule(times, cadence=archive.cadence)
        walked = f"{len(walk)} sequences in {len(walk.episode_starts)} episodes"
        print(f"  {split or 'all frames'}: {len(times)} frames, {walked}")
    print(f"  fingerprint {archive.fingerprint}")
    return 0


def _verify(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    damaged = []
    with progress.bar(-(-len(archive) // CHUNK), "verifying", "chunk") as bar:
        for message in archive.verify():
            damaged += [message] if message else []
            bar.update()
    for message in damaged:
        print(message)
    print(f"{known.archive}: {len(archive)} frames, {len(damaged)} damaged chunks")
    return 1 if damaged else 0


def _denoise(known: argparse.Namespace) -> int:
    archive = Archive(known.archive, writable=not known.against_truth)
    times = archive.select(known.split)
    with progress.bar(len(times), "counting levels", "frame") as bar:

        def batches() -> Iterator[np.ndarray]:
            for start in range(0, len(times), BATCH):
                yield np.stack(archive.at(times[start : start + BATCH])[0])
                bar.update(min(BATCH, len(times) - start))

        counted = histogram(archive.shape, batches())
    in_range = archive.mask != OUT_OF_RANGE
    found = find_outliers(counted, in_range, deviations=known.deviations)
    outliers = found.mask == OUTLIER
    print(f"{counted.frames} frames, {int(in_range.sum())} locations in range, threshold {found.threshold:.3f}")
    print(f"{int(outliers.sum())} outliers")
    if known.against_truth:
        planted = archive.mask == OUTLIER
        hits, false = int((outliers & planted).sum()), int((outliers & ~planted).sum())
        print(f"found {hits} of {int(planted.sum())} ({hits / max(planted.sum(), 1):.1%})")
        print(f"false alarms {false} of {int((in_range & ~planted).sum())} ({false / (in_range & ~planted).sum():.2%})")
        return 0
    how = {"frames": counted.frames, "split": known.split, "deviations": known.deviations, "threshold": found.threshold}
    archive.update(mask=found.mask, attributes={"denoised": how})
    return 0


def _pack(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    with progress.bar(len(archive), "packing", "frame") as bar:
        packed = pack(archive, known.destination, shard=known.shard, step=bar.update)
    print(f"{known.destination}: {len(packed)} frames, fingerprint {packed.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
