"""What importing and watching share: the archive that frames go to, and the decoding of a frame for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from hko7env.archive import Archive, create
from hko7env.archive.format import GOOD, SCORED, SUSPECT
from hko7env.damage import DamagedFile
from hko7env.importers.contract import Format, FrameSource, Grid, Levels, Mask, RadarImportError, Report, reading
from hko7env.importers.scan import Frames
from hko7env.importers.window import Window
from hko7env.units import ZR

MAX_NO_DATA = 0.01  # a frame without data at more than this share of the scored locations is suspect


def open_archive(reader: Format, frames: Frames, destination: Path, window: Window | None, report: Report) -> Archive:
    """Open the archive, or create it, for the grid of the first file that can be read.

    Args:
        reader: The format of the files.
        frames: The frames to import, in the order of time.
        destination: Path of the archive.
        window: The part of the grid to import; None: the whole grid.
        report: Called for each file that cannot be read.

    Raises:
        RadarImportError: No file can be read, or the archive holds frames of another grid, cadence or source.
    """
    grid = first_grid(reader, [frame.path for _, frame in frames], window, report)
    if destination.exists():
        archive = Archive(str(destination), writable=True)
        check_match(archive, grid)
        return archive
    if grid.cadence == 0:
        steps = np.diff([time for time, _ in frames])
        if len(steps) == 0:
            raise RadarImportError("one frame does not show the cadence: import two or more")
        grid = replace(grid, cadence=int(np.median(steps)))
    return create(str(destination), **vars(grid))


def first_grid(reader: Format, paths: list[Path], window: Window | None, report: Report) -> Grid:
    """The grid, or its window, of the first file that can be read. Raises RadarImportError if there is none."""
    for path in dict.fromkeys(paths):
        try:
            with reading(path):
                grid = reader.grid(path)
                _check_grid(grid)
        except DamagedFile as error:
            report(str(error))
        else:
            return window.grid(grid) if window else grid
    raise RadarImportError("none of the files can be read")


def _check_grid(grid: Grid) -> None:
    """Raise DamagedFile for a grid from which no archive can be made."""
    for axis, values, size in (("y", grid.y, grid.shape[0]), ("x", grid.x, grid.shape[1])):
        steps = np.diff(values)
        if values.shape != (size,) or not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise DamagedFile(f"its {axis} coordinates are not {size} finite numbers in order")
    if not (grid.mask == SCORED).any():
        raise DamagedFile("no location holds data")


def check_match(archive: Archive, grid: Grid) -> None:
    """Raise RadarImportError if an archive holds frames of another grid, cadence or source."""
    same = archive.shape == grid.shape and archive.crs == grid.crs and grid.cadence in (0, archive.cadence)
    same = same and archive.zr == (grid.zr or ZR())
    same = same and np.array_equal(archive.x, grid.x) and np.array_equal(archive.y, grid.y)
    if not same or archive.attributes.get("source") != grid.source:
        raise RadarImportError(f"{archive.name} holds frames of another grid or source: import into another archive")


def decode_frame(reader: Format, scored: Mask, window: Window | None, frame: FrameSource) -> tuple[Levels, int] | str:
    """Levels and status of a frame, or why it cannot be read; runs in a worker process."""
    name = reader.name_of(frame)
    try:
        with reading(name):
            decoded = reader.read_at(*frame)
    except DamagedFile as error:
        return str(error)
    if window:
        decoded = window.frame(decoded)
    if decoded.levels.shape != scored.shape:
        return f"{name} cannot be read ({decoded.levels.shape} frame in an archive of {scored.shape})"
    if decoded.status is not None:
        return decoded.levels, decoded.status
    if decoded.no_data is None:
        return decoded.levels, GOOD
    missing = np.count_nonzero(decoded.no_data & scored) > MAX_NO_DATA * np.count_nonzero(scored)
    return decoded.levels, SUSPECT if missing else GOOD
