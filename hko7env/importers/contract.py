"""The contract between the import loop and a file format.

A format is a subclass of :class:`Format`, or of :class:`OneFrameFormat` if each file holds one frame. A module of
``hko7env/importers/formats`` that defines an instance called ``FORMAT`` adds the format under the module's name.
:class:`hko7env.importers.testing.FormatTests` tests an implementation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import minutes
from hko7env.damage import DAMAGE, DamagedFile, reason
from hko7env.units import ZR

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Report = Callable[[str], None]  # takes the name of a file that cannot be used and why; may raise to stop the import


class RadarImportError(ValueError):
    """Files that cannot be imported; the message names the file and the remedy."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What all files of a source have in common.

    Attributes:
        shape: (H, W) of a frame.
        cadence: Minutes between frames; 0 takes the median step between the times of the files.
        mask: (H, W) uint8 static mask: 0 scored, 1 outlier, 2 out of range.
        x: (W,) coordinates of the columns in metres, west to east.
        y: (H,) coordinates of the rows in metres, north to south.
        crs: The coordinate reference system of ``x`` and ``y``, a PROJ string or WKT; empty if it is unknown.
        source: Weather service and product. An archive holds frames of one source.
        licence: The licence of the data; empty if it is unknown.
        attributes: Further attributes of the archive, such as how values become levels.
        splits: Splits of a new archive: name -> half-open ranges of ISO minutes.
        zr: The Z-R relation of the archive; None: HKO-7's.
    """

    shape: tuple[int, int]
    cadence: int
    mask: Levels
    x: npt.NDArray[np.floating[Any]]
    y: npt.NDArray[np.floating[Any]]
    crs: str
    source: str
    licence: str
    attributes: dict[str, Any] = field(default_factory=dict)
    splits: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    zr: ZR | None = None


class FrameSource(NamedTuple):
    """Where a frame is stored: the file and the number of the frame in it, from 0."""

    path: Path
    number: int


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame read from a file.

    Attributes:
        levels: (H, W) uint8 levels, northern row first, western column first; 0 where there are no data.
        no_data: (H, W) bool, True where the file has no data; None if the format cannot tell.
        status: 0 for a good frame and 1 for a suspect one, if the file says so; None: as ``no_data`` shows.
    """

    levels: Levels
    no_data: Mask | None = None
    status: int | None = None


class Format(ABC):
    """A file format whose files hold any number of frames.

    Required are ``times_of``, ``grid`` and ``read_at``. The other methods have defaults. Instances must be picklable,
    because worker processes read the frames.

    Methods that read a file may raise any error of :data:`hko7env.damage.DAMAGE`; a
    :class:`hko7env.damage.DamagedFile` with the reason is best. The import then names the file.

    Attributes:
        reads_urls: Whether a source may be a URL. The methods of such a format are given it as a string where others
            get a path.
    """

    reads_urls = False

    def sources(self, source: Path) -> list[Path]:
        """List the files, or folders such as zarr stores, to import in order.

        Default: ``source`` if it is a file, else all files below it except sidecars.

        Args:
            source: The file or folder that was given to the import.
        """
        files = [source] if source.is_file() else source.rglob("*")
        return sorted(path for path in files if path.is_file() and not self.is_sidecar(path))

    def is_sidecar(self, path: Path) -> bool:
        """Whether a file accompanies others and holds no frame itself, such as a mask. Default: False."""
        return False

    @abstractmethod
    def times_of(self, path: Path) -> list[int] | None:
        """Read the times of the frames in a file.

        Returns:
            Minutes since 1970-01-01 UTC of each frame, or None if the file does not belong to this format.
        """

    def coverage_id(self, path: Path) -> str:
        """Identify the area that a file covers, such as by its radar station or grid.

        Files of one archive have the same identifier. Default: all files cover the same area.
        """
        return ""

    @abstractmethod
    def grid(self, path: Path) -> Grid:
        """Describe the grid of the source to which a file belongs."""

    @abstractmethod
    def read_at(self, path: Path, number: int) -> DecodedFrame:
        """Read frame ``number`` of a file, counted from 0."""

    def name_of(self, frame: FrameSource) -> str:
        """Name a frame in messages."""
        return f"{frame.path}, frame {frame.number},"

    def union_of_masks(self, source: Path, report: Report) -> Mask | None:
        """Read the mask files of a source. Default: the format has none.

        Args:
            source: The file or folder that was given to the import.
            report: To be called with the name of a damaged mask file and the reason. It raises an error to stop the
                import; otherwise leave the file out.

        Returns:
            (H, W) bool, True where any of the masks lets a location be scored; None if there is no mask file.
        """
        return None


class OneFrameFormat(Format):
    """A file format with one frame in each file; required are ``time_of``, ``grid`` and ``read``."""

    @abstractmethod
    def time_of(self, path: Path) -> int | None:
        """Read the time of a file, usually from its name.

        Returns:
            Minutes since 1970-01-01 UTC, or None if the name does not belong to this format.
        """

    @abstractmethod
    def read(self, path: Path) -> DecodedFrame:
        """Read the frame of a file."""

    def times_of(self, path: Path) -> list[int] | None:
        """The time of the one frame, or None if the name does not belong to this format."""
        time = self.time_of(path)
        return None if time is None else [time]

    def read_at(self, path: Path, number: int) -> DecodedFrame:
        """Read the frame of a file; ``number`` is 0."""
        return self.read(path)

    def name_of(self, frame: FrameSource) -> str:
        """Name a frame in messages by its file."""
        return str(frame.path)


def parse_timestamp(digits: str) -> int | None:
    """Minutes since 1970-01-01 of ``YYYYMMDDhhmm``, or None if there is no such time."""
    try:
        return minutes(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}T{digits[8:10]}:{digits[10:12]}")
    except ValueError:
        return None


@contextmanager
def reading(name: object) -> Iterator[None]:
    """Raise DamagedFile with ``name`` for whatever a damaged file raises inside; RadarImportError passes unchanged."""
    try:
        with np.errstate(all="ignore"):  # overflow shows in the values, which are checked
            yield
    except RadarImportError:
        raise
    except DAMAGE as error:
        raise DamagedFile(f"{name} cannot be read ({reason(error)})") from error
