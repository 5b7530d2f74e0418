"""Journals: append-only files with the tally of every finished sequence of a run."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from hko7env.scores import COUNTS, ERRORS, Tally
from hko7env.units import THRESHOLDS

_SYNC_SECONDS = 5.0


class RunError(ValueError):
    """A run folder that cannot be used or written; the message names the file and the remedy."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError raised while writing ``path`` into a RunError that names it and says what to do."""
    try:
        yield
    except OSError as error:
        remedy = "make room, or choose another output folder"
        if isinstance(error, IsADirectoryError):
            remedy = "move it elsewhere"
        raise RunError(
            f"cannot write {path} ({error.strerror or error}): {remedy}, and run it again; everything finished is kept"
        ) from error


class Journal:
    """An append-only file of (sequence index, tally) records of fixed size, each with its crc32c.

    Records are written without buffering, so they are kept if the process is killed. Reading skips an incomplete last
    record, records whose checksum is wrong, and records of another run.

    Args:
        path: The file; it is created if it does not exist.
        leads: Number K of lead times.
        run: Digest of the run that the records belong to; it enters their checksums.
    """

    def __init__(self, path: Path, leads: int, run: str = "") -> None:
        self._dtype, self._path, self._run = record_dtype(leads), path, run
        with writing(path):
            self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def add(self, index: int, tally: Tally) -> None:
        """Append the tally of sequence ``index``. Raises RunError if it cannot be written."""
        record = np.zeros((), self._dtype)
        record["index"] = index
        record["counts"] = [getattr(tally, name) for name in COUNTS]
        record["sums"] = [getattr(tally, name) for name in ERRORS]
        record["crc"] = _checksum(record.tobytes(), self._run)
        with writing(self._path):
            if self._file.write(record.tobytes()) != self._dtype.itemsize:
                raise OSError("the disk is full")
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def sync(self) -> None:
        """Wait until all records are on the disk. Raises RunError if that fails."""
        with writing(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush everything to the disk and close the file. Raises RunError if that fails."""
        try:
            self.sync()
        finally:
            self._file.close()


def record_dtype(leads: int) -> np.dtype[Any]:
    """Layout of one record for K = ``leads``; the crc covers the run's digest and the bytes before the crc."""
    shape = (len(COUNTS), leads, len(THRESHOLDS))
    return np.dtype([("index", "<i8"), ("counts", "<i4", shape), ("sums", "<f8", (len(ERRORS), leads)), ("crc", "<u4")])


def _checksum(record: bytes, run: str) -> int:
    return int(google_crc32c.extend(google_crc32c.value(run.encode()), record[:-4]))


def read_journal(path: Path, leads: int, run: str = "") -> npt.NDArray[Any]:
    """Read the sound records of a journal of ``run``.

    Args:
        path: The journal.
        leads: Number K of lead times.
        run: Digest of the run; records of other runs are skipped.

    Returns:
        (n,) records of :func:`record_dtype`, in the order of writing.

    Raises:
        RunError: If the file cannot be read.
    """
    dtype = record_dtype(leads)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror or error}): restore or remove it") from error
    records = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    return records[[_checksum(r.tobytes(), run) == int(r["crc"]) for r in records]]


def read_journals(folder: Path, leads: int, run: str = "") -> npt.NDArray[Any]:
    """Read the sound records of all journals of ``run`` in a folder, see :func:`read_journal`."""
    parts = [read_journal(path, leads, run) for path in sorted(folder.glob("*.journal"))]
    return np.concatenate(parts) if parts else np.zeros(0, record_dtype(leads))


def create_journal(folder: Path) -> Path:
    """Create an empty journal with an unused number, also while other processes do the same in this folder.

    Raises:
        RunError: If that fails.
    """
    while True:
        numbers = [int(path.stem) for path in folder.glob("*.journal")]
        path = folder / f"{max(numbers, default=-1) + 1:04d}.journal"
        with writing(path), suppress(FileExistsError):  # another process was faster: take the next number
            path.touch(exist_ok=False)
            return path


def sum_records(records: npt.NDArray[Any], leads: int) -> Tally:
    """Add up the tallies of ``records`` (n,) in the order of their index, each index once."""
    _, first = np.unique(records["index"], return_index=True)
    chosen = records[first]
    if len(chosen) == 0:
        return Tally.zero(leads)
    counts = chosen["counts"].sum(axis=0, dtype=np.int64)
    return Tally(len(chosen), *counts, *np.cumsum(chosen["sums"], axis=0)[-1])  # cumsum: one order on every machine
