"""The health of a watch: one JSON file that is replaced as a whole."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from hko7env.archive.format import iso
from hko7env.files import write_atomically

EVERY_SECONDS = 30.0  # the file is written at least this often while the watch is alive

Span = tuple[int | None, int | None, int]  # times of the first and newest frame, minutes since 1970-01-01; frames


class Health:
    """The health file at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: object = None
        self._written = 0.0

    def write(
        self, state: str, error: str, span: Span, files: dict[str, int], waiting: int, problems: list[str]
    ) -> None:
        """Write the file if something has changed or the last writing is some time ago.

        Args:
            state: ``watching``, ``stopped`` or ``failed``.
            error: Why the watch has failed.
            span: First and newest time and number of frames of the archive.
            files: Outcome -> number of files since the start.
            waiting: Number of files that are being written or wait for others.
            problems: The last lines about files that were not imported.

        Raises:
            OSError: The file cannot be written.
        """
        first, newest, frames = span
        known = {
            "state": state,
            "error": error,
            "process": os.getpid(),
            "first_frame": None if first is None else iso(first),
            "newest_frame": None if newest is None else iso(newest),
            "frames": frames,
            "files": files,
            "waiting": waiting,
            "problems": problems,
        }
        now = time.monotonic()
        if known == self._last and now - self._written < EVERY_SECONDS:
            return
        age = None if newest is None else round(time.time() / 60 - newest, 1)
        moving = {"updated": datetime.now(UTC).isoformat(timespec="seconds"), "age_minutes": age}
        write_atomically(self.path, (json.dumps({**moving, **known}, indent=2) + "\n").encode())
        self._last, self._written = known, now
