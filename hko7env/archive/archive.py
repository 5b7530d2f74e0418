"""A radar archive: one zarr (format 3) group of frames with times, status, checksums, mask, units and georeference.

A writer stopped at any point leaves the archive as it was after the last whole :meth:`Archive.append`, see
:mod:`hko7env.archive.commit_record`. All metadata are covered by a digest, every chunk ends in a crc32c, every frame
has one of its own, and fill values are impossible values. So what is missing, torn, flipped or misplaced is an error,
never dry weather.
"""

import copy
import hashlib
import json
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import zarr
from numcodecs import Zstd
from zarr.storage import LocalStore

from hko7env.archive import commit_record
from hko7env.archive.commit_record import Record, content_digest
from hko7env.archive.format import (
    ARRAYS,
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
    check_size,
    check_splits,
    check_times,
    iso,
    make_arrays,
    minutes,
)
from hko7env.locking import sole_writer
from hko7env.naming import suggest
from hko7env.units import ZR

_CACHED_CHUNKS = 12
_SEALED = ("mask", "x", "y")  # arrays whose values the commit record has a digest of: nothing else can tell x from y
# What zarr raises for a metadata file that is no sound one
_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, NotImplementedError, OSError, TypeError,
    ValueError, RecursionError,
)  # fmt: skip

Frames = npt.NDArray[np.uint8]
Minutes = npt.NDArray[np.int64]


