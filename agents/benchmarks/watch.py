"""``hko7env archive watch``: memory and time of an append over thousands of files, and a poll of a folder of 100,000.

The files are tiny, 8 x 8 px: what is measured is the watch, not the decoding of radar. All but the last 600 files are
deleted from the folder, as a service that runs for weeks does.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hko7env.archive.format import SCORED
from hko7env.importers import DecodedFrame, Grid, OneFrameFormat
from hko7env.importers.drop_folder import DropFolder, signature_of
from hko7env.importers.watch_options import WatchOptions
from hko7env.importers.watching import watching
from hko7env.live_run.health import memory

from .timing import Line, compare, line

SIZE, CADENCE = 8, 5
FRAMES, EARLY, AT_ONCE = 5_000, 500, 10  # files, the files after which memory is measured first, files a poll
IN_FOLDER, SEEN = 600, 100_000
OPTIONS = WatchOptions(settle=0, keep_days=1)


class Tiny(OneFrameFormat):
    """NumPy files that are named by minutes since 1970-01-01."""

    def time_of(self, path: Path) -> int | None:
        """The time in the name."""
        return int(path.stem) if path.suffix == ".npy" else None

    def grid(self, path: Path) -> Grid:
        """A small grid without georeference."""
        axis = np.arange(float(SIZE))
        mask = np.full((SIZE, SIZE), SCORED, np.uint8)
        return Grid((SIZE, SIZE), CADENCE, mask, axis, -axis, "", "benchmark", "")

    def read(self, path: Path) -> DecodedFrame:
        """Read the levels."""
        return DecodedFrame(np.load(path))


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Appends at the beginning and at the end, with resident memory as bytes; then polls and plain listings."""
    yield from _appends()
    yield from _polls(args.rounds)


def _appends() -> Iterator[Line]:
    spans = {EARLY: f"files 1 to {EARLY}", FRAMES: f"files {FRAMES - EARLY + 1} to {FRAMES}"}
    first_time = first_memory = 0.0
    with TemporaryDirectory() as path:
        folder = Path(path, "drop")
        folder.mkdir()
        with watching(Tiny(), folder, Path(path, "a.zarr"), OPTIONS) as watcher:
            spent = 0.0
            for start in range(0, FRAMES, AT_ONCE):
                if start == FRAMES - EARLY:
                    spent = 0.0
                _drop(folder, start)
                begun = time.perf_counter()
                watcher.poll()
                spent += time.perf_counter() - begun
                name = spans.get(start + AT_ONCE)
                if name:
                    held = memory()
                    first_time, first_memory = first_time or spent, first_memory or held
                    more = {"memory_ratio": round(held / first_memory, 4), "frames_kept": watcher.frames}
                    yield line(f"watch/append, {name}", spent / EARLY, "ms/file", spent / first_time, held, **more)


def _drop(folder: Path, start: int) -> None:
    for step in range(start, start + AT_ONCE):
        np.save(_file(folder, step), np.full((SIZE, SIZE), step % 251, np.uint8))
        _file(folder, step - IN_FOLDER).unlink(missing_ok=True)


def _file(folder: Path, step: int) -> Path:
    return folder / f"{24_000_000 + CADENCE * step}.npy"


def _polls(rounds: int) -> Iterator[Line]:
    with TemporaryDirectory() as path:
        folder = Path(path)
        drops = DropFolder(folder, OPTIONS.settle)
        for number in range(SEEN):
            (folder / f"{number:06d}.npy").touch()
        os.utime(folder, (1, 1))  # long ago, so that a poll need not suspect that more files came in the same tick
        for arrival in drops.poll()[0]:
            drops.add_known(*arrival)
        reference = f"watch/list {SEEN} files and their sizes"
        plain = {reference: lambda: [signature_of(path) for path in folder.iterdir()]}
        medians = compare({**plain, "watch/poll, nothing new": drops.poll}, rounds)
        medians |= compare({"watch/poll, one new file": lambda: _one_more(folder, drops)}, rounds)
    for name, seconds in medians.items():
        yield line(name, seconds, "ms", seconds / medians[reference])


def _one_more(folder: Path, drops: DropFolder) -> None:
    (folder / f"{drops.files:06d}.npy").touch()
    for arrival in drops.poll()[0]:
        drops.add_known(*arrival)
