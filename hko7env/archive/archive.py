"""A radar archive: one zarr (format 3) group of frames with times, status, checksums, mask, units and georeference.

A writer stopped at any point leaves the archive as it was after the last complete :meth:`Archive.append`, see
:mod:`hko7env.archive.commit_record`. All metadata are covered by a digest, every chunk ends in a crc32c, every frame
has a crc32c of its own, and fill values are invalid values. So missing, truncated, altered or misplaced data are an
error; they are never read as dry weather.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr

from hko7env.archive import commit_record
from hko7env.archive.commit_record import DIGESTED
from hko7env.archive.errors import ArchiveError
from hko7env.archive.format import (
    CHUNK,
    FIXED,
    FORMAT,
    GOOD,
    SCORED,
    SUSPECT,
    VERSION,
    check_mask,
    check_size,
    check_splits,
    check_times,
    iso,
    minutes,
)
from hko7env.archive.frame_reader import FrameReader
from hko7env.archive.opening import open_contents
from hko7env.archive.store import write_lock
from hko7env.archive.writer import Writer
from hko7env.naming import suggest

Frames = npt.NDArray[np.uint8]
Minutes = npt.NDArray[np.int64]


class Archive:
    """An archive opened from a path, a URL or a zarr store.

    Args:
        store: A path, a URL or a zarr store.
        writable: Whether :meth:`append` and :meth:`update` are allowed.

    Attributes:
        name: ``store`` as text, used in messages.
        times: (N,) int64 minutes since 1970-01-01, increasing.
        status: (N,) uint8, 0 good and 1 suspect; a suspect frame, one that lacks data, counts as missing.
        mask: (H, W) uint8 static mask: 0 scored, 1 outlier, 2 out of range.
        x: (W,) float64 coordinates of the columns in metres.
        y: (H,) float64 coordinates of the rows in metres.
        crs: Coordinate reference system of x and y, a PROJ string or WKT; empty if unknown.
        zr: The Z-R relation between reflectivity and rain rate.
        cadence: Minutes between frames.
        splits: Name -> half-open ranges of ISO minutes.
        attributes: All attributes of the group.

    Raises:
        FileNotFoundError: Nothing is stored there.
        ArchiveError: What is stored is damaged, or no archive of this format.
    """

    def __init__(self, store: Any, *, writable: bool = False) -> None:
        self.name = str(store)
        self._store = store
        self._writable = writable
        self._load()

    def _load(self) -> None:
        """Take over the last commit."""
        contents = open_contents(self._store, self.name)
        self._contents = contents
        self.attributes: dict[str, Any] = contents.record.attributes
        self.times, self.status, self.mask = contents.times, contents.status, contents.mask
        self.x, self.y, self.crs = contents.x, contents.y, contents.crs
        self.zr, self.cadence, self.splits = contents.zr, contents.cadence, contents.splits
        self._reader = FrameReader(self.name, contents.pixel, contents.first, contents.times, contents.checksum)
        self.__dict__.pop("fingerprint", None)

    # ------------------------------------------------------------------ reading

    def __len__(self) -> int:
        return len(self.times)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of a frame."""
        height, width = self._contents.pixel.shape[1:]
        return height, width

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(H, W) bool, True where the static mask lets a location be scored."""
        return np.asarray(self.mask == SCORED)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all that a score depends on: times, status, frames (by checksum), mask, units and splits."""
        return self.fingerprint_of_first(len(self))

    def fingerprint_of_first(self, frames: int) -> str:
        """The fingerprint of an archive that holds only the first ``frames`` frames of this one."""
        digest = hashlib.sha256()
        for array in (self.times[:frames], self.status[:frames], self._contents.checksum[:frames], self.mask):
            digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
        rest = [FORMAT, VERSION, *self.shape, self.cadence, self.zr.a, self.zr.b, self.splits]
        digest.update(json.dumps(rest, sort_keys=True).encode())
        return digest.hexdigest()

    def select(self, split: str | None = None) -> Minutes:
        """Times of the good frames.

        Args:
            split: Only the frames of this split; None: all.

        Returns:
            (n,) int64 minutes since 1970-01-01, increasing.

        Raises:
            ValueError: The archive has no such split, or no good frame in it.
        """
        chosen = self.status == GOOD
        if split is not None:
            if split not in self.splits:
                raise ValueError(f"{self.name} has no split {split!r}, {suggest(split, self.splits)}")
            inside = np.zeros(len(self), bool)
            for begin, end in self.splits[split]:
                inside |= (self.times >= minutes(begin)) & (self.times < minutes(end))
            chosen &= inside
        if not chosen.any():
            raise ValueError(f"{'split ' + repr(split) if split else 'the archive'} of {self.name} holds no good frame")
        return np.asarray(self.times[chosen])

    def frames(self, start: int, stop: int) -> Frames:
        """Copy of the frames ``start`` to ``stop - 1``, whatever their status.

        Returns:
            (stop - start, H, W) uint8 levels.

        Raises:
            IndexError: The archive does not have these frames.
            ArchiveError: A frame is damaged.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"frames {start}:{stop} of an archive of {len(self)}")
        return self._reader.copy(start, stop)

    def at(self, times: npt.ArrayLike) -> tuple[list[Frames], npt.NDArray[np.bool_]]:
        """Frames at given times.

        Args:
            times: (n,) minutes since 1970-01-01.

        Returns:
            n read-only frames (H, W) uint8, and (n,) bool whether each is present. A frame that is missing or suspect
            is not present and all 0.

        Raises:
            ArchiveError: A frame is damaged.
        """
        wanted = np.asarray(times, np.int64)
        blank = np.zeros(self.shape, np.uint8)
        blank.setflags(write=False)
        if len(self) == 0:
            return [blank] * len(wanted), np.zeros(len(wanted), bool)
        where = np.searchsorted(self.times, wanted)
        inside = np.minimum(where, len(self) - 1)
        present = (self.times[inside] == wanted) & (self.status[inside] == GOOD)
        self._reader.load(sorted({int(i) // CHUNK for i in inside[present]}))
        return [self._reader.frame(int(i)) if ok else blank for i, ok in zip(inside, present, strict=True)], present

    def verify(self) -> Iterator[str | None]:
        """Read everything.

        Yields:
            A message for each damaged metadata file; then, for each chunk, None or a message if it is damaged.
        """
        group = zarr.open_group(self._store, mode="r", use_consolidated=True)
        for path in commit_record.damaged_documents(group, self._contents.record):
            yield (
                f"{self.name}: file {path}/zarr.json is damaged or missing; the archive can be read, "
                "and the next append restores the file"
            )
        for chunk in range(self._reader.chunks):
            try:
                self._reader.decode(chunk)
                yield None
            except ArchiveError as error:
                yield str(error)

    # ------------------------------------------------------------------ writing

    def writing(self) -> AbstractContextManager[None]:
        """Hold the write lock while entered, so that several appends stay together; each of them holds it by itself.

        Raises:
            LockedError: On entering, if another process or thread is writing; a ValueError that names it.
        """
        return write_lock(self._store)

    def append(self, times: npt.ArrayLike, frames: Frames, status: npt.ArrayLike | None = None) -> None:
        """Append frames, all of them or, on any error, none.

        Args:
            times: (n,) minutes since 1970-01-01, increasing and later than those of all frames before.
            frames: (n, H, W) uint8 levels.
            status: (n,) 0 for a good frame, 1 for a suspect one. Default: all good.

        Raises:
            ValueError: The arguments do not fit the archive or one another.
            ArchiveError: The archive is open read-only, or another writer has changed it; a ValueError.
            LockedError: Another process or thread is writing; a ValueError.
            OSError: The disk is full or read-only.
        """
        self._check_writable()
        stamps = np.asarray(times)
        codes = np.full(len(stamps), GOOD) if status is None else np.asarray(status)
        if frames.dtype != np.uint8 or frames.shape != (len(stamps), *self.shape) or codes.shape != stamps.shape:
            raise ValueError(
                f"expected uint8 frames {(len(stamps), *self.shape)} and as many status codes, "
                f"got {frames.dtype} {frames.shape} and {codes.shape}"
            )
        if len(stamps) == 0:
            return
        if not np.isin(codes, (GOOD, SUSPECT)).all():
            raise ValueError(f"expected status {GOOD} or {SUSPECT}")
        stamps, codes = check_times(stamps), codes.astype(np.uint8)
        if len(self) and stamps[0] <= self.times[-1]:
            raise ValueError(f"times must be after {iso(self.times[-1])}, got {iso(stamps[0])} first")
        check_size(*self.shape, len(self) + len(stamps))
        checksums = np.array([google_crc32c.value(f) for f in np.ascontiguousarray(frames)], np.uint32)
        with self.writing():
            self._writer().append({"pixel": frames, "time": stamps, "status": codes, "checksum": checksums})
            self._load()

    def remove_before(self, time: int) -> int:
        """Remove the oldest frames for good, to bound the size of an archive that grows.

        Frames go by whole files, so up to one file's frames, 5 if the archive is not packed, stay although they are
        older; the newest frame always stays. A reader that opened the archive before reads the frames that are left;
        a removed one is an ArchiveError to it. Indices of frames begin at the first frame that is left.

        Args:
            time: Minutes since 1970-01-01; frames from this time on stay.

        Returns:
            The number of frames removed.

        Raises:
            ArchiveError: The archive is open read-only, another writer has changed it, or it holds more than frames,
                such as the true motion of synthetic rain; a ValueError.
            LockedError: Another process or thread is writing; a ValueError.
            OSError: Files cannot be deleted.
        """
        self._check_writable()
        before = len(self)
        older = min(int(np.searchsorted(self.times, time)), max(before - 1, 0))
        with self.writing():
            self._writer().remove(self._contents.first + older)
            self._load()
        return before - len(self)

    def update(
        self,
        *,
        mask: npt.ArrayLike | None = None,
        splits: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the static mask, the splits or attributes; None keeps what is stored.

        Args:
            mask: (H, W) uint8: 0 scored, 1 outlier, 2 out of range.
            splits: Name -> half-open ranges of ISO minutes; replaces all splits.
            attributes: Name -> value, which can be stored as JSON.

        Raises:
            ValueError: A value is not valid, or ``attributes`` has a fixed name, such as ``cadence_minutes``.
            ArchiveError: The archive is open read-only, or another writer has changed it; a ValueError.
            LockedError: Another process or thread is writing; a ValueError.
        """
        self._check_writable()
        fixed = FIXED.intersection(attributes or {})
        if fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of an archive cannot change: create another")
        changed = dict(attributes or {}) | ({} if splits is None else {"splits": check_splits(splits)})
        static = None if mask is None else np.asarray(mask)
        if static is not None:
            check_mask(static, self.shape)
        with self.writing():
            self._writer().update(static, changed)
            self._load()

    def _check_writable(self) -> None:
        if not self._writable:
            raise ArchiveError(f"{self.name} is open read-only: open it with Archive(path, writable=True)")

    def _writer(self) -> Writer:
        return Writer(self.name, self._store, self._contents.record, {name: getattr(self, name) for name in DIGESTED})
