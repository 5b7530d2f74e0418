"""Make radar archives, from files or of synthetic rain, and inspect, denoise, split and pack them."""

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def _leave(*_: object) -> None:
    os.write(2, b"\nstopped\n")
    os._exit(130)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)  # nothing can be lost during the imports, so an interrupt needs no traceback

import numpy as np  # noqa: E402

from hko7env import progress  # noqa: E402
from hko7env.archive import Archive, absolute_name, pack  # noqa: E402
from hko7env.archive.clutter import DEVIATIONS, count_archive, find_outliers, load_mask  # noqa: E402
from hko7env.archive.format import CHUNK, DAY, DAY_SHARD, OUT_OF_RANGE, OUTLIER, SCORED, iso  # noqa: E402
from hko7env.archive.rainy_days import radar_days, ranges, read_days, read_times  # noqa: E402
from hko7env.archive.statistics import format_tables, summarise  # noqa: E402
from hko7env.files import write_atomically  # noqa: E402
from hko7env.importers import RadarImportError, Window, available_formats, import_radar  # noqa: E402
from hko7env.loading import load  # noqa: E402
from hko7env.report import archive_page  # noqa: E402
from hko7env.schedule import schedule  # noqa: E402
from hko7env.synthetic import SEED, SIZES, make  # noqa: E402
from hko7env.synthetic.radar import radar_mask  # noqa: E402
from hko7env.synthetic.realism import SEQUENCES, check, count_steps  # noqa: E402
from hko7env.synthetic.weather import EpisodeSpec, hko7  # noqa: E402
from hko7env.units import THRESHOLDS, pixel  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Parse, call, print; the exit status is 0, 1 for an error and 130 for an interrupt."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("import", help="bring a weather service's files into an archive")
    one.add_argument("format", help=", ".join(available_formats()))
    one.add_argument("source", type=Path, help="a file or folder")
    one.add_argument("destination", type=Path, help="the archive: made, or gone on with")
    one.add_argument("--keep-going", action="store_true", help="leave out what cannot be read, and list it at the end")
    places = ("ROW", "COLUMN", "HEIGHT", "WIDTH")
    one.add_argument("--window", type=int, nargs=4, metavar=places, help="cut the grid to this part, or pad it")
    one = commands.add_parser("synthetic", help="make an archive of synthetic rain, with its truth beside it")
    one.add_argument("--size", choices=SIZES, default="demo", help="demo: 840 frames; small: 4800; hko7: 235,254")
    one.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    one.add_argument("--out", type=Path, required=True, metavar="ARCHIVE", help="made, or gone on with")
    one.add_argument("--cadence", type=int, default=6, metavar="MINUTES", help="between frames; default: 6")
    one.add_argument("--shape", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), default=(480, 480))
    one.add_argument("--shard", type=int, help="frames a file, for archives that are not appended to")
    text = "of hko7: test frames at the times in this CSV, such as the official list (ISO times in its first column)"
    one.add_argument("--test-times", type=Path, metavar="FILE", help=text)
    one = commands.add_parser("check", help="is a synthetic archive as wet, rough and hard to nowcast as HKO-7?")
    one.add_argument("archive")
    one.add_argument("--sequences", type=int, default=SEQUENCES, help=f"to forecast; default: {SEQUENCES}")
    one = commands.add_parser(
        "plot", help="draw frames, rain rates, splits, months, mask, clutter and spectrum as a page"
    )
    one.add_argument("archive")
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="the HTML page, with matplotlib")
    for name, text in (("describe", "say what is inside"), ("verify", "read and check every chunk")):
        commands.add_parser(name, help=text).add_argument("archive")
    one = commands.add_parser("denoise", help="find ground clutter and write it into the static mask")
    one.add_argument("archive")
    one.add_argument("--split", help="use the frames of this split only; default: all good frames")
    one.add_argument("--deviations", type=float, default=DEVIATIONS, help=f"default: {DEVIATIONS:g}")
    text = "write nothing; compare what is found with the mask that the archive holds"
    one.add_argument("--against-truth", action="store_true", help=text)
    one = commands.add_parser("mask", help="take the static mask from a file, such as HKO-7's mask_dat.npz")
    one.add_argument("archive")
    one.add_argument("file", type=Path)
    one = commands.add_parser("stats", help="print Table 2, Table 12 and monthly means")
    one.add_argument("archive")
    one.add_argument("--split", help="of this split only; default: all good frames")
    one = commands.add_parser("split", help="name a part of the archive: listed days, or rainy ones")
    one.add_argument("archive")
    one.add_argument("name")
    rule = one.add_mutually_exclusive_group(required=True)
    rule.add_argument("--days", type=Path, help="list of days: YYYYMMDD[, mm] or year,month,day,mm a line")
    rule.add_argument("--gauge", type=Path, help="such a list with mm: its days of more than 0 mm")
    rule.add_argument("--radar-mean", type=float, metavar="MM_PER_H", help="days of at least this mean rain rate")
    one.add_argument("--years", type=int, nargs="+", help="of these years only")
    one = commands.add_parser("pack", help="copy a finished archive into one file a day")
    one.add_argument("archive")
    one.add_argument("destination")
    one.add_argument("--shard", type=int, default=DAY_SHARD, help=f"frames a file; default: {DAY_SHARD}")
    for name in ("import", "denoise", "stats", "synthetic", "check"):
        commands.choices[name].add_argument("--workers", type=int, default=1, help="processes; default: 1")
    for name in ("import", "denoise", "stats"):
        commands.choices[name].add_argument("--scheduler", metavar="ADDRESS", help="work on this dask cluster")
    known = parser.parse_args(arguments)
    try:
        command = {"import": _import, "describe": _describe, "verify": _verify, "denoise": _denoise, "pack": _pack}
        command |= {"split": _split, "stats": _stats, "mask": _mask}
        command |= {"synthetic": _synthetic, "check": _check, "plot": _plot}
        return command[known.command](known)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from there", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"archive: {error}", file=sys.stderr)
        return 1


