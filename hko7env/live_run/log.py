"""Logs: append-only files of JSON objects, one a line, each on the disk before the next step begins."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hko7env.evaluation.journal import RunError, writing


class Log:
    """A log that one process appends to.

    What a killed process has left of a last line is removed when the log is opened.

    Args:
        path: The file; it is created if it does not exist.

    Raises:
        RunError: If the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            self._file = path.open("ab+", buffering=0)
            self._file.truncate(_sound_length(path))

    def append(self, row: Mapping[str, Any]) -> None:
        """Append ``row``, and wait until it is on the disk. Raises RunError if it cannot be written."""
        line = json.dumps(row).encode() + b"\n"
        with writing(self.path):
            if self._file.write(line) != len(line):
                raise OSError("the disk is full")
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a log, without an incomplete last one; none if there is no file.

    Raises:
        RunError: If the file cannot be read, or a line is no JSON object.
    """
    if not path.exists():
        return
    number = 0
    try:
        with path.open("rb") as file:
            for line in file:
                number += 1
                if not line.endswith(b"\n"):
                    return
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("not a JSON object")
                yield row
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror or error}): restore it") from error
    except ValueError as error:
        raise RunError(
            f"{path} is damaged (line {number}: {error}): restore it, or begin anew with another output folder"
        ) from error


def _sound_length(path: Path) -> int:
    """Bytes up to the end of the last complete line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - (1 << 16))  # no line is that long
        file.seek(start)
        return start + file.read().rfind(b"\n") + 1
