"""Reading a forecast file, one issue time after another, in bounded memory."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import iso
from hko7env.damage import DamagedFile
from hko7env.forecast_files.conversion import Pixels, to_pixels
from hko7env.forecast_files.layout import naming, read_layout
from hko7env.importers.dataset import check_axes, check_complete, check_frames, open_dataset
from hko7env.schedule import LEADS

_BLOCK = 1 << 24  # values that are read at once, or one forecast
_PART = 1 << 20  # bytes

NOT_IN_FILE = "no forecast of this issue time"


class Missing(NamedTuple):
    """Why a file has no forecast of an issue time: the reason, and where in the forecast, or nothing."""

    why: str
    where: str = ""


class ForecastFile:
    """The forecasts of a file, as pixels on the grid of an archive.

    Args:
        path: A netCDF file or zarr store, see :mod:`hko7env.forecast_files` for its layout.
        archive: The archive whose frames are forecast.
        leads: Number K of lead times, each a multiple of the archive's cadence.

    Attributes:
        path: The file.
        layout: What it holds.

    Raises:
        FileNotFoundError: There is no such file.
        ForecastFileError: The file is damaged, or does not follow the layout; a ValueError.
        RadarImportError: xarray or h5netcdf is not installed; a ValueError.
    """

    def __init__(self, path: Path, archive: Archive, leads: int = LEADS) -> None:
        self.path, self._archive = Path(path), archive
        if not self.path.exists():
            raise FileNotFoundError(f"there is no file of forecasts at {path}: check the path")
        with naming(self.path):
            check_axes(self.path)
            self._data = open_dataset(self.path, decode_timedelta=False)
        try:
            with naming(self.path):
                self.layout = read_layout(self._data, archive)
                self._variable = self._data[self.layout.variable]
                check_frames(self._variable)
                check_complete(self.path, [self.layout.variable, *map(str, self._variable.dims[:2])])
                self._leads = _choose_leads(self.layout.leads, archive.cadence, leads)
        except BaseException:
            self._data.close()
            raise
        self._block_size = self._choose_block_size()
        self._block = (0, np.zeros(0))  # first index, and the values of the issue times from there on

    def __enter__(self) -> "ForecastFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._data.close()

    def index_of(self, issue_time: int) -> int | None:
        """The index of an issue time, minutes since 1970-01-01, or None if the file lacks it."""
        times = self.layout.issue_times
        place = int(np.searchsorted(times, issue_time))
        return place if place < len(times) and times[place] == issue_time else None

    def read(self, issue_time: int) -> Pixels | Missing:
        """Read the forecast of one issue time; times in order are fastest.

        Args:
            issue_time: Minutes since 1970-01-01.

        Returns:
            (K, H, W) float32 pixels in [0, 1], 0 where the file has no value and none is scored; or why there is no
            forecast: the issue time is not in the file, or a location that may be scored has no value.

        Raises:
            ForecastFileError: A part of the file is damaged, or a value cannot be rain.
        """
        index = self.index_of(issue_time)
        if index is None:
            return Missing(NOT_IN_FILE)
        with naming(self.path):
            values = self._values(index)
            return self._to_forecast(values, issue_time)

    def _to_forecast(self, values: npt.NDArray[Any], issue_time: int) -> Pixels | Missing:
        forecast = np.zeros(values.shape, np.float32)
        flip_y, flip_x = self.layout.flips
        for k, frame in enumerate(values):
            frame = frame[::flip_y, ::flip_x]  # noqa: PLW2901 - the same frame, northern row first
            unknown = np.isnan(frame)
            incomplete = bool(unknown.any())
            if incomplete:
                lacking = np.count_nonzero(unknown & self._archive.scored)
                if lacking:
                    return Missing("values are missing", f"lead {k + 1}, {lacking} locations")
                frame = np.where(unknown, 0, frame)  # noqa: PLW2901
            try:
                forecast[k] = to_pixels(frame, self.layout.units, self.layout.zr, self._archive.zr)
            except DamagedFile as error:
                raise DamagedFile(f"forecast issued {iso(issue_time)}, lead {k + 1}: {error}") from error
            if incomplete:  # 0 dBZ is no pixel of 0
                forecast[k][unknown] = 0
        return forecast

    def _values(self, index: int) -> npt.NDArray[Any]:
        """(K, H, W) values as they are stored, unpacked."""
        first, block = self._block
        if not first <= index < first + len(block):
            first = index // self._block_size * self._block_size
            self._block = (first, np.zeros(0))  # frees the memory before more is taken
            block = np.asarray(self._variable[first : first + self._block_size, self._leads].values)
            if block.dtype.kind in "iu":
                block = block.astype(np.float32)
            self._block = (first, block)
        values: npt.NDArray[Any] = block[index - first]
        return values

    def _choose_block_size(self) -> int:
        """Issue times to read at once: those of a chunk, if it is small enough."""
        encoding = self._variable.encoding
        chunks = encoding.get("chunksizes") or encoding.get("chunks") or (1,)
        return max(1, min(int(chunks[0]), _BLOCK // (LEADS * self._archive.shape[0] * self._archive.shape[1])))


def _choose_leads(found: npt.NDArray[np.int64], cadence: int, leads: int) -> slice:
    """The lead times ``cadence``, 2 ``cadence``, ... in a file. Raises DamagedFile if it lacks one."""
    wanted = cadence * np.arange(1, leads + 1)
    if lacking := sorted(set(wanted.tolist()) - set(found.tolist())):
        raise DamagedFile(
            f"expected lead times of {cadence}, {2 * cadence}, ... {leads * cadence} min, {len(lacking)} of them are "
            f"missing, first {lacking[0]} min; the file has {found[0]} to {found[-1]} min in {len(found)} steps: "
            "interpolate the forecasts to the archive's cadence"
        )
    first, last = (int(np.flatnonzero(found == edge)[0]) for edge in wanted[[0, -1]])
    step, rest = divmod(last - first, leads - 1)
    if rest or not np.array_equal(found[first : last + 1 : step], wanted):
        raise DamagedFile(f"lead times between {cadence} min steps are not evenly spaced: keep the steps only")
    return slice(first, last + 1, step)


def content_digest(path: Path) -> str:
    """sha256 (hex) of a file, or of the names and contents of all files of a store."""
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as source:
            while part := source.read(_PART):
                digest.update(part)
    return digest.hexdigest()


def signature(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file, to notice a change while the file is being read."""
    return [(file.relative_to(path).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in _files(path)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(file for file in path.rglob("*") if file.is_file())
