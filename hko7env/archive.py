"""A radar archive: one zarr (format 3) group of frames with times, status, checksums, mask, units and georeference.

The group's consolidated metadata is the commit record: a writer stopped at any point leaves the archive as it was
after the last whole :meth:`Archive.append`. Every chunk ends in a crc32c, every frame has one of its own, and fill
values are impossible values. So a chunk that is missing, torn, flipped or misplaced is an error, never dry weather.
"""

import hashlib
import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Zstd
from zarr.storage import LocalStore

from hko7env.layout import (
    CHUNK,
    DAY_SHARD,
    FIXED,
    FORMAT,
    GOOD,
    NO_TIME,
    SCORED,
    SUSPECT,
    VERSION,
    check_mask,
    check_shard,
    check_splits,
    commit,
    iso,
    make_arrays,
    minutes,
)
from hko7env.naming import meant
from hko7env.units import ZR

_CACHED_CHUNKS = 12

Frames = npt.NDArray[np.uint8]
Minutes = npt.NDArray[np.int64]


class ArchiveError(ValueError):
    """An archive that cannot be trusted or understood; the message names the place and the remedy."""


def create(
    store: Any,
    *,
    shape: tuple[int, int],
    cadence: int = 6,
    mask: npt.ArrayLike | None = None,
    x: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    crs: str = "",
    zr: ZR | None = None,
    source: str = "",
    licence: str = "",
    splits: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    shard: int | None = None,
) -> "Archive":
    """Make an empty archive of ``shape`` (H, W) frames and open it for appending.

    ``cadence`` minutes between frames, ``mask`` (H, W) uint8 (0 scored, 1 outlier, 2 out of range; default all
    scored), ``x`` (W,) and ``y`` (H,) metres in ``crs`` (a PROJ string or WKT), ``splits`` name -> half-open
    ranges of ISO minutes. ``shard`` frames a file suits finished archives: appending rewrites the last shard.
    Raises FileExistsError if something is there already, ValueError for arguments that do not fit together.
    """
    height, width = shape
    if min(height, width) < 1 or cadence < 1 or cadence != int(cadence):
        raise ValueError(f"an archive needs H, W and whole minutes of at least 1, got {height}, {width} and {cadence}")
    check_shard(shard)
    static = np.full(shape, SCORED, np.uint8) if mask is None else np.asarray(mask)
    check_mask(static, shape)
    axes = {
        "y": np.arange(height - 1, -1, -1.0) if y is None else np.asarray(y, np.float64),
        "x": np.arange(width, dtype=np.float64) if x is None else np.asarray(x, np.float64),
    }
    for name, size in (("y", height), ("x", width)):
        if axes[name].shape != (size,) or not np.isfinite(axes[name]).all():
            raise ValueError(f"{name} must be {size} finite coordinates, got shape {axes[name].shape}")
    checked = check_splits(splits or {})
    zr = zr or ZR()
    local = is_local(store)
    if local and Path(store).exists():
        raise FileExistsError(f"{store} exists already: choose another name, or append to it")
    making = Path(f"{store}.making")  # renamed when whole, so that a stopped making leaves nothing under the name
    if local and making.exists():
        shutil.rmtree(making)
    try:
        group = zarr.open_group(making if local else store, mode="w-", zarr_format=3)
    except (FileExistsError, zarr.errors.ContainsGroupError) as error:
        raise FileExistsError(f"{store} exists already: choose another name, or append to it") from error
    group.attrs.update(
        {
            "Conventions": "CF-1.11",
            "format": FORMAT,
            "format_version": VERSION,
            "cadence_minutes": cadence,
            "zr_a": zr.a,
            "zr_b": zr.b,
            "source": source,
            "licence": licence,
            "splits": checked,
            **(attributes or {}),
        }
    )
    make_arrays(group, shape, shard)
    group["crs"].attrs["proj4" if crs.startswith("+") else "crs_wkt"] = crs
    for name, values in (("mask", static), *axes.items()):
        group[name][...] = values  # type: ignore[index]
    commit(group)
    if local:
        making.rename(store)
    return Archive(store, writable=True)


def is_local(store: Any) -> bool:
    """Whether ``store`` is a path on this machine, not a URL or a store object."""
    return isinstance(store, str | Path) and "://" not in str(store)


def everywhere(path: str) -> str:
    """The name by which a worker in another folder finds the archive: an absolute path, or the URL as it is."""
    return str(Path(path).resolve()) if is_local(path) else path


