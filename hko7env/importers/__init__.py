"""Bring radar files of a weather service into an archive: one module a format, one loop for all of them.

A format is a module with ``time_of``, ``place_of``, ``grid`` and ``read``, as :class:`Format` says. It may have
``is_beside(path)``, True of files that go with others, and ``ever_scored(source, problem)``, the locations that mask
files let through. One whose files hold many frames has ``sources(source)``, ``times_of(path)`` and ``read_at(path,
number)`` instead of ``time_of`` and ``read``.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.archive.format import CHUNK, GOOD, OUT_OF_RANGE, OUTLIER, SCORED, SUSPECT, iso, minutes
from hko7env.damage import DAMAGE, DamagedFile, reason
from hko7env.naming import suggest
from hko7env.parallel import worker_map

BATCH, BATCH_BYTES = 24 * CHUNK, 1 << 26  # frames between commits: what a stopped import has to read again at most
GONE = 0.01  # a frame that lacks more than this share of the scored locations is suspect

Frames = npt.NDArray[np.uint8]
Problem = Callable[[str], None]  # is told of a file that is left out; raises if none may be


class ImportProblem(ValueError):
    """A source that cannot be imported; the message names the file and the remedy."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What all files of a source share; the fields are those of :func:`hko7env.archive.create`."""

    shape: tuple[int, int]
    cadence: int  # 0: the median step between the files
    mask: Frames
    x: npt.NDArray[np.floating[Any]]
    y: npt.NDArray[np.floating[Any]]
    crs: str
    source: str
    licence: str
    attributes: dict[str, Any] = field(default_factory=dict)


class Part(NamedTuple):
    """Where a frame is: a file, and which of its frames."""

    path: Path
    number: int


class Seen(NamedTuple):
    """A frame (H, W) uint8, and where (H, W) bool the file holds no data."""

    levels: Frames
    gone: npt.NDArray[np.bool_]


class Format(Protocol):
    """One file format."""

    def time_of(self, path: Path) -> int | None:
        """Minutes since 1970-01-01 by the file's name, or None if the name is not one of this format."""

    def place_of(self, path: Path) -> str:
        """What the file covers, by its name, such as a station: an archive holds one place."""

    def grid(self, path: Path) -> Grid:
        """The grid of the source that ``path`` belongs to. Raises one of DAMAGE."""

    def read(self, path: Path) -> Frames | Seen:
        """(H, W) uint8 levels, north row first, or Seen if a file can lack locations. Raises one of DAMAGE."""


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Turn whatever a damaged file raises into DamagedFile with the name ``what``; let ImportProblem through."""
    try:
        with np.errstate(all="ignore"):  # what overflows is told by its value
            yield
    except ImportProblem:
        raise
    except DAMAGE as error:
        raise DamagedFile(f"{what} cannot be read ({reason(error)})") from error


def formats() -> list[str]:
    """The formats that can be imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def stamp(digits: str) -> int | None:
    """Minutes since 1970-01-01 of ``YYYYMMDDhhmm``, or None if there is no such time."""
    try:
        return minutes(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}")
    except ValueError:
        return None


def find(name: str) -> Format:
    """The format called ``name``. Raises ImportProblem with a suggestion if there is none."""
    known = formats()
    if name not in known:
        raise ImportProblem(f"there is no import format {name!r}, {suggest(name, known)}")
    return cast(Format, importlib.import_module(f"{__name__}.{name}"))


@dataclass(frozen=True)
class Window:
    """``height`` x ``width`` locations from ``row`` and ``column`` on: cut or padded, not resampled.

    What lies outside the grid is out of range. Raises ImportProblem if nothing of the grid is inside.
    """

    row: int
    column: int
    height: int
    width: int

    def grid(self, whole: Grid) -> Grid:
        """The window's own grid; coordinates beyond the edge go on in even steps."""
        inside = self.frame(np.ones(whole.shape, np.uint8)) > 0
        if not inside.any():
            raise ImportProblem(f"the window {self} does not touch the grid of {whole.shape[0]} x {whole.shape[1]}")
        return replace(
            whole,
            shape=(self.height, self.width),
            mask=np.where(inside, self.frame(whole.mask), OUT_OF_RANGE).astype(np.uint8),
            x=_line(whole.x, self.column, self.width),
            y=_line(whole.y, self.row, self.height),
        )

    def frame(self, whole: Frames) -> Frames:
        """The window of a frame (H, W) uint8, 0 outside."""
        result = np.zeros((self.height, self.width), np.uint8)
        top, left = max(self.row, 0), max(self.column, 0)
        part = whole[top : max(self.row + self.height, 0), left : max(self.column + self.width, 0)]
        down, right = top - self.row, left - self.column
        result[down : down + part.shape[0], right : right + part.shape[1]] = part
        return result


