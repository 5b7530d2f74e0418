"""The newest commit of an archive that another process appends to."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hko7env.archive import Archive, ArchiveError
from hko7env.archive.store import is_local
from hko7env.split_view import SplitView, choose_split

_ATTEMPTS, _PAUSE = 5, 0.1  # openings, and seconds between them, before damage is believed: a commit may land meanwhile


class GrowingArchive:
    """An archive that is opened again whenever its writer has committed something.

    Args:
        store: A path, a URL or a zarr store.
        split: A split of the archive, or ``all``; frames of other splits count as missing.
        clock: Seconds since 1970-01-01.
        sleep: Waits for some seconds.

    Attributes:
        archive: The archive as of the last :meth:`refresh`; None as long as there is none.
        view: The split's frames; None as long as it has no good one.
        changed_at: Seconds since 1970-01-01 of the commit that ``archive`` shows.
    """

    def __init__(
        self,
        store: Any,
        split: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.store, self.split = store, split
        self._clock, self._sleep = clock, sleep
        self._record = Path(store) / "zarr.json" if is_local(store) else None
        self._seen: tuple[int, int, int] | None = None
        self.archive: Archive | None = None
        self.view: SplitView | None = None
        self.changed_at = clock()

    def refresh(self) -> bool:
        """Open the archive again if it has changed; return whether it has new frames.

        Raises:
            ArchiveError: The archive is damaged, or another one has taken its place; a ValueError.
            ValueError: The archive has no such split.
        """
        signature = self._signature()
        if signature is not None and signature == self._seen:
            return False
        opened = self._open()
        if opened is None:
            return False
        before, self.archive, self._seen = self.archive, opened, signature
        if before is not None:
            self._compare(before, opened)
        self.view = _view(opened, self.split)
        if before is not None and len(before) and len(opened) and before.times[-1] == opened.times[-1]:
            return False
        self.changed_at = self._clock() if signature is None else min(self._clock(), signature[1] / 1e9)
        return len(opened) > 0

    def _signature(self) -> tuple[int, int, int] | None:
        """What tells one commit of a local archive from the next without opening it; None for other stores."""
        if self._record is None:
            return None
        try:
            found = self._record.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _open(self) -> Archive | None:
        """The archive as it is now, or None if there is none yet."""
        for attempt in range(_ATTEMPTS):
            try:
                return Archive(self.store)
            except FileNotFoundError:
                return None
            except ArchiveError:
                if attempt + 1 == _ATTEMPTS:
                    raise
            self._sleep(_PAUSE)
        return None

    def _compare(self, before: Archive, after: Archive) -> None:
        """Raise ArchiveError if ``after`` is no later state of ``before``."""
        same = before.fingerprint_of_first(0) == after.fingerprint_of_first(0)
        if not same or (len(before) and (not len(after) or after.times[-1] < before.times[-1])):
            raise ArchiveError(
                f"{after.name} has another grid, mask, cadence, Z-R relation or split than before, or has lost its "
                "newest frames: restore it, or begin anew with another output folder"
            )


def _view(archive: Archive, split: str | None) -> SplitView | None:
    chosen = choose_split(archive, split)
    try:
        return SplitView(archive, chosen)
    except ValueError:  # the split exists, so it holds no good frame yet
        return None