class Archive:
    """An archive opened from a path, a URL or any zarr store.

    ``times`` (N,) int64 minutes since 1970-01-01, ``status`` (N,) uint8, ``mask`` (H, W) uint8, ``x`` (W,), ``y``
    (H,), ``zr``, ``cadence`` in minutes, ``splits`` and ``attributes``. Raises FileNotFoundError if nothing is there
    and ArchiveError if it is not a sound archive.
    """

    def __init__(self, store: Any, *, writable: bool = False) -> None:
        self.name = str(store)
        self._store = store
        self._writable = writable
        self._cache: OrderedDict[int, Frames] = OrderedDict()
        self._load()

    def _load(self) -> None:
        try:
            group = zarr.open_group(self._store, mode="r", use_consolidated=True)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"no archive at {self.name}: check the path, or import radar into it") from error
        except ImportError as error:
            raise ArchiveError(f"{self.name} needs a package that is not installed: {error}") from error
        except ValueError as error:
            raise ArchiveError(
                f"{self.name} holds no finished archive ({error}): it is foreign, or its making was stopped; "
                "import radar with tools/archive.py, into a new name or after removing it"
            ) from error
        self.attributes: dict[str, Any] = dict(group.attrs)
        if self.attributes.get("format") != FORMAT:
            raise ArchiveError(
                f"{self.name} is a zarr group of another layout (no attribute format = {FORMAT}): "
                "import it with tools/archive.py"
            )
        if self.attributes.get("format_version") != VERSION:
            raise ArchiveError(
                f"{self.name} has version {self.attributes.get('format_version')} of the archive layout and this "
                f"hko7env reads version {VERSION}: use the hko7env that wrote it, or import the radar again"
            )
        try:
            self.cadence = int(self.attributes["cadence_minutes"])
            self.zr = ZR(float(self.attributes["zr_a"]), float(self.attributes["zr_b"]))
            self.splits: dict[str, list[tuple[str, str]]] = {
                name: [(begin, end) for begin, end in ranges] for name, ranges in self.attributes["splits"].items()
            }
            pixel = group["pixel"]
            assert isinstance(pixel, zarr.Array)
            self._pixel = pixel
            self.times: Minutes = self._whole(group, "time")
            self.status: Frames = self._whole(group, "status")
            self._checksum: npt.NDArray[np.uint32] = self._whole(group, "checksum")
            self.mask: Frames = self._whole(group, "mask")
            self.x, self.y = self._whole(group, "x"), self._whole(group, "y")
            reference = group["crs"].attrs
            self.crs = str(reference.get("proj4") or reference.get("crs_wkt") or "")
        except ArchiveError:
            raise
        except (KeyError, TypeError, AttributeError, AssertionError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            raise ArchiveError(
                f"{self.name} lacks a sound part of an archive ({why}): import the radar again"
            ) from error
        self._check_layout()
        self._cache.clear()
        self.__dict__.pop("fingerprint", None)

    def _whole(self, group: zarr.Group, name: str) -> Any:
        array = group[name]
        try:
            values = np.asarray(array[...])  # type: ignore[index]
        except (ValueError, RuntimeError, OSError) as error:
            raise ArchiveError(self._damaged(name, error)) from error
        values.setflags(write=False)
        return values

    def _damaged(self, what: str, why: object) -> str:
        return f"{self.name}: {what} is damaged or missing ({why}): restore the file, or import the radar again"

    def _check_layout(self) -> None:
        n, shape = len(self.times), self.shape
        if (
            self._pixel.shape[0] != n
            or len(self.status) != n
            or len(self._checksum) != n
            or self._pixel.dtype != np.uint8
        ):
            raise ArchiveError(self._damaged("the time axis", "arrays of unequal length"))
        if (self.times == NO_TIME).any():
            raise ArchiveError(self._damaged("time", "a chunk is missing"))
        if (np.diff(self.times) <= 0).any():
            raise ArchiveError(self._damaged("time", "times are not strictly increasing"))
        if (self.status > SUSPECT).any():
            raise ArchiveError(self._damaged("status", "unknown codes"))
        try:
            check_mask(self.mask, shape)
        except ValueError as error:
            raise ArchiveError(self._damaged("mask", error)) from error
        if np.isnan(self.x).any() or np.isnan(self.y).any() or (len(self.y), len(self.x)) != shape:
            raise ArchiveError(self._damaged("x or y", "not the frame's axes"))

    def __len__(self) -> int:
        return len(self.times)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of a frame."""
        height, width = self._pixel.shape[1:]
        return height, width

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(H, W) True where the static mask lets a location be scored."""
        return np.asarray(self.mask == SCORED)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that a score depends on: times, status, frames (by checksum), mask, units, splits."""
        return self._head(len(self))

    def _head(self, n: int) -> str:
        """The fingerprint that the archive had when it held its first ``n`` frames."""
        digest = hashlib.sha256()
        for array in (self.times[:n], self.status[:n], self._checksum[:n], self.mask):
            digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
        rest = [FORMAT, VERSION, *self.shape, self.cadence, self.zr.a, self.zr.b, self.splits]
        digest.update(json.dumps(rest, sort_keys=True).encode())
        return digest.hexdigest()

    def select(self, split: str | None = None) -> Minutes:
        """Times of the good frames of a split; None means all. Raises ValueError if it is unknown or empty."""
        chosen = self.status == GOOD
        if split is not None:
            if split not in self.splits:
                raise ValueError(f"{self.name} has no split {split!r}, {meant(split, self.splits)}")
            inside = np.zeros(len(self), bool)
            for begin, end in self.splits[split]:
                inside |= (self.times >= minutes(begin)) & (self.times < minutes(end))
            chosen &= inside
        if not chosen.any():
            raise ValueError(f"{'split ' + repr(split) if split else 'the archive'} of {self.name} holds no good frame")
        return np.asarray(self.times[chosen])

    def frames(self, start: int, stop: int) -> Frames:
        """(stop - start, H, W) uint8 copy of the frames ``start`` to ``stop - 1``. Raises ArchiveError on damage."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"frames {start}:{stop} of an archive of {len(self)}")
        out = np.empty((stop - start, *self.shape), np.uint8)
        self._fetch(range(start // CHUNK, -(-stop // CHUNK) if stop > start else start // CHUNK))
        for i in range(start, stop):
            out[i - start] = self._frame(i)
        return out

    def at(self, times: npt.ArrayLike) -> tuple[list[Frames], npt.NDArray[np.bool_]]:
        """Read-only frames (H, W) at the given minutes and (n,) whether each is present; an absent one is all 0."""
        wanted = np.asarray(times, np.int64)
        blank = np.zeros(self.shape, np.uint8)
        blank.setflags(write=False)
        if len(self) == 0:
            return [blank] * len(wanted), np.zeros(len(wanted), bool)
        where = np.searchsorted(self.times, wanted)
        inside = np.minimum(where, len(self) - 1)
        present = (self.times[inside] == wanted) & (self.status[inside] == GOOD)
        self._fetch(sorted({int(i) // CHUNK for i in inside[present]}))
        return [self._frame(int(i)) if ok else blank for i, ok in zip(inside, present, strict=True)], present

    def _frame(self, i: int) -> Frames:
        chunk = i // CHUNK
        if chunk not in self._cache:
            self._fetch([chunk])
        return np.asarray(self._cache[chunk][i % CHUNK])

    def _fetch(self, chunks: Sequence[int]) -> None:
        missing = [c for c in chunks if c not in self._cache]
        for chunk in chunks:
            if chunk in self._cache:
                self._cache.move_to_end(chunk)
        if len(missing) > 1:
            with ThreadPoolExecutor(min(len(missing), os.cpu_count() or 1)) as pool:
                decoded = list(pool.map(self._decode, missing))
        else:
            decoded = [self._decode(c) for c in missing]
        self._cache.update(zip(missing, decoded, strict=True))
        while len(self._cache) > max(_CACHED_CHUNKS, len(chunks)):
            self._cache.popitem(last=False)

    def _decode(self, chunk: int) -> Frames:
        first, stop = chunk * CHUNK, min(chunk * CHUNK + CHUNK, len(self))
        try:
            frames = self._decode_local(chunk) if self._local else np.asarray(self._pixel[first:stop])
        except (ValueError, RuntimeError, OSError) as error:
            raise ArchiveError(self._damaged_frames(chunk, error)) from error
        frames = frames[: stop - first]
        for i, frame in enumerate(frames, first):
            if google_crc32c.value(frame) != self._checksum[i]:
                raise ArchiveError(self._damaged_frames(chunk, f"frame {iso(self.times[i])} fails its checksum"))
        frames.setflags(write=False)
        return frames

    @cached_property
    def _local(self) -> Path | None:
        """Folder of the chunks if they can be read straight from disk, which saves zarr's cost a chunk (1.6 ms)."""
        store = self._pixel.store_path.store
        if not isinstance(store, LocalStore) or self._pixel.shards is not None:
            return None
        return store.root / self._pixel.store_path.path / "c"

    def _decode_local(self, chunk: int) -> Frames:
        assert self._local is not None
        data = memoryview((self._local / str(chunk) / "0" / "0").read_bytes())
        if google_crc32c.value(bytes(data[:-4])) != int.from_bytes(data[-4:], "little"):
            raise ValueError("the chunk fails its checksum")
        out = np.empty((CHUNK, *self.shape), np.uint8)
        Zstd().decode(data[:-4], out)
        return out

    def _damaged_frames(self, chunk: int, why: object) -> str:
        first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, len(self)) - 1
        return self._damaged(
            f"frames {first} to {last} ({iso(self.times[first])} to {iso(self.times[last])}), file {self._key(chunk)},",
            why,
        )

    def _key(self, chunk: int) -> str:
        shards = self._pixel.shards
        return f"pixel/c/{chunk if shards is None else chunk * CHUNK // shards[0]}/0/0"

    def verify(self) -> Iterator[str | None]:
        """Read every chunk; yield None for each sound one and a message for each damaged one."""
        for chunk in range(-(-len(self) // CHUNK)):
            try:
                self._decode(chunk)
                yield None
            except ArchiveError as error:
                yield str(error)

    # ------------------------------------------------------------------ writing

    def append(self, times: npt.ArrayLike, frames: Frames, status: npt.ArrayLike | None = None) -> None:
        """Add frames (n, H, W) uint8 at ``times`` (n,) minutes, later than all before; all of them or none.

        Raises ValueError for anything else, ArchiveError if the archive was opened read-only, OSError if the disk is
        full or read-only; the archive is then what it was before.
        """
        if not self._writable:
            raise ArchiveError(f"{self.name} is open read-only: open it with Archive(path, writable=True)")
        stamps = np.asarray(times)
        codes = np.full(len(stamps), GOOD) if status is None else np.asarray(status)
        if frames.dtype != np.uint8 or frames.shape != (len(stamps), *self.shape) or codes.shape != stamps.shape:
            raise ValueError(
                f"expected uint8 frames {(len(stamps), *self.shape)} and as many status codes, "
                f"got {frames.dtype} {frames.shape} and {codes.shape}"
            )
        if len(stamps) == 0:
            return
        if stamps.dtype.kind not in "iu" or not np.isin(codes, (GOOD, SUSPECT)).all():
            raise ValueError(f"expected integer minutes and status {GOOD} or {SUSPECT}")
        stamps, codes = stamps.astype(np.int64), codes.astype(np.uint8)
        if (np.diff(stamps) <= 0).any() or (len(self) and stamps[0] <= self.times[-1]):
            last = iso(self.times[-1]) if len(self) else "the start"
            raise ValueError(f"times must be strictly increasing and after {last}, got {iso(stamps[0])} first")
        self._check_sole_writer()
        checksums = np.array([google_crc32c.value(f) for f in np.ascontiguousarray(frames)], np.uint32)
        group = zarr.open_group(self._store, mode="r+", use_consolidated=False)
        old, new = len(self), len(self) + len(stamps)
        for name, values in (("pixel", frames), ("time", stamps), ("status", codes), ("checksum", checksums)):
            array = group[name]
            assert isinstance(array, zarr.Array)
            array = array.with_config({"write_empty_chunks": True})
            if array.shape[0] != old:  # an append was stopped before its commit: drop what it left
                array.resize((old, *array.shape[1:]))
            array.resize((new, *array.shape[1:]))
            array[old:new] = values
        commit(group)
        self._load()

    def _check_sole_writer(self) -> None:
        committed = zarr.open_group(self._store, mode="r", use_consolidated=True)["time"].shape  # type: ignore[union-attr]
        if committed != (len(self),):
            raise ArchiveError(f"another writer has appended to {self.name} since it was opened: open it again")

    def update(
        self,
        *,
        mask: npt.ArrayLike | None = None,
        splits: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace the static mask, the splits, or free attributes. Raises ValueError for those that units depend on."""
        if not self._writable:
            raise ArchiveError(f"{self.name} is open read-only: open it with Archive(path, writable=True)")
        fixed = FIXED.intersection(attributes or {})
        if fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of an archive cannot change: create another")
        new = dict(attributes or {}) | ({} if splits is None else {"splits": check_splits(splits)})
        if mask is not None:
            check_mask(np.asarray(mask), self.shape)
        self._check_sole_writer()
        # The group keeps the consolidated metadata that it was opened with, so one write of it changes the attributes
        # and nothing else, not even what a stopped append has left in the arrays.
        group = zarr.open_group(self._store, mode="r+", use_consolidated=True)
        if mask is not None:
            group["mask"][...] = np.asarray(mask)  # type: ignore[index]
        if new:
            group.update_attributes(new)
        self._load()


def pack(archive: Archive, store: Any, *, shard: int = DAY_SHARD, step: Callable[[int], Any] | None = None) -> Archive:
    """Copy a finished archive into files of ``shard`` frames, or finish a copy that was begun; same fingerprint.

    ``step`` is called with the number of frames just copied. Raises ValueError if ``store`` holds something else.
    """
    if Path(str(store)).exists():
        copy = Archive(store, writable=True)
        begun = archive._head(len(copy))
        if len(copy) > len(archive) or copy._head(len(copy)) != begun:
            raise ArchiveError(f"{store} is not the beginning of a copy of {archive.name}: choose another name")
    else:
        copy = create(
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
    if step:
        step(len(copy))
    for start in range(len(copy), len(archive), shard):
        stop = min(start + shard, len(archive))
        copy.append(archive.times[start:stop], archive.frames(start, stop), archive.status[start:stop])
        if step:
            step(stop - start)
    return copy
