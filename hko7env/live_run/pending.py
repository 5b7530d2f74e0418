"""Forecasts whose truth has not come, kept on the disk exactly, one file each, until they are scored.

``NNNNNN.forecast`` holds the forecast of step NNNNNN: an array in numpy's format, compressed by zstd, and a crc32c.
"""

import io
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs import Zstd

from hko7env.evaluation.journal import RunError, writing
from hko7env.files import write_atomically
from hko7env.forecast import Forecast

_SUFFIX = ".forecast"


class PendingForecasts:
    """The pending forecasts of one agent.

    Args:
        path: Their folder; it is created if necessary.

    Raises:
        RunError: If the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.mkdir(exist_ok=True)
            for left in path.glob("*.partial"):  # of a killed process
                left.unlink()

    def steps(self) -> list[int]:
        """The steps whose forecasts are pending, increasing."""
        return sorted(int(file.stem) for file in self.path.glob(f"*{_SUFFIX}"))

    def add(self, step: int, forecast: Forecast) -> None:
        """Keep the forecast of ``step``. Raises RunError if it cannot be written."""
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(forecast), allow_pickle=False)
        data = bytes(Zstd(level=1).encode(buffer.getvalue()))
        with writing(self._file(step)):
            write_atomically(self._file(step), google_crc32c.value(data).to_bytes(4, "little") + data)

    def read(self, step: int) -> Forecast | None:
        """The forecast of ``step``, or None if its file is damaged. Raises RunError if it cannot be read."""
        path = self._file(step)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RunError(f"cannot read {path} ({error.strerror or error}): restore it, or remove it") from error
        if google_crc32c.value(data[4:]) != int.from_bytes(data[:4], "little"):
            return None
        found: Forecast = np.load(io.BytesIO(Zstd().decode(data[4:])), allow_pickle=False)
        return found

    def remove(self, step: int) -> None:
        """Forget the forecast of ``step``, if it is there. Raises RunError if its file cannot be removed."""
        with writing(self._file(step)):
            self._file(step).unlink(missing_ok=True)

    def _file(self, step: int) -> Path:
        return self.path / f"{step:06d}{_SUFFIX}"
