"""Importing a year of 5-minute frames from an mlcast dataset: memory after a month and after all, killed in between."""

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import zarr
from numcodecs import Zstd

from hko7env.archive import Archive
from hko7env.importers import import_radar

from .timing import Line, line, peak_memory

FRAMES = 105_120  # of 5 minutes in a year
SIDE = 64  # px: small, so that the files are made and read in minutes
PATTERNS = 97  # different frames, which repeat
BLOCK = 4096  # times in a chunk
POLL = 0.2  # seconds
MONTH = "radar-year/import, peak memory after a twelfth"


class Sample(NamedTuple):
    """Frames in the archive, and the peak memory in bytes of the process that imports them."""

    frames: int
    memory: int


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Peak memory, and milliseconds a frame of an import that is killed at the half and called again."""
    yield from measure_import(FRAMES)


def measure_import(frames: int, side: int = SIDE) -> Iterator[Line]:
    """The lines for a dataset of ``frames`` frames of ``side`` x ``side`` px."""
    with TemporaryDirectory() as folder:  # the lines come before it is removed, which takes a while
        source, archive = Path(folder) / "year.zarr", Path(folder) / "archive.zarr"
        write_dataset(source, frames, side)
        start = time.perf_counter()
        before = list(_import(source, archive, stop_at=frames // 2))
        after = list(_import(source, archive, stop_at=frames))
        seconds = time.perf_counter() - start
        yield from _describe(before, after[-1].memory, len(Archive(str(archive))), seconds / frames)


def _describe(before: list[Sample], peak: int, found: int, seconds: float) -> Iterator[Line]:
    """The lines: samples before the kill, peak memory after it, frames found in the end, and seconds a frame."""
    month = next((one for one in before if one.frames >= found // 12), before[-1])
    for name, one in ((MONTH, month), ("radar-year/after a half, when killed", before[-1])):
        yield line(name, 0, "", one.memory / month.memory, one.memory, frames=one.frames)
    counts = {"frames": found, "frames found from before": before[-1].frames}
    yield line("radar-year/after all, called again", seconds, "ms/frame", peak / month.memory, peak, **counts)


def write_dataset(path: Path, frames: int, side: int = SIDE) -> None:
    """Write a dataset by the mlcast specification: rain amounts of 5 minutes, one time step a chunk.

    Args:
        path: The zarr store (format 2) to make.
        frames: Number of frames, from 2020-01-01 on, without gaps.
        side: Height and width in px, 1 km each.
    """
    group = zarr.open_group(path, mode="w-", zarr_format=2)
    place = {"units": "km", "standard_name": "projection_x_coordinate", "axis": "X"}
    _array(group, "x", np.arange(side, dtype=np.float64), ["x"], place)
    place = {"units": "km", "standard_name": "projection_y_coordinate", "axis": "Y"}
    _array(group, "y", -np.arange(side, dtype=np.float64), ["y"], place)
    _array(group, "time", 5 * np.arange(frames), ["time"], {"units": "minutes since 2020-01-01"})
    about: dict[str, Any] = {"standard_name": "rainfall_amount", "long_name": "rain of a time step", "units": "kg m-2"}
    about["_ARRAY_DIMENSIONS"] = ["time", "y", "x"]
    group.create_array(
        "rainfall_amount", shape=(frames, side, side), chunks=(1, side, side), dtype=np.float32, attributes=about,
        compressors=Zstd(level=1), fill_value=np.float32(np.nan),
    )  # fmt: skip
    zarr.consolidate_metadata(group.store)
    dice = np.random.default_rng(1)
    packed = [Zstd(level=1).encode(dice.gamma(0.1, 0.5, (side, side)).astype(np.float32)) for _ in range(PATTERNS)]
    for i in range(frames):
        (path / "rainfall_amount" / f"{i}.0.0").write_bytes(packed[i % PATTERNS])


def _array(group: zarr.Group, name: str, values: Any, dimensions: list[str], about: dict[str, str]) -> None:
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, chunks=(BLOCK,), compressors=Zstd(level=1), fill_value=None,
        attributes={**about, "_ARRAY_DIMENSIONS": dimensions},
    )  # fmt: skip
    array[...] = values


def _import(source: Path, archive: Path, *, stop_at: int) -> Iterator[Sample]:
    """Import in a process of its own, which is killed once the archive holds ``stop_at`` frames; yield samples."""
    process = multiprocessing.get_context("spawn").Process(target=import_radar, args=("mlcast", source, archive))
    process.start()
    frames = 0
    while frames < stop_at:
        time.sleep(POLL)
        ended = not process.is_alive()
        frames = len(Archive(str(archive))) if archive.exists() else 0
        if ended:
            if process.exitcode:
                raise RuntimeError(f"the import ended with status {process.exitcode}")
            break
        yield Sample(frames, peak_memory(process.pid or "self"))
    process.kill()
    process.join()
