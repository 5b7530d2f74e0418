"""The files that arrive in a folder: which are new or changed, and which of them are still being written.

A folder is listed only when its modification time shows that names have changed, and files are looked at one by one
only while they are new or among the last ones. So a poll costs little however many files the folder holds.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

TEMPORARY = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download")  # names of unfinished files
RECENT = 1000  # files that are looked at again, because a service may replace them
RACY_SECONDS = 2.0  # a name may appear in a folder within one tick of the clock of its modification time
RELIST_SECONDS = 600.0  # folders are listed at least this often, for network file systems with other clocks


class Signature(NamedTuple):
    """Size in bytes and modification time of a file; they change when the file is written."""

    size: int
    modified: int  # ns since 1970-01-01


class Arrival(NamedTuple):
    """A file that is complete: its path below the folder, and what it was when it was looked at."""

    name: str
    signature: Signature


@dataclass
class _Folder:
    """A folder that has been listed: its modification time if that can be trusted, its subfolders and known files."""

    modified: int | None = None
    folders: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)


@dataclass
class _Waiting:
    """A file that is not known to be complete: its last signature and since when (s) that is so."""

    signature: Signature | None
    since: float
    first_seen: float


class DropFolder:
    """A folder that files are dropped into.

    Names that begin with a dot or end like those of unfinished downloads are passed over, and so are folders whose
    names begin with a dot or end in ``.zarr``.

    Args:
        root: The folder; absolute.
        settle: A file is complete when its size and modification time have not changed for this many seconds.
        excluded: Files and folders below ``root`` that are passed over.
    """

    def __init__(self, root: Path, settle: float, excluded: Iterable[Path] = ()) -> None:
        self._root, self._settle, self._excluded = root, settle, {str(path) for path in excluded}
        self._folders: dict[str, _Folder] = {}
        self._recent: OrderedDict[str, Signature] = OrderedDict()
        self._waiting: dict[str, _Waiting] = {}
        self._listed = -RELIST_SECONDS

    @property
    def files(self) -> int:
        """Number of files in the folder whose outcome is known."""
        return sum(len(folder.known) for folder in self._folders.values())

    def add_known(self, name: str, signature: Signature) -> None:
        """Pass over the file ``name`` until its signature is another one."""
        folder, _, base = name.rpartition("/")
        self._folders.setdefault(folder, _Folder()).known.add(base)
        self._recent[name] = signature
        self._recent.move_to_end(name)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        self._waiting.pop(name, None)

    def holds(self, name: str) -> bool:
        """Whether the outcome of the file ``name`` is known and the file was there at the last poll."""
        folder, _, base = name.rpartition("/")
        return folder in self._folders and base in self._folders[folder].known

    def poll(self) -> tuple[list[Arrival], list[str]]:
        """Look at the folder.

        Returns:
            The complete files whose outcome is not known, and the names of the files that are still being written, if
            they were first seen within the last minute. A complete file is returned again until it is known.

        Raises:
            OSError: The folder cannot be read, such as a network folder that is not mounted.
        """
        now = time.monotonic()
        if now - self._listed > RELIST_SECONDS:
            self._listed = now
            for folder in self._folders.values():
                folder.modified = None
        self._list("", now)
        self._look_again(now)
        arrived, growing = [], []
        for name in sorted(self._waiting):
            waiting = self._waiting[name]
            signature = signature_of(self._root / name)
            if signature is None:
                del self._waiting[name]
            elif self._is_settled(waiting, signature, now):
                arrived.append(Arrival(name, signature))
            elif now - waiting.first_seen < max(60.0, 2 * self._settle):
                growing.append(name)
        return arrived, growing

    def _is_settled(self, waiting: _Waiting, signature: Signature, now: float) -> bool:
        if signature != waiting.signature:
            waiting.signature, waiting.since = signature, now
        age = time.time() - signature.modified / 1e9  # a file that was renamed into the folder may be complete already
        return now - waiting.since >= self._settle or age >= self._settle

    def _list(self, folder: str, now: float) -> None:
        """Find new names in a folder and those below it; forget names that are gone."""
        entry = self._folders.setdefault(folder, _Folder())
        path = self._root / folder
        modified = path.stat().st_mtime_ns
        if modified != entry.modified:
            racy = time.time() - modified / 1e9 < RACY_SECONDS
            names: set[str] = set()
            entry.folders = []
            with os.scandir(path) as found:
                for item in found:
                    if item.name in entry.known:
                        names.add(item.name)
                    elif not item.name.startswith(".") and item.path not in self._excluded:
                        self._sort_in(item, entry, names)
            entry.known &= names
            entry.modified = None if racy else modified
            for base in names - entry.known:
                name = f"{folder}/{base}" if folder else base
                self._waiting.setdefault(name, _Waiting(None, now, now))
        for base in entry.folders:
            below = f"{folder}/{base}" if folder else base
            try:
                self._list(below, now)
            except FileNotFoundError:  # deleted since the folder above was listed
                self._forget(below)

    def _sort_in(self, item: os.DirEntry[str], entry: _Folder, names: set[str]) -> None:
        if item.is_dir(follow_symlinks=False):
            if not item.name.endswith(".zarr"):
                entry.folders.append(item.name)
        elif not item.name.endswith(TEMPORARY):
            names.add(item.name)

    def _forget(self, folder: str) -> None:
        for name in [name for name in self._folders if name == folder or name.startswith(f"{folder}/")]:
            del self._folders[name]

    def _look_again(self, now: float) -> None:
        """Wait for those of the last files that have been written again since they were known."""
        for name, before in list(self._recent.items()):
            signature = signature_of(self._root / name)
            if signature != before:
                del self._recent[name]
                folder, _, base = name.rpartition("/")
                if folder in self._folders:
                    self._folders[folder].known.discard(base)
                if signature is not None:
                    self._waiting[name] = _Waiting(signature, now, now)


def signature_of(path: Path) -> Signature | None:
    """The signature of a file, or None if it is gone or a link that leads nowhere."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Signature(found.st_size, found.st_mtime_ns)
