"""The log of a watched folder: a line of JSON for each file with its outcome, so that a restart knows what was done.

A line is written before the frames of its file are appended. A line of frames that the archive does not hold is of an
append that never happened, and is passed over.
"""

import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hko7env.archive.format import iso, minutes
from hko7env.files import write_atomically
from hko7env.importers.drop_folder import Signature

IMPORTED, DOUBLE, REVISED, LATE, DAMAGED, FOREIGN = "imported", "double", "revised", "late", "damaged", "foreign"
OUTCOMES = (IMPORTED, DOUBLE, REVISED, LATE, DAMAGED, FOREIGN)
SET_ASIDE = (DOUBLE, REVISED, LATE, DAMAGED)  # foreign files are not touched: they may be somebody else's
KEPT_LINES = 1000  # of files that are no longer in the folder
SPARE_LINES = 10_000  # the log is rewritten when it has this many lines more than the folder has files


class Entry(NamedTuple):
    """What became of one file.

    Attributes:
        file: Path below the folder.
        signature: Size and modification time of the file.
        outcome: One of OUTCOMES.
        reason: Why it was not imported; empty for imported files.
        time: Minutes since 1970-01-01 of the newest frame imported from it, or None.
    """

    file: str
    signature: Signature
    outcome: str
    reason: str = ""
    time: int | None = None


class FileLog:
    """The log of the files of one folder.

    Args:
        path: The log; it is made by the first entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0

    def read(self, newest: int | None) -> Iterator[Entry]:
        """The entries whose frames are in an archive, in the order of writing; damaged lines are passed over.

        Args:
            newest: Time of the newest frame of the archive, minutes since 1970-01-01; None if it holds none.
        """
        self.lines = 0
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                self.lines += 1
                entry = _parse(line)
                if entry is not None and (entry.time is None or (newest is not None and entry.time <= newest)):
                    yield entry

    def add(self, entries: list[Entry]) -> None:
        """Append entries. Raises OSError if the disk is full."""
        text = "".join(_format(entry) for entry in entries)
        try:
            with self.path.open("a+b") as file:
                if file.tell() and not _ends_a_line(file):  # the last writer was stopped in the middle of one
                    text = "\n" + text
                file.write(text.encode())
        except OSError as error:
            error.filename = error.filename or str(self.path)  # write does not set it on a full disk
            raise
        self.lines += len(entries)

    def shorten(self, newest: int | None, held: Any) -> None:
        """Rewrite the log without the lines that are no longer needed.

        Args:
            newest: As for :meth:`read`.
            held: Function that tells whether a file is still in the folder.
        """
        here: dict[str, Entry] = {}
        gone: deque[Entry] = deque(maxlen=KEPT_LINES)
        for entry in self.read(newest):
            if held(entry.file):
                here[entry.file] = entry
            elif entry.outcome != IMPORTED:
                gone.append(entry)
        write_atomically(self.path, "".join(map(_format, [*gone, *here.values()])).encode())
        self.lines = len(gone) + len(here)


def _ends_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def _format(entry: Entry) -> str:
    known = {
        "file": entry.file,
        "outcome": entry.outcome,
        "time": None if entry.time is None else iso(entry.time),
        "reason": entry.reason,
        "size": entry.signature.size,
        "modified_ns": entry.signature.modified,
    }
    return json.dumps({name: value for name, value in known.items() if value not in (None, "")}) + "\n"


def _parse(line: str) -> Entry | None:
    try:
        known = json.loads(line)
        signature = Signature(int(known["size"]), int(known["modified_ns"]))
        time = None if known.get("time") is None else minutes(known["time"])
        return Entry(str(known["file"]), signature, str(known["outcome"]), str(known.get("reason", "")), time)
    except (ValueError, KeyError, TypeError):
        return None