def _import(known: argparse.Namespace) -> int:
    window = Window(*known.window) if known.window else None
    try:
        archive, problems = import_radar(
            known.format,
            known.source,
            known.destination,
            window=window,
            keep_going=known.keep_going,
            workers=known.workers,
            scheduler=known.scheduler,
        )
    except RadarImportError as error:
        text = str(error).replace("keep_going=True", "--keep-going").replace("workers=1", "--workers 1")
        raise ValueError(text) from error
    for text in problems:
        print(f"left out: {text}")
    print(f"{known.destination}: {len(archive)} frames, {len(problems)} files left out")
    return 0


def _synthetic(known: argparse.Namespace) -> int:
    if known.test_times and known.size != "hko7":
        raise ValueError("--test-times belongs to --size hko7")
    if known.size == "hko7" and known.cadence != 6:
        raise ValueError("--size hko7 has HKO-7's frames, which are 6 minutes apart: leave --cadence out")
    weather = SIZES[known.size](known.seed)
    if known.test_times:
        weather = _following(known)
    shape = (known.shape[0], known.shape[1])
    arguments = {"seed": known.seed, "weather": weather, "workers": known.workers, "shard": known.shard}
    archive = make(known.out, shape=shape, cadence=known.cadence, visible=True, **arguments)
    print(f"{known.out}: {len(archive)} frames, fingerprint {archive.fingerprint}")
    return 0


def _following(known: argparse.Namespace) -> tuple[EpisodeSpec, ...]:
    """HKO-7's episodes with the listed test times. Raises ValueError for a list that they cannot follow."""
    listed = read_times(known.test_times)
    weather = hko7(known.seed, listed)
    before, test = ([w.times(6) for w in weather if (w.split == "test") is tested] for tested in (False, True))
    if listed[0] <= np.concatenate(before).max():
        raise ValueError(
            f"{known.test_times}: {iso(listed[0])} lies among the days of train and valid; list later times"
        )
    if not np.array_equal(np.concatenate(test), listed):
        raise ValueError(f"{known.test_times}: some of its times are less than 6 minutes apart; leave one of each out")
    return weather


