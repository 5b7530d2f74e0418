"""A radar archive: one zarr (format 3) group of frames with times, status, checksums, mask, units and georeference.

The group's consolidated metadata is the commit record: a writer stopped at any point leaves the archive as it was
after the last whole :meth:`Archive.append`. Every chunk ends in a crc32c, every frame has one of its own, and fill
values are impossible values. So a chunk that is missing, torn, flipped or misplaced is an error, never dry weather.
"""

import difflib
import hashlib
import json
import os
import shutil
import warnings
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
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from hko7env.units import DBZ_FLOOR, DBZ_SPAN, ZR

FORMAT, VERSION = "hko7env-archive", 1
SCORED, OUTLIER, OUT_OF_RANGE = 0, 1, 2  # codes of the static mask
GOOD, SUSPECT = 0, 1  # codes of a frame's status: a suspect frame is kept, but counts as missing
CHUNK = 5  # frames: one segment, so a stream decodes each chunk once
DAY_SHARD = 240  # frames: one day at HKO-7's cadence
_TIME_CHUNK = 4096
_NO_TIME = np.iinfo(np.int64).min  # fill values: none is legal, so a lost chunk cannot pass for data
_NO_CODE = 255
_CACHED_CHUNKS = 12
_FIXED = {"Conventions", "format", "format_version", "cadence_minutes", "zr_a", "zr_b"}  # what frames were written by

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
    if shard is not None and (shard < CHUNK or shard % CHUNK):
        raise ValueError(f"a shard holds a multiple of {CHUNK} frames, got {shard}")
    static = np.full(shape, SCORED, np.uint8) if mask is None else np.asarray(mask)
    _check_mask(static, shape)
    axes = {
        "y": np.arange(height - 1, -1, -1.0) if y is None else np.asarray(y, np.float64),
        "x": np.arange(width, dtype=np.float64) if x is None else np.asarray(x, np.float64),
    }
    for name, size in (("y", height), ("x", width)):
        if axes[name].shape != (size,) or not np.isfinite(axes[name]).all():
            raise ValueError(f"{name} must be {size} finite coordinates, got shape {axes[name].shape}")
    checked = _check_splits(splits or {})
    zr = zr or ZR()
    local = isinstance(store, str | Path) and "://" not in str(store)
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
    _make_arrays(group, shape, shard, crs)
    for name, values in (("mask", static), *axes.items()):
        group[name][...] = values  # type: ignore[index]
    _commit(group)
    if local:
        making.rename(store)
    return Archive(store, writable=True)


def _check_splits(splits: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, list[list[str]]]:
    """``splits`` as they are stored. Raises ValueError unless each range is two ISO minutes, the earlier one first."""
    for name, ranges in splits.items():
        for begin, end in ranges:
            if not minutes(begin) < minutes(end):
                raise ValueError(f"split {name!r} has a range from {begin} to {end}, which holds no time")
    return {name: [list(range_) for range_ in ranges] for name, ranges in splits.items()}


def minutes(iso: str) -> int:
    """Minutes since 1970-01-01 of an ISO time such as ``2015-01-07T00:00``. Raises ValueError if it is none."""
    time = np.datetime64(iso, "m")
    if np.isnat(time):
        raise ValueError(f"{iso!r} is no time")
    return int(time.astype(np.int64))


def iso(minute: int) -> str:
    """``2015-01-07T00:00`` from minutes since 1970-01-01."""
    return str(np.datetime64(int(minute), "m"))


