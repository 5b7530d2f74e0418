"""The import loop, which is the same for all formats: find the frames, decode them, append them to an archive."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.archive.format import CHUNK, GOOD, OUT_OF_RANGE, OUTLIER, SCORED, SUSPECT, iso, minutes
from hko7env.archive.store import is_local
from hko7env.damage import DamagedFile
from hko7env.importers.contract import Format, FrameSource, Grid, Levels, Mask, RadarImportError, Report, reading
from hko7env.importers.formats import load_format
from hko7env.importers.scan import Frames, find_frames
from hko7env.importers.window import Window
from hko7env.locking import sole_writer
from hko7env.parallel import worker_map
from hko7env.units import ZR

# Between commits; an import that is stopped decodes at most this much again
BATCH_FRAMES, BATCH_BYTES = 24 * CHUNK, 1 << 26
MAX_NO_DATA = 0.01  # a frame without data at more than this share of the scored locations is suspect


def import_radar(
    file_format: str | Format,
    source: Path | str,
    destination: Path,
    *,
    window: Window | None = None,
    period: tuple[str, str] | None = None,
    keep_going: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[Archive, list[str]]:
    """Append the frames of all files of a source to an archive, which is made if it does not exist.

    Frames that the archive holds already are skipped, so calling this again continues an import that was stopped. The
    archive is locked until the import ends.

    Args:
        file_format: The name of a format, as for :func:`hko7env.importers.load_format`, or an instance.
        source: A file or folder, or the URL of a store if the format reads URLs.
        destination: Path of the archive, which is extended if it exists.
        window: The part of the grid to import; None: the whole grid.
        period: ISO minutes of the first time to import and of the first one after, in UTC; None: all.
        keep_going: Leave out files that cannot be used instead of raising an error for the first of them.
        workers: Number of processes that decode files.
        scheduler: Address of a dask scheduler whose workers decode files instead.

    Returns:
        The archive, and for each file that was left out its name and the reason.

    Raises:
        RadarImportError: There is no such format or source, a file cannot be used, or the archive has another grid or
            source.
        LockedError: Another process writes to the archive; a ValueError that names the process.
    """
    reader = load_format(file_format) if isinstance(file_format, str) else file_format
    place, destination = _locate(reader, source), destination.resolve()
    problems = _Problems(keep_going)
    with sole_writer(destination):
        frames = find_frames(reader, place, destination, problems.add, _period(period))
        archive = _open_archive(reader, frames, destination, window, problems.add)
        new = _new_frames(frames, archive, problems.add)
        with (
            _explain_dead_workers(),
            worker_map(workers, scheduler) as mapped,
            progress.bar(len(frames), "importing", "frame", done=len(frames) - len(new)) as bar,
        ):
            decode = partial(_decode, reader, archive.scored, window)
            _append_frames(archive, new, lambda batch: mapped(decode, batch), problems.add, bar.update)
        _apply_masks(reader, archive, place, window, problems.add)
    return archive, list(problems.found)


def _locate(reader: Format, source: Path | str) -> Path:
    """The absolute path of a source, because workers may have another working folder; a URL stays as it is."""
    if not is_local(source):
        if not reader.reads_urls:
            raise RadarImportError(f"this format reads files of this machine: copy {source} here, and give the path")
        return cast(Path, source)  # formats with reads_urls take both
    path = Path(source).resolve()
    if not path.exists():
        raise RadarImportError(f"there is no file or folder {path}: check the path")
    return path


def _period(period: tuple[str, str] | None) -> tuple[int, int] | None:
    if period is None:
        return None
    try:
        begin, end = minutes(period[0]), minutes(period[1])
    except ValueError as error:
        raise RadarImportError(f"a period is two times such as 2020-06-01T00:00, got {' '.join(period)}") from error
    if begin >= end:
        raise RadarImportError(f"a period begins before it ends, got {' '.join(period)}")
    return begin, end


class _Problems:
    """The files that were left out, once each; or, without ``keep_going``, an error for the first of them."""

    def __init__(self, keep_going: bool) -> None:
        self.keep_going = keep_going
        self.found: dict[str, None] = {}

    def add(self, text: str) -> None:
        text = text.encode("utf-8", "backslashreplace").decode()  # file names may hold any bytes
        if not self.keep_going:
            raise RadarImportError(f"{text}; repair or remove it, or leave out such files with keep_going=True")
        self.found[text] = None


@contextmanager
def _explain_dead_workers() -> Iterator[None]:
    try:
        yield
    except BrokenExecutor as error:
        raise RadarImportError(
            "a worker process died: memory was exhausted, or a file crashed its decoder. Import again to continue; "
            "with workers=1 and parts of the source, the file can be found"
        ) from error


def _open_archive(reader: Format, frames: Frames, destination: Path, window: Window | None, report: Report) -> Archive:
    """Open the archive, or create it, for the grid of the first file that can be read."""
    grid = _first_grid(reader, [frame.path for _, frame in frames], report)
    if window:
        grid = window.grid(grid)
    if destination.exists():
        archive = Archive(str(destination), writable=True)
        _check_match(archive, grid)
        return archive
    if grid.cadence == 0:
        steps = np.diff([time for time, _ in frames])
        if len(steps) == 0:
            raise RadarImportError("one frame does not show the cadence: import two or more")
        grid = replace(grid, cadence=int(np.median(steps)))
    return create(str(destination), **vars(grid))


def _first_grid(reader: Format, paths: list[Path], report: Report) -> Grid:
    for path in dict.fromkeys(paths):
        try:
            with reading(path):
                grid = reader.grid(path)
                _check_grid(grid)
        except DamagedFile as error:
            report(str(error))
        else:
            return grid
    raise RadarImportError("none of the files can be read")


def _check_grid(grid: Grid) -> None:
    """Raise DamagedFile for a grid from which no archive can be made."""
    for axis, values, size in (("y", grid.y, grid.shape[0]), ("x", grid.x, grid.shape[1])):
        steps = np.diff(values)
        if values.shape != (size,) or not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise DamagedFile(f"its {axis} coordinates are not {size} finite numbers in order")
    if not (grid.mask == SCORED).any():
        raise DamagedFile("no location holds data")


def _check_match(archive: Archive, grid: Grid) -> None:
    """Raise RadarImportError if an archive holds frames of another grid, cadence or source."""
    same = archive.shape == grid.shape and archive.crs == grid.crs and grid.cadence in (0, archive.cadence)
    same = same and archive.zr == (grid.zr or ZR())
    same = same and np.array_equal(archive.x, grid.x) and np.array_equal(archive.y, grid.y)
    if not same or archive.attributes.get("source") != grid.source:
        raise RadarImportError(f"{archive.name} holds frames of another grid or source: import into another archive")


def _new_frames(frames: Frames, archive: Archive, report: Report) -> Frames:
    """The frames that the archive does not hold; those older than its newest frame are reported instead."""
    held = set(archive.times.tolist())
    newest = int(archive.times[-1]) if len(archive) else None
    new = []
    for time, frame in frames:
        if time in held:
            continue
        if newest is not None and time < newest:
            report(
                f"{frame.path} ({iso(time)}) is older than the newest frame of {archive.name}, and frames can only be "
                "appended"
            )
            continue
        new.append((time, frame))
    return new


def _append_frames(
    archive: Archive,
    frames: Frames,
    decode: Callable[[list[FrameSource]], Any],
    report: Report,
    step: Callable[[], Any],
) -> None:
    """Decode and append frames batch by batch; ``decode`` maps a batch to results of :func:`_decode`."""
    size = max(min(BATCH_FRAMES, BATCH_BYTES // (archive.shape[0] * archive.shape[1])), 1)
    for start in range(0, len(frames), size):
        times, sources = zip(*frames[start : start + size], strict=True)
        decoded: list[tuple[int, Levels, int]] = []
        for time, result in zip(times, decode(list(sources)), strict=True):
            if isinstance(result, str):
                report(result)
            else:
                decoded.append((time, *result))
            step()
        if decoded:
            new_times, levels, status = zip(*decoded, strict=True)
            archive.append(new_times, np.stack(levels), status)


def _decode(reader: Format, scored: Mask, window: Window | None, frame: FrameSource) -> tuple[Levels, int] | str:
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


def _apply_masks(reader: Format, archive: Archive, source: Path, window: Window | None, report: Report) -> None:
    """Set the static mask by the mask files of the source, if there are any.

    A location is scored if any mask of this or an earlier import lets it through. A mask that was set in another way,
    such as by denoising, stays.
    """
    stored = archive.attributes
    chosen = "denoised" in stored or "mask_from" in stored
    if chosen or stored.get("masks_read_at") == len(archive):
        return
    union = reader.union_of_masks(source, report)
    if union is None:
        return
    union = window.cut(union.astype(np.uint8)) > 0 if window else union
    if "masks_read_at" in stored:
        union = union | archive.scored
    unscored = np.where(archive.mask == OUT_OF_RANGE, OUT_OF_RANGE, OUTLIER)
    mask = np.where(union, SCORED, unscored).astype(np.uint8)
    archive.update(mask=mask, attributes={"masks_read_at": len(archive)})
