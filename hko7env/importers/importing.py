"""The import loop, which is the same for all formats: find the frames, decode them, append them to an archive."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from hko7env import progress
from hko7env.archive import Archive
from hko7env.archive.format import CHUNK, OUT_OF_RANGE, OUTLIER, SCORED, iso, minutes
from hko7env.archive.store import is_local
from hko7env.importers.contract import Format, FrameSource, Levels, RadarImportError, Report
from hko7env.importers.destination import decode_frame, open_archive
from hko7env.importers.formats import load_format
from hko7env.importers.scan import Frames, find_frames
from hko7env.importers.window import Window
from hko7env.locking import sole_writer
from hko7env.parallel import worker_map

# Between commits; an import that is stopped decodes at most this much again
BATCH_FRAMES, BATCH_BYTES = 24 * CHUNK, 1 << 26


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
        archive = open_archive(reader, frames, destination, window, problems.add)
        new = _new_frames(frames, archive, problems.add)
        with (
            _explain_dead_workers(),
            worker_map(workers, scheduler) as mapped,
            progress.bar(len(frames), "importing", "frame", done=len(frames) - len(new)) as bar,
        ):
            decode = partial(decode_frame, reader, archive.scored, window)
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
    """Decode and append frames batch by batch; ``decode`` maps a batch to results of :func:`decode_frame`."""
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