def _make_arrays(group: zarr.Group, shape: tuple[int, int], shard: int | None, crs: str) -> None:
    compressors = [ZstdCodec(level=6), Crc32cCodec()]  # level 6 decodes faster than 3 and is a tenth smaller
    config: Any = {"write_empty_chunks": True}

    def make(name: str, shape: tuple[int, ...], dtype: str, fill: Any, dims: Sequence[str], **attributes: Any) -> None:
        frames = name == "pixel"
        chunks = (
            (CHUNK, *shape[1:])
            if frames
            else tuple(_TIME_CHUNK if d == "time" else n for d, n in zip(dims, shape, strict=True))
        )
        group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=(shard, *shape[1:]) if frames and shard else None,
            compressors=compressors,
            fill_value=fill,
            dimension_names=dims,
            attributes=attributes,
            config=config,
        )

    height, width = shape
    make(
        "pixel",
        (0, height, width),
        "uint8",
        255,
        ("time", "y", "x"),
        standard_name="equivalent_reflectivity_factor",
        long_name="radar reflectivity",
        units="dBZ",
        scale_factor=DBZ_SPAN / 255,
        add_offset=DBZ_FLOOR,
        grid_mapping="crs",
        ancillary_variables="status mask",
        comment="level 0..255; level 0 is no echo",
    )
    make(
        "time",
        (0,),
        "int64",
        _NO_TIME,
        ("time",),
        standard_name="time",
        axis="T",
        units="minutes since 1970-01-01",
        calendar="proleptic_gregorian",
    )
    make(
        "status",
        (0,),
        "uint8",
        _NO_CODE,
        ("time",),
        long_name="status of the frame",
        flag_values=[GOOD, SUSPECT],
        flag_meanings="good suspect",
    )
    make("checksum", (0,), "uint32", 0, ("time",), long_name="crc32c of the frame's levels")
    make(
        "mask",
        shape,
        "uint8",
        _NO_CODE,
        ("y", "x"),
        long_name="static mask",
        grid_mapping="crs",
        flag_values=[SCORED, OUTLIER, OUT_OF_RANGE],
        flag_meanings="scored outlier out_of_range",
    )
    for axis, size in (("y", height), ("x", width)):
        make(
            axis,
            (size,),
            "float64",
            "NaN",
            (axis,),
            standard_name=f"projection_{axis}_coordinate",
            axis=axis.upper(),
            units="m",
        )
    make(
        "crs",
        (),
        "int32",
        0,
        (),
        long_name="coordinate reference system",
        **({"proj4": crs} if crs.startswith("+") else {"crs_wkt": crs}),
    )


def _commit(group: zarr.Group) -> None:
    """Write all metadata, shapes included, into the group's own file, which the store replaces as a whole."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", category=UserWarning)
        zarr.consolidate_metadata(group.store, path=group.path or None, zarr_format=3)


def _check_mask(mask: npt.NDArray[Any], shape: tuple[int, int]) -> None:
    if mask.shape != shape or mask.dtype != np.uint8 or mask.max() > OUT_OF_RANGE:
        raise ValueError(
            f"the static mask must be uint8 {shape} of 0 (scored), 1 (outlier) or 2 (out of range), "
            f"got {mask.dtype} {mask.shape} up to {mask.max()}"
        )


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
        if (self.times == _NO_TIME).any():
            raise ArchiveError(self._damaged("time", "a chunk is missing"))
        if (np.diff(self.times) <= 0).any():
            raise ArchiveError(self._damaged("time", "times are not strictly increasing"))
        if (self.status > SUSPECT).any():
            raise ArchiveError(self._damaged("status", "unknown codes"))
        try:
            _check_mask(self.mask, shape)
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
                close = difflib.get_close_matches(split, self.splits, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"{self.name} has no split {split!r}, only {', '.join(self.splits) or 'none'}{hint}")
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
        _commit(group)
        self._load()
        self.__dict__.pop("fingerprint", None)

    def _check_sole_writer(self) -> None:
        if len(Archive(self._store)) != len(self):
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
        fixed = _FIXED.intersection(attributes or {})
        if fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of an archive cannot change: create another")
        new = dict(attributes or {}) | ({} if splits is None else {"splits": _check_splits(splits)})
        if mask is not None:
            _check_mask(np.asarray(mask), self.shape)
        self._check_sole_writer()
        group = zarr.open_group(self._store, mode="r+", use_consolidated=False)
        if mask is not None:
            group["mask"][...] = np.asarray(mask)  # type: ignore[index]
        group.attrs.update(new)
        _commit(group)
        self._load()
        self.__dict__.pop("fingerprint", None)


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
            attributes={name: value for name, value in archive.attributes.items() if name not in _FIXED},
        )
    if step:
        step(len(copy))
    for start in range(len(copy), len(archive), shard):
        stop = min(start + shard, len(archive))
        copy.append(archive.times[start:stop], archive.frames(start, stop), archive.status[start:stop])
        if step:
            step(stop - start)
    return copy
