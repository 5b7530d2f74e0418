"""Opening an archive: everything but its frames is read, as of the last commit, and checked."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.sync import sync

from hko7env.archive import commit_record
from hko7env.archive.commit_record import Record, content_digest
from hko7env.archive.errors import ArchiveError, damage_message
from hko7env.archive.format import (
    ARRAYS,
    CHUNK,
    FIRST_FRAME,
    FORMAT,
    NO_TIME,
    SHORTENED,
    SUSPECT,
    VERSION,
    check_mask,
    check_size,
    check_splits,
    check_times,
)
from hko7env.archive.georeference import crs_of
from hko7env.archive.store import is_local
from hko7env.damage import DAMAGE
from hko7env.units import ZR

_SMALL = ("time", "status", "checksum", "mask", "x", "y")  # arrays that are read as a whole

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Contents:
    """The last commit of an archive: its record and small arrays, and the array ``pixel``, whose values are not read.

    The attributes are those of :class:`hko7env.archive.Archive`; ``checksum`` is (N,) uint32, the crc32c of each frame.
    """

    record: Record
    pixel: Any  # zarr array (first + N, H, W) uint8
    first: int  # index in ``pixel`` of frame 0; the frames before it were removed
    times: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]
    checksum: npt.NDArray[np.uint32]
    mask: npt.NDArray[np.uint8]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    crs: str
    zr: ZR
    cadence: int
    splits: dict[str, list[tuple[str, str]]]


def open_contents(store: Any, name: str) -> Contents:
    """Open the archive in ``store``, a path, a URL or a zarr store; ``name`` stands for it in messages.

    Raises:
        FileNotFoundError: Nothing is stored there.
        ArchiveError: What is stored is damaged, or no archive of this format.
    """
    with contextlib.suppress(ArchiveError):
        return _open_commit(*_read_record(store, name), name)
    # Either it is damaged, or a writer has meanwhile removed frames and with them chunks of the times
    return _open_commit(*_read_record(store, name), name)


def _open_commit(group: zarr.Group, record: Record, sha256: str | None, name: str) -> Contents:
    _check_format(record.attributes, name)
    try:
        commit_record.check(record, sha256)
        contents = _read_contents(group, record, name)
    except ArchiveError:
        raise
    except DAMAGE as error:
        why = f"{type(error).__name__}: {error}"
        raise ArchiveError(
            f"{name} lacks a sound part of an archive ({why}): restore its zarr.json, or import the radar again"
        ) from error
    _check_values(contents, name)
    if sha256 is None:
        _log.warning("%s is of an earlier version, without a digest of its metadata; nothing needs to be done", name)
    return contents


def _read_record(store: Any, name: str) -> tuple[zarr.Group, Record, str | None]:
    try:
        group = zarr.open_group(store, mode="r", use_consolidated=True)
        return group, *commit_record.read(group)
    except FileNotFoundError as error:
        if is_local(store) and (Path(store) / "zarr.json").exists():
            raise ArchiveError(damage_message(name, "file zarr.json", error)) from error
        raise FileNotFoundError(f"no archive at {name}: check the path, or import radar into it") from error
    except ImportError as error:
        raise ArchiveError(f"{name} needs a package that is not installed: {error}") from error
    except DAMAGE as error:
        raise ArchiveError(
            f"{name} holds no finished archive ({type(error).__name__}: {error}): it is damaged or foreign, or its "
            "creation was stopped; restore its zarr.json, or import the radar into another archive"
        ) from error


def _check_format(attributes: dict[str, Any], name: str) -> None:
    if attributes.get("format") != FORMAT:
        raise ArchiveError(
            f"{name} is a zarr group of another format (it has no attribute format = {FORMAT}): "
            "import it into an archive"
        )
    if attributes.get("format_version") not in (VERSION, SHORTENED):
        raise ArchiveError(
            f"{name} has version {attributes.get('format_version')} of the archive format and this hko7env reads "
            f"versions {VERSION} and {SHORTENED}: use the hko7env that wrote it, or import the radar again"
        )


def _read_contents(group: zarr.Group, record: Record, name: str) -> Contents:
    attributes = record.attributes
    cadence = int(attributes["cadence_minutes"])
    zr = ZR(float(attributes["zr_a"]), float(attributes["zr_b"]))
    splits = {split: [(a, b) for a, b in ranges] for split, ranges in check_splits(attributes["splits"]).items()}
    arrays = dict(group.arrays())
    pixel = arrays["pixel"]
    frames, height, width = pixel.shape
    check_size(height, width, frames)
    first = int(attributes.get(FIRST_FRAME, 0))
    if not 0 <= first <= frames or first % CHUNK:
        raise ValueError(f"{FIRST_FRAME} is {first} in an archive of {frames} frames")

    small = {array_name: arrays[array_name] for array_name in _SMALL}
    for array_name, array in small.items():
        _check_array(array, array_name, pixel.shape, name)
    found = dict(zip(small, sync(_read_together(small, first)), strict=True))
    read = {array_name: _sound_values(found[array_name], record, array_name, name) for array_name in small}
    return Contents(
        record=record,
        pixel=pixel,
        first=first,
        times=read["time"],
        status=read["status"],
        checksum=read["checksum"],
        mask=read["mask"],
        x=read["x"],
        y=read["y"],
        crs=crs_of(record.nodes["crs"]["attributes"]),
        zr=zr,
        cadence=cadence,
        splits=splits,
    )


def _check_array(array: "zarr.Array[Any]", array_name: str, shape: tuple[int, ...], name: str) -> None:
    """Raise ArchiveError unless a small array of an archive whose frames have ``shape`` has its type and shape."""
    dtype, _, dimensions, _ = ARRAYS[array_name]
    if array.dtype != np.dtype(dtype):
        raise ArchiveError(damage_message(name, array_name, f"{array.dtype} instead of {dtype}"))
    sizes = dict(zip(ARRAYS["pixel"][2], shape, strict=True))
    expected = tuple(sizes[dimension] for dimension in dimensions)
    if array.shape != expected:
        raise ArchiveError(damage_message(name, array_name, f"shape {array.shape} instead of {expected}"))


async def _read_together(small: Mapping[str, "zarr.Array[Any]"], first: int) -> list[Any]:
    """Values of arrays, along time those from ``first``, or the error that reading them raised.

    They are read at once because each hop to zarr's thread and back takes longer than reading such an array.
    """
    along_time = [ARRAYS[array_name][2] == ("time",) for array_name in small]
    wanted = [slice(first, None) if timed else Ellipsis for timed in along_time]
    reading = (array.async_array.getitem(part) for array, part in zip(small.values(), wanted, strict=True))
    return await asyncio.gather(*reading, return_exceptions=True)


def _sound_values(found: Any, record: Record, array_name: str, name: str) -> Any:
    """Read-only values of a small array, which were ``found``. Raises ArchiveError if they are an error or damaged."""
    if isinstance(found, ValueError | RuntimeError | OSError):
        raise ArchiveError(damage_message(name, array_name, found)) from found
    if isinstance(found, BaseException):
        raise found
    values = np.asarray(found)
    sound = record.contents.get(array_name)
    if sound is not None and content_digest(values) not in sound:
        raise ArchiveError(damage_message(name, array_name, "not the values that were committed"))
    values.setflags(write=False)
    return values


def _check_values(contents: Contents, name: str) -> None:
    """Raise ArchiveError for values that no archive holds."""
    pixel = contents.pixel
    if pixel.dtype != np.uint8:
        raise ArchiveError(damage_message(name, "pixel", f"{pixel.dtype} instead of uint8"))
    if (contents.times == NO_TIME).any():
        raise ArchiveError(damage_message(name, "time", "a chunk is missing"))
    try:
        check_times(contents.times)
        check_mask(contents.mask, (pixel.shape[1], pixel.shape[2]))
    except ValueError as error:
        raise ArchiveError(damage_message(name, "time or mask", error)) from error
    if (contents.status > SUSPECT).any():
        raise ArchiveError(damage_message(name, "status", "unknown codes"))
    if np.isnan(contents.x).any() or np.isnan(contents.y).any():
        raise ArchiveError(damage_message(name, "x or y", "a chunk is missing"))