def _line(whole: npt.NDArray[Any], first: int, size: int) -> npt.NDArray[Any]:
    """``size`` coordinates from number ``first`` of ``whole`` on."""
    numbers = np.arange(first, first + size)
    step = whole[1] - whole[0] if len(whole) > 1 else 1.0
    held = np.clip(numbers, 0, len(whole) - 1)
    return np.asarray(whole[held] + step * (numbers - held))


def import_radar(
    name: str,
    source: Path,
    destination: Path,
    *,
    window: Window | None = None,
    keep_going: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
) -> tuple[Archive, list[str]]:
    """Append all files of format ``name`` under ``source`` to the archive at ``destination``, made if need be.

    ``window`` cuts or pads the grid; ``workers`` processes, or the dask cluster at ``scheduler``, read the files.
    Frames that are there already are skipped, so a stopped import goes on where it was. Returns the archive and the
    list of files that were left out, with the reason; without ``keep_going`` the first of them raises ImportProblem.
    """
    reader = find(name)
    source, destination = source.resolve(), destination.resolve()  # workers may stand in another folder
    problems: dict[str, None] = {}

    def problem(text: str) -> None:
        text = text.encode("utf-8", "backslashreplace").decode()  # a name may hold any bytes
        if not keep_going:
            raise ImportProblem(f"{text}; mend or remove it, or leave such files out with --keep-going")
        problems[text] = None  # once, whichever step finds it

    files = _scan(reader, name, source, destination, problem)
    archive = _open(reader, files, destination, window, problem)
    todo = _todo(files, archive, destination, problem)
    read = partial(_read, name, archive.scored, window)
    size = max(min(BATCH, BATCH_BYTES // (archive.shape[0] * archive.shape[1])), 1)
    with (
        _worker_errors(),
        worker_map(workers, scheduler) as spread,
        progress.bar(len(files), f"importing {name}", "frame", done=len(files) - len(todo)) as bar,
    ):
        for start in range(0, len(todo), size):
            some = todo[start : start + size]
            batch: list[tuple[int, Frames, int]] = []
            for (time, _), result in zip(some, spread(read, [part for _, part in some]), strict=True):
                if isinstance(result, str):
                    problem(result)
                else:
                    batch.append((time, *result))
                bar.update()
            if batch:
                times, frames, status = zip(*batch, strict=True)
                archive.append(times, np.stack(frames), status)
    _take_masks(reader, archive, source, window, problem)
    return archive, list(problems)


@contextmanager
def _worker_errors() -> Iterator[None]:
    """Raise ImportProblem if a worker process dies."""
    try:
        yield
    except BrokenExecutor as error:
        raise ImportProblem(
            "a worker process died, for want of memory or of a file that its decoder cannot bear: the same command "
            "goes on; with --workers 1 and parts of the source, the file can be found"
        ) from error


def _take_masks(reader: Format, archive: Archive, source: Path, window: Window | None, problem: Problem) -> None:
    """Let the mask files of a source, if its format has them, set the static mask, but not over one that was chosen.

    A location that any mask of this or an earlier import lets through is scored.
    """
    known = archive.attributes
    chosen = "denoised" in known or "mask_from" in known
    if not hasattr(reader, "ever_scored") or chosen or known.get("masks_read_at") == len(archive):
        return
    ever = reader.ever_scored(source, problem)
    if ever is None:
        return
    ever = window.frame(ever.astype(np.uint8)) > 0 if window else ever
    if "masks_read_at" in known:
        ever = ever | archive.scored
    mask = np.where(ever, SCORED, np.where(archive.mask == OUT_OF_RANGE, OUT_OF_RANGE, OUTLIER)).astype(np.uint8)
    archive.update(mask=mask, attributes={"masks_read_at": len(archive)})


def _todo(
    files: list[tuple[int, Part]], archive: Archive, destination: Path, problem: Problem
) -> list[tuple[int, Part]]:
    """The files whose frames are still to come."""
    there = set(archive.times.tolist())
    newest = int(archive.times[-1]) if len(archive) else None
    todo = []
    for time, part in files:
        if time in there:
            continue
        if newest is not None and time < newest:
            problem(
                f"{part.path} ({iso(time)}) is older than the newest frame of {destination}, and archives only grow"
            )
            continue
        todo.append((time, part))
    return todo


def _scan(reader: Format, name: str, source: Path, destination: Path, problem: Problem) -> list[tuple[int, Part]]:
    """Time and place of every frame of the source, in the order of time."""
    if not source.exists():
        raise ImportProblem(f"there is no {source}")
    found: dict[int, Part] = {}
    first: str | None = None
    for path in _candidates(reader, source):
        if destination == path or destination in path.parents:
            continue
        try:
            with reading(path):
                times = _times(reader, path)
                place = reader.place_of(path) if times is not None else ""
        except DamagedFile as error:
            problem(str(error))
            continue
        if times is None:
            problem(f"{path} is not named like a file of format {name}, or holds nothing of it")
            continue
        first = first or place
        if place != first:
            problem(f"{path} is of {place}, other files of {first}: import them apart")
            continue
        for number, time in enumerate(times):
            if time in found:
                problem(f"{path} has the same time as {found[time].path}")
            else:
                found[time] = Part(path, number)
    if not found:
        raise ImportProblem(f"no file under {source} is named like format {name}")
    return sorted(found.items())


def _candidates(reader: Format, source: Path) -> list[Path]:
    if hasattr(reader, "sources"):
        return list(reader.sources(source))
    is_beside = getattr(reader, "is_beside", lambda path: False)
    files = [source] if source.is_file() else source.rglob("*")
    return sorted(p for p in files if p.is_file() and not is_beside(p))


def _times(reader: Format, path: Path) -> list[int] | None:
    if hasattr(reader, "times_of"):
        times: list[int] | None = reader.times_of(path)
        return times
    time = reader.time_of(path)
    return None if time is None else [time]


def _open(
    reader: Format, files: list[tuple[int, Part]], destination: Path, window: Window | None, problem: Problem
) -> Archive:
    for path in dict.fromkeys(path for _, (path, _) in files):
        try:
            with reading(path):
                grid = reader.grid(path)
                _check_grid(grid)
            break
        except DamagedFile as error:
            problem(str(error))
    else:
        raise ImportProblem("none of the files can be read")
    if window:
        grid = window.grid(grid)
    if destination.exists():
        archive = Archive(str(destination), writable=True)
        same = archive.shape == grid.shape and archive.crs == grid.crs and grid.cadence in (0, archive.cadence)
        same = same and np.array_equal(archive.x, grid.x) and np.array_equal(archive.y, grid.y)
        if not same or archive.attributes.get("source") != grid.source:
            raise ImportProblem(f"{destination} holds frames of another grid or source: import into another archive")
        return archive
    if grid.cadence == 0:
        steps = np.diff([time for time, _ in files])
        if len(steps) == 0:
            raise ImportProblem("one file does not tell the cadence: import two or more")
        grid = replace(grid, cadence=int(np.median(steps)))
    return create(str(destination), **vars(grid))


def _check_grid(grid: Grid) -> None:
    """Raise DamagedFile for a grid that makes no archive."""
    for axis, values, size in (("y", grid.y, grid.shape[0]), ("x", grid.x, grid.shape[1])):
        steps = np.diff(values)
        if values.shape != (size,) or not np.isfinite(values).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise DamagedFile(f"its {axis} coordinates are not {size} finite numbers in order")
    if not (grid.mask == SCORED).any():
        raise DamagedFile("no location holds data")


def _read(name: str, scored: npt.NDArray[np.bool_], window: Window | None, part: Part) -> tuple[Frames, int] | str:
    """The frame at its place with its status, or why there is none; in whatever process."""
    reader = find(name)
    frame = f"{part.path}, frame {part.number}," if hasattr(reader, "read_at") else str(part.path)
    try:
        with reading(frame):
            seen = reader.read_at(*part) if hasattr(reader, "read_at") else reader.read(part.path)
    except DamagedFile as error:
        return str(error)
    levels, gone = seen if isinstance(seen, Seen) else (seen, np.zeros(seen.shape, bool))
    if window:
        levels, gone = window.frame(levels), window.frame(gone.astype(np.uint8)) > 0
    if levels.shape != scored.shape:
        return f"{frame} cannot be read ({levels.shape} frame in an archive of {scored.shape})"
    lacks = np.count_nonzero(gone & scored) > GONE * np.count_nonzero(scored)
    return levels, SUSPECT if lacks else GOOD