def _check(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    path, rows = absolute_name(known.archive), []
    agents = {  # from the least to the most skilful
        "last frame": partial(load, "agents.last_frame"),
        "flow": partial(load, "agents.rover"),
        "true motion": partial(load, "agents.oracle", truth=path),
        "true motion and growth": partial(load, "agents.oracle", truth=path, growth=True),
    }
    with progress.bar(count_steps(archive, known.sequences), "checking", "step") as bar:
        rows += check(known.archive, agents, sequences=known.sequences, workers=known.workers, step=bar.update)
    widths = [max(len(column) for column in columns) for columns in zip(*(row[:3] for row in rows), strict=True)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        print(f"{'met   ' if row.passed else 'MISSED'}  {cells}".rstrip())
    missed = sum(not row.passed for row in rows)
    print(f"{known.archive}: {len(rows) - missed} of {len(rows)} targets met")
    return 1 if missed else 0


def _plot(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    with progress.bar(archive_page.count_steps(archive), "reading", "frame") as bar:
        written = archive_page.make_page(archive, step=bar.update)
    write_atomically(known.out, written.encode())
    print(f"Pictures: {known.out}")
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
        spread = {"workers": known.workers, "scheduler": known.scheduler, "step": bar.update}
        counted = count_archive(known.archive, times, **spread)
    in_range = archive.mask != OUT_OF_RANGE
    found = find_outliers(counted, in_range, deviations=known.deviations)
    outliers = found.mask == OUTLIER
    print(f"{counted.frames} frames, {int(in_range.sum())} locations in range, threshold {found.threshold:.3f}")
    print(f"{int(outliers.sum())} outliers")
    if known.against_truth:
        made = archive.attributes.get("synthetic")  # knows what was planted, whatever the mask has become since
        planted = (radar_mask(archive.shape, made["seed"]) if made else archive.mask) == OUTLIER
        hits, false = int((outliers & planted).sum()), int((outliers & ~planted).sum())
        print(f"found {hits} of {int(planted.sum())} ({hits / max(planted.sum(), 1):.1%})")
        print(f"false alarms {false} of {int((in_range & ~planted).sum())} ({false / (in_range & ~planted).sum():.2%})")
        return 0
    how = {"frames": counted.frames, "split": known.split, "deviations": known.deviations, "threshold": found.threshold}
    archive.update(mask=found.mask, attributes={"denoised": how})
    return 0


def _mask(known: argparse.Namespace) -> int:
    mask, archive = load_mask(known.file), Archive(known.archive, writable=True)
    if mask.shape != archive.shape:
        sizes = [f"{height} x {width}" for height, width in (mask.shape, archive.shape)]
        raise ValueError(f"{known.file} is a mask of {sizes[0]}, {known.archive} has frames of {sizes[1]}")
    archive.update(mask=mask, attributes={"mask_from": known.file.name})
    counts = [int((mask == code).sum()) for code in (SCORED, OUTLIER, OUT_OF_RANGE)]
    print(f"{known.archive}: {counts[0]} scored, {counts[1]} outlier, {counts[2]} out of range")
    return 0


def _stats(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    times = archive.select(known.split)
    with progress.bar(len(times), "reading", "frame") as bar:
        spread = {"workers": known.workers, "scheduler": known.scheduler, "step": bar.update}
        summary = summarise(known.archive, times, **spread)
    print(format_tables(archive, summary), end="")
    return 0


def _split(known: argparse.Namespace) -> int:
    archive = Archive(known.archive, writable=True)
    if known.radar_mean is not None:
        days = radar_days(archive, archive.select(), known.radar_mean)
    else:
        days = read_days(known.days or known.gauge, rainy_only=known.gauge is not None)
    days = [day for day in days if not known.years or int(iso(day)[:4]) in known.years]
    if not days:
        raise ValueError(f"no day is left for split {known.name!r}, and nothing was written: relax the rule or --years")
    archive.update(splits={**archive.splits, known.name: ranges(days)})
    frames = np.isin(archive.times // DAY, np.array(days, np.int64) // DAY)
    seen = len(np.unique(archive.times[frames] // DAY))
    print(f"{known.name}: {len(days)} days, {seen} of them with frames, {int(frames.sum())} frames")
    return 0


def _pack(known: argparse.Namespace) -> int:
    archive = Archive(known.archive)
    with progress.bar(len(archive), "packing", "frame") as bar:
        packed = pack(archive, known.destination, shard=known.shard, step=bar.update)
    print(f"{known.destination}: {len(packed)} frames, fingerprint {packed.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
