"""Replaying files: they are dropped into a folder at the pace at which they once came, or faster."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hko7env.importers.contract import Format, RadarImportError
from hko7env.importers.formats import load_format
from hko7env.importers.scan import find_frames


def replay(
    file_format: str | Format,
    source: Path,
    folder: Path,
    *,
    speed: float = 1.0,
    begin: int | None = None,
    end: int | None = None,
    report: Callable[[str], Any] = print,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Path]:
    """Copy files of a source into a folder in the order of their times, with their spacing divided by ``speed``.

    Each file keeps its path below ``source``. It is copied under a name that begins with a dot and then renamed, so
    nobody sees half of it. Files that the folder holds already are passed over without waiting, so the same call
    continues a replay that was stopped.

    Args:
        file_format: The name of a format, as for :func:`hko7env.importers.load_format`, or an instance.
        source: The folder of the files.
        folder: The folder to drop them into; it is made if it does not exist.
        speed: How many times faster than they came; above 0.
        begin: Time of the first frame, minutes since 1970-01-01; None: that of the first file.
        end: Time before which the last frame lies, minutes since 1970-01-01; None: all files.
        report: Called with a line for each file that is not one of the format.
        sleep: Called with the seconds to wait before the next file.
        clock: Seconds of a clock that only goes forward.

    Yields:
        Each file that was dropped, when it is there.

    Raises:
        RadarImportError: ``source`` has no file of the format in that time.
        ValueError: ``speed`` is not above 0.
    """
    if not speed > 0:
        raise ValueError(f"speed must be above 0, got {speed:g}")
    reader = load_format(file_format) if isinstance(file_format, str) else file_format
    source, folder = source.resolve(), folder.resolve()
    if not source.is_dir():
        raise RadarImportError(f"there is no folder {source}: check the path")
    first: dict[Path, int] = {}
    for when, frame in find_frames(reader, source, folder, report):
        if (begin is None or when >= begin) and (end is None or when < end):
            first.setdefault(frame.path, when)
    if not first:
        raise RadarImportError(f"no file under {source} has a frame in that time: check begin and end")
    missing = [(path, when) for path, when in first.items() if not (folder / path.relative_to(source)).exists()]
    started = clock()
    for path, when in missing:
        due = started + 60 * (when - missing[0][1]) / speed
        if due > clock():
            sleep(due - clock())
        yield _drop(path, folder / path.relative_to(source))


def _drop(path: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(path, temporary)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
