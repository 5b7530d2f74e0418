"""Forecasts as files for users: rain rate and reflectivity of each issue time, as CF netCDF and zarr."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import DAY, iso
from hko7env.evaluation.journal import writing
from hko7env.forecast_files import write

FORMATS = {"netcdf": ".nc", "zarr": ".zarr"}
UNITS = ("mm/h", "dBZ")
_STAMP = "YYYYMMDDThhmm"


class Products:
    """The forecast files of one agent: ``YYYYMMDDThhmm.nc`` and ``.zarr``, named by the issue time.

    Args:
        path: Their folder; it is created if necessary.
        formats: Names of :data:`FORMATS`.
        keep_days: Days for which files are kept, counted back from the newest issue time; None: for ever.

    Raises:
        RunError: If the folder cannot be written.
    """

    def __init__(self, path: Path, formats: tuple[str, ...], keep_days: int | None) -> None:
        self.path, self.formats, self.keep_days = path, formats, keep_days
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            for left in path.glob(".*.partial.*"):  # of a killed process
                _remove(left)

    def add(
        self, issue_time: int, forecast: npt.NDArray[np.float32], archive: Archive, attributes: Mapping[str, str]
    ) -> None:
        """Write one forecast, each file at once, and remove files that are older than ``keep_days``.

        Args:
            issue_time: Minutes since 1970-01-01.
            forecast: (K, H, W) float32 pixels in [0, 1].
            archive: The archive whose frames are forecast.
            attributes: Attributes of the files.

        Raises:
            ForecastError: The forecast is malformed.
            RunError: A file cannot be written.
        """
        for name in self.formats:
            path = self.path / f"{stamp(issue_time)}{FORMATS[name]}"
            with writing(path):
                _remove(path)  # of a process that was killed before it had finished this step
                write(path, [(issue_time, forecast)], archive, units=UNITS, attributes=attributes)
        if self.keep_days is not None:
            self._remove_before(issue_time - self.keep_days * DAY)

    def _remove_before(self, issue_time: int) -> None:
        oldest = stamp(issue_time)
        for path in self.path.iterdir():
            if path.suffix in FORMATS.values() and len(path.stem) == len(_STAMP) and path.stem < oldest:
                with writing(path):
                    _remove(path)


def stamp(issue_time: int) -> str:
    """``YYYYMMDDThhmm`` of minutes since 1970-01-01."""
    return iso(issue_time).replace("-", "").replace(":", "")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
