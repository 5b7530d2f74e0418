"""Packing an archive: a copy with many frames in a file, for archives that are complete."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hko7env.archive.archive import Archive
from hko7env.archive.creation import create
from hko7env.archive.errors import ArchiveError
from hko7env.archive.format import DAY_SHARD, FIXED


def pack(archive: Archive, store: Any, *, shard: int = DAY_SHARD, step: Callable[[int], Any] | None = None) -> Archive:
    """Copy an archive into files of ``shard`` frames, or finish a copy that was interrupted.

    Args:
        archive: The archive to copy.
        store: Where the copy is written: a path, a URL or a zarr store.
        shard: Frames in a file, a multiple of 5; the default is a day of HKO-7.
        step: Called with the number of frames just copied.

    Returns:
        The copy, which has the same fingerprint.

    Raises:
        ArchiveError: ``store`` holds something other than the beginning of such a copy; a ValueError.
    """
    if Path(str(store)).exists():
        copy = Archive(store, writable=True)
        begun = len(copy)
        if begun > len(archive) or copy.fingerprint_of_first(begun) != archive.fingerprint_of_first(begun):
            raise ArchiveError(f"{store} is not the beginning of a copy of {archive.name}: choose another name")
    else:
        copy = _create_like(archive, store, shard)
    if step:
        step(len(copy))
    for start in range(len(copy), len(archive), shard):
        stop = min(start + shard, len(archive))
        copy.append(archive.times[start:stop], archive.frames(start, stop), archive.status[start:stop])
        if step:
            step(stop - start)
    return copy


def _create_like(archive: Archive, store: Any, shard: int) -> Archive:
    """An empty archive with the static parts of ``archive``."""
    return create(
        store,
        shape=archive.shape,
        cadence=archive.cadence,
        mask=archive.mask,
        x=archive.x,
        y=archive.y,
        crs=archive.crs,
        zr=archive.zr,
        shard=shard,
        attributes={name: value for name, value in archive.attributes.items() if name not in FIXED},
    )
