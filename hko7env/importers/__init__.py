"""Bring radar files of a weather service into an archive: one module a format, one loop for all of them.

A format is a module with ``time_of``, ``place_of``, ``grid`` and ``read``, as :class:`Format` says. It may have
``is_beside(path)``, True of files that go with others, and ``static_mask(source, known, problem)``, the mask that they
make.
"""

import difflib
import importlib
import pkgutil
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.layout import CHUNK, iso
from hko7env.parallel import spreading

BATCH = 24 * CHUNK  # frames between commits: what a stopped import has to read again at most

Frames = npt.NDArray[np.uint8]


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


class Format(Protocol):
    """One file format."""

    def time_of(self, path: Path) -> int | None:
        """Minutes since 1970-01-01 by the file's name, or None if the name is not one of this format."""

    def place_of(self, path: Path) -> str:
        """What the file covers, by its name, such as a station: an archive holds one place."""

    def grid(self, path: Path) -> Grid:
        """The grid of the source that ``path`` belongs to. Raises ValueError for a damaged file."""

    def read(self, path: Path) -> Frames:
        """(H, W) uint8 levels, north row first. Raises ValueError or OSError for a damaged or foreign file."""


def formats() -> list[str]:
    """The formats that can be imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Format:
    """The format called ``name``. Raises ImportProblem with a suggestion if there is none."""
    known = formats()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"only {', '.join(known)}"
        raise ImportProblem(f"there is no import format {name!r}, {hint}")
    return cast(Format, importlib.import_module(f"{__name__}.{name}"))


@dataclass(frozen=True)
class Window:
    """A part of the grid: ``height`` x ``width`` locations from ``row`` and ``column`` on; cut, not resampled."""

    row: int
    column: int
    height: int
    width: int

    def cut(self, grid: Grid) -> Grid:
        """The window's own grid. Raises ImportProblem if it reaches outside."""
        inside = 0 <= self.row <= self.row + self.height <= grid.shape[0]
        if not (inside and 0 <= self.column <= self.column + self.width <= grid.shape[1]):
            raise ImportProblem(f"the window {self} reaches outside the grid of {grid.shape[0]} x {grid.shape[1]}")
        rows, columns = self.slices
        shape = (self.height, self.width)
        return replace(grid, shape=shape, mask=grid.mask[rows, columns], x=grid.x[columns], y=grid.y[rows])

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.row, self.row + self.height), slice(self.column, self.column + self.width)


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

    ``window`` keeps a part of the grid; ``workers`` processes, or the dask cluster at ``scheduler``, read the files.
    Frames that are there already are skipped, so a stopped import goes on where it was. Returns the archive and the
    list of files that were left out, with the reason; without ``keep_going`` the first of them raises ImportProblem.
    """
    reader = find(name)
    problems: list[str] = []

    def problem(text: str) -> None:
        if not keep_going:
            raise ImportProblem(f"{text}; mend or remove it, or leave such files out with --keep-going")
        problems.append(text)

    files = _scan(reader, name, source, destination, problem)
    archive = _open(reader, files, destination, window, problem)
    todo = _todo(files, archive, destination, problem)
    read = partial(_read, name, archive.shape, window)
    with (
        spreading(workers, scheduler) as spread,
        progress.bar(len(files), f"importing {name}", "frame", done=len(files) - len(todo)) as bar,
    ):
        for start in range(0, len(todo), BATCH):
            batch: list[tuple[int, Frames]] = []
            for (time, path), result in zip(todo[start:], spread(read, [p for _, p in todo[start : start + BATCH]])):  # noqa: B905
                if isinstance(result, str):
                    problem(f"{path} cannot be read ({result})")
                else:
                    batch.append((time, result))
                bar.update()
            if batch:
                archive.append([time for time, _ in batch], np.stack([frame for _, frame in batch]))
    if hasattr(reader, "static_mask") and not window and archive.attributes.get("masks_read_at") != len(archive):
        mask = reader.static_mask(source, archive.mask, problem)
        if mask is not None:
            archive.update(mask=mask, attributes={"masks_read_at": len(archive)})
    return archive, problems


def _todo(files: list[tuple[int, Path]], archive: Archive, destination: Path, problem: Any) -> list[tuple[int, Path]]:
    """The files whose frames are still to come."""
    there = set(archive.times.tolist())
    newest = int(archive.times[-1]) if len(archive) else None
    todo = []
    for time, path in files:
        if time in there:
            continue
        if newest is not None and time < newest:
            problem(f"{path} ({iso(time)}) is older than the newest frame of {destination}, and archives only grow")
            continue
        todo.append((time, path))
    return todo


def _scan(reader: Format, name: str, source: Path, destination: Path, problem: Any) -> list[tuple[int, Path]]:
    if not source.exists():
        raise ImportProblem(f"there is no {source}")
    found: dict[int, Path] = {}
    is_beside = getattr(reader, "is_beside", lambda path: False)
    for path in sorted(p for p in ([source] if source.is_file() else source.rglob("*")) if p.is_file()):
        if is_beside(path) or destination in path.parents:
            continue
        time = reader.time_of(path)
        if time is None:
            problem(f"{path} is not named like a file of format {name}")
        elif found and reader.place_of(path) != reader.place_of(next(iter(found.values()))):
            problem(f"{path} is of {reader.place_of(path)}, other files of another place: import them apart")
        elif time in found:
            problem(f"{path} has the same time as {found[time]}")
        else:
            found[time] = path
    if not found:
        raise ImportProblem(f"no file under {source} is named like format {name}")
    return sorted(found.items())


def _open(
    reader: Format, files: list[tuple[int, Path]], destination: Path, window: Window | None, problem: Any
) -> Archive:
    for _, path in files:
        try:
            grid = reader.grid(path)
            break
        except (ValueError, OSError) as error:
            problem(f"{path} cannot be read ({error})")
    else:
        raise ImportProblem("none of the files can be read")
    if window:
        grid = window.cut(grid)
    if grid.cadence == 0:
        steps = np.diff([time for time, _ in files])
        if len(steps) == 0:
            raise ImportProblem("one file does not tell the cadence: import two or more")
        grid = replace(grid, cadence=int(np.median(steps)))
    if not destination.exists():
        return create(str(destination), **vars(grid))
    archive = Archive(str(destination), writable=True)
    if (
        archive.shape != grid.shape
        or archive.cadence != grid.cadence
        or archive.crs != grid.crs
        or not np.array_equal(archive.x, grid.x)
    ):
        raise ImportProblem(f"{destination} holds frames of another grid: import into another archive")
    return archive


def _read(name: str, shape: tuple[int, int], window: Window | None, path: Path) -> Frames | str:
    """The frame of a file, or why there is none; in whatever process."""
    try:
        frame = find(name).read(path)
    except ImportProblem:  # not the file's fault
        raise
    except (ValueError, OSError, SyntaxError) as error:  # pillow raises SyntaxError for some broken files
        return str(error)
    if window:
        frame = frame[window.slices]
    return frame if frame.shape == shape else f"{frame.shape} frame in an archive of {shape}"