_log = logging.getLogger(__name__)


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
    Raises FileExistsError if something is there already, ValueError for arguments that do not fit together,
    LockedError (a ValueError) if another process is making the same archive.
    """
    height, width = shape
    if min(height, width) < 1 or cadence < 1 or cadence != int(cadence):
        raise ValueError(f"an archive needs H, W and whole minutes of at least 1, got {height}, {width} and {cadence}")
    check_size(height, width)
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
    own = {
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
    values = {"mask": static, **axes}
    with _writing(store):
        if not is_local(store):
            _make(store, shape, shard, own, values, crs)
            return Archive(store, writable=True)
        if Path(store).exists():
            raise FileExistsError(f"{store} exists already: choose another name, or append to it")
        making = Path(f"{store}.making")  # renamed when whole, so that a stopped making leaves nothing under the name
        if making.exists():
            shutil.rmtree(making)
        _make(making, shape, shard, own, values, crs)
        making.rename(store)
    return Archive(store, writable=True)


def _make(
    store: Any,
    shape: tuple[int, int],
    shard: int | None,
    attributes: dict[str, Any],
    values: dict[str, npt.NDArray[Any]],
    crs: str,
) -> None:
    """Make the group and its arrays in ``store`` and commit them."""
    try:
        group = zarr.open_group(store, mode="w-", zarr_format=3)
    except (FileExistsError, zarr.errors.ContainsGroupError) as error:
        raise FileExistsError(f"{store} exists already: choose another name, or append to it") from error
    make_arrays(group, shape, shard)
    group["crs"].attrs["proj4" if crs.startswith("+") else "crs_wkt"] = crs
    for name, array in values.items():
        group[name][...] = array  # type: ignore[index]
    contents = {name: [content_digest(values[name])] for name in _SEALED}
    commit_record.write(group, Record(attributes, commit_record.nodes_of(group, ARRAYS), contents))


def _writing(store: Any) -> AbstractContextManager[None]:
    """Keep other writers of ``store`` out, if it is a folder of this machine; other stores have no lock."""
    folder = Path(store) if is_local(store) else store.root if isinstance(store, LocalStore) else None
    return nullcontext() if folder is None else sole_writer(folder)


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
            self._record, self._committed = commit_record.read(group)
        except FileNotFoundError as error:
            if is_local(self._store) and (Path(self._store) / "zarr.json").exists():
                raise ArchiveError(self._damaged("file zarr.json", error)) from error
            raise FileNotFoundError(f"no archive at {self.name}: check the path, or import radar into it") from error
        except ImportError as error:
            raise ArchiveError(f"{self.name} needs a package that is not installed: {error}") from error
        except _DAMAGE as error:
            raise ArchiveError(
                f"{self.name} holds no finished archive ({type(error).__name__}: {error}): it is damaged, foreign, or "
                "its making was stopped; restore its zarr.json, or import the radar into another name"
            ) from error
        self.attributes: dict[str, Any] = self._record.attributes
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
            commit_record.check(self._record, self._committed)
            self._read_parts(group)
        except ArchiveError:
            raise
        except _DAMAGE as error:
            why = f"{type(error).__name__}: {error}"
            raise ArchiveError(
                f"{self.name} lacks a sound part of an archive ({why}): restore its zarr.json, or import the radar "
                "again"
            ) from error
        self._check_layout()
        if self._committed is None:
            _log.warning("%s was written without a digest of its metadata: its next commit adds one", self.name)
        self._cache.clear()
        self.__dict__.pop("fingerprint", None)

    def _read_parts(self, group: zarr.Group) -> None:
        """Take over what the commit record and the small arrays hold."""
        self.cadence = int(self.attributes["cadence_minutes"])
        self.zr = ZR(float(self.attributes["zr_a"]), float(self.attributes["zr_b"]))
        self.splits: dict[str, list[tuple[str, str]]] = {
            name: [(begin, end) for begin, end in ranges]
            for name, ranges in check_splits(self.attributes["splits"]).items()
        }
        pixel = group["pixel"]
        assert isinstance(pixel, zarr.Array)
        frames, height, width = pixel.shape
        check_size(height, width, frames)
        self._pixel = pixel
        self.times: Minutes = self._whole(group, "time")
        self.status: Frames = self._whole(group, "status")
        self._checksum: npt.NDArray[np.uint32] = self._whole(group, "checksum")
        self.mask: Frames = self._whole(group, "mask")
        self.x, self.y = self._whole(group, "x"), self._whole(group, "y")
        reference = self._record.nodes["crs"]["attributes"]
        self.crs = str(reference.get("proj4") or reference.get("crs_wkt") or "")

    def _whole(self, group: zarr.Group, name: str) -> Any:
        array = group[name]
        assert isinstance(array, zarr.Array)
        if array.dtype != np.dtype(ARRAYS[name][0]):
            raise ArchiveError(self._damaged(name, f"{array.dtype} instead of {ARRAYS[name][0]}"))
        sizes = dict(zip(ARRAYS["pixel"][2], self._pixel.shape, strict=True))
        expected = tuple(sizes[dimension] for dimension in ARRAYS[name][2])
        if array.shape != expected:
            raise ArchiveError(self._damaged(name, f"shape {array.shape} instead of {expected}"))
        try:
            values = np.asarray(array[...])
        except (ValueError, RuntimeError, OSError) as error:
            raise ArchiveError(self._damaged(name, error)) from error
        sound = self._record.contents.get(name)
        if sound is not None and content_digest(values) not in sound:
            raise ArchiveError(self._damaged(name, "not the values that were committed"))
        values.setflags(write=False)
        return values

    def _damaged(self, what: str, why: object) -> str:
        return f"{self.name}: {what} is damaged or missing ({why}): restore the file, or import the radar again"

    def _check_layout(self) -> None:
        if self._pixel.dtype != np.uint8:
            raise ArchiveError(self._damaged("pixel", f"{self._pixel.dtype} instead of uint8"))
        if (self.times == NO_TIME).any():
            raise ArchiveError(self._damaged("time", "a chunk is missing"))
        try:
            check_times(self.times)
            check_mask(self.mask, self.shape)
        except ValueError as error:
            raise ArchiveError(self._damaged("time or mask", error)) from error
        if (self.status > SUSPECT).any():
            raise ArchiveError(self._damaged("status", "unknown codes"))
        if np.isnan(self.x).any() or np.isnan(self.y).any():
            raise ArchiveError(self._damaged("x or y", "a chunk is missing"))

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
                raise ValueError(f"{self.name} has no split {split!r}, {suggest(split, self.splits)}")
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
        """Read everything; yield None for each sound chunk, a message for each damaged one and each metadata file."""
        yield from self._damaged_documents()
        for chunk in range(-(-len(self) // CHUNK)):
            try:
                self._decode(chunk)
                yield None
            except ArchiveError as error:
                yield str(error)

    def _damaged_documents(self) -> Iterator[str]:
        """A message for each metadata file of an array that is not what was committed; appending restores it."""
        group = zarr.open_group(self._store, mode="r", use_consolidated=True)
        for path, committed in self._record.nodes.items():
            own = _own_document(group, path)
            if own is None or (_without_length(own) != _without_length(committed)):
                yield (
                    f"{self.name}: file {path}/zarr.json is damaged or missing; the archive can be read, "
                    "and the next append restores the file"
                )

    # ------------------------------------------------------------------ writing

    def writing(self) -> AbstractContextManager[None]:
        """Keep other writers out for as long as this is entered; a single append or update does so by itself.

        Raises LockedError (a ValueError), naming the holder, if another process or thread is writing.
        """
        return _writing(self._store)

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
        if not np.isin(codes, (GOOD, SUSPECT)).all():
            raise ValueError(f"expected status {GOOD} or {SUSPECT}")
        stamps, codes = check_times(stamps), codes.astype(np.uint8)
        if len(self) and stamps[0] <= self.times[-1]:
            raise ValueError(f"times must be after {iso(self.times[-1])}, got {iso(stamps[0])} first")
        old, new = len(self), len(self) + len(stamps)
        check_size(*self.shape, new)
        checksums = np.array([google_crc32c.value(f) for f in np.ascontiguousarray(frames)], np.uint32)
        with self.writing():
            group = self._begin()
            nodes = copy.deepcopy(self._record.nodes)
            for name, values in (("pixel", frames), ("time", stamps), ("status", codes), ("checksum", checksums)):
                array = group[name]
                assert isinstance(array, zarr.Array)
                array = array.with_config({"write_empty_chunks": True})
                array.resize((new, *array.shape[1:]))
                array[old:new] = values
                nodes[name]["shape"][0] = new
            commit_record.write(group, self._record._replace(nodes=nodes, contents=self._contents()))
            self._load()

    def _begin(self) -> zarr.Group:
        """The group as it was committed, for writing; what a stopped or damaged writer left beside that is mended.

        Raises ArchiveError if something was committed since this archive was opened.
        """
        group = zarr.open_group(self._store, mode="r+", use_consolidated=True)
        record, _ = commit_record.read(group)
        if record != self._record:
            raise ArchiveError(f"another writer has changed {self.name} since it was opened: open it again")
        for name in ARRAYS:
            committed, own = record.nodes[name], _own_document(group, name)
            if own is None or _without_length(own) != _without_length(committed):
                commit_record.write_document(group, name, committed)
            elif own["shape"] != committed["shape"]:  # chunks of an append that was stopped before its commit
                left = zarr.open_group(self._store, mode="r+", use_consolidated=False)[name]
                left.resize(tuple(committed["shape"]))  # type: ignore[union-attr]
        return group

    def _contents(self) -> dict[str, list[str]]:
        """The digests of the small arrays, for a commit: those of an archive without them are made here."""
        return {name: [content_digest(getattr(self, name))] for name in _SEALED}

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
        static = self.mask if mask is None else np.asarray(mask)
        check_mask(static, self.shape)
        with self.writing():
            group = self._begin()
            contents, after = self._contents(), content_digest(static)
            if mask is not None:  # stopped between the mask and the commit, either mask is sound
                commit_record.write(
                    group, self._record._replace(contents=contents | {"mask": contents["mask"] + [after]})
                )
                group["mask"][...] = static  # type: ignore[index]
            changed = {**self._record.attributes, **new}
            commit_record.write(group, self._record._replace(attributes=changed, contents=contents | {"mask": [after]}))
            self._load()


def _own_document(group: zarr.Group, path: str) -> dict[str, Any] | None:
    """The metadata file of a node, or None if it is missing or damaged."""
    try:
        document = commit_record.read_document(group, path)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _without_length(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` of an array without the size of its first axis, which grows before a commit."""
    shape = document.get("shape")
    return {**document, "shape": shape[1:] if isinstance(shape, list) else shape}


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
