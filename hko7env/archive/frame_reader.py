"""Reading frames: chunks are decoded, checked against their checksums and cached."""

import os
from collections import OrderedDict
from collections.abc import Sequence
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

from hko7env.archive import commit_record
from hko7env.archive.errors import ArchiveError, damage_message
from hko7env.archive.format import CHUNK, FIRST_FRAME, frames_in_file, iso
from hko7env.damage import DAMAGE

_CACHED_CHUNKS = 12

Frames = npt.NDArray[np.uint8]


class FrameReader:
    """The frames of one archive, read chunk by chunk; the 12 chunks used last are kept in memory.

    Args:
        name: The archive in error messages.
        pixel: (first + N, H, W) uint8 zarr array of levels.
        first: Index in ``pixel`` of frame 0, a multiple of 5.
        times: (N,) int64 minutes since 1970-01-01.
        checksums: (N,) uint32 crc32c of each frame.
    """

    def __init__(
        self, name: str, pixel: Any, first: int, times: npt.NDArray[np.int64], checksums: npt.NDArray[np.uint32]
    ) -> None:
        self._name, self._pixel, self._first, self._times, self._checksums = name, pixel, first, times, checksums
        self._cache: OrderedDict[int, Frames] = OrderedDict()

    def __len__(self) -> int:
        return len(self._times)

    @property
    def chunks(self) -> int:
        """Number of chunks, of 5 frames each; the last one may hold fewer."""
        return -(-len(self) // CHUNK)

    def copy(self, start: int, stop: int) -> Frames:
        """(stop - start, H, W) uint8 copy of the frames ``start`` to ``stop - 1``. Raises ArchiveError on damage."""
        out = np.empty((stop - start, *self._pixel.shape[1:]), np.uint8)
        if start < stop:
            self.load(range(start // CHUNK, -(-stop // CHUNK)))
        for i in range(start, stop):
            out[i - start] = self.frame(i)
        return out

    def frame(self, i: int) -> Frames:
        """(H, W) uint8 read-only view of frame ``i``. Raises ArchiveError if its chunk is damaged."""
        chunk = i // CHUNK
        if chunk not in self._cache:
            self.load([chunk])
        return np.asarray(self._cache[chunk][i % CHUNK])

    def load(self, chunks: Sequence[int]) -> None:
        """Decode those of ``chunks`` that are not in memory, in parallel. Raises ArchiveError on damage."""
        missing = [c for c in chunks if c not in self._cache]
        for chunk in chunks:
            if chunk in self._cache:
                self._cache.move_to_end(chunk)
        if len(missing) > 1:
            with ThreadPoolExecutor(min(len(missing), os.cpu_count() or 1)) as pool:
                decoded = list(pool.map(self.decode, missing))
        else:
            decoded = [self.decode(c) for c in missing]
        self._cache.update(zip(missing, decoded, strict=True))
        while len(self._cache) > max(_CACHED_CHUNKS, len(chunks)):
            self._cache.popitem(last=False)

    def decode(self, chunk: int) -> Frames:
        """(n, H, W) uint8 read-only frames of ``chunk``, from the store. Raises ArchiveError on damage."""
        first, stop = chunk * CHUNK, min(chunk * CHUNK + CHUNK, len(self))
        try:
            frames = self._decode_local(chunk) if self._local else self._decode_any(first, stop)
        except (ValueError, RuntimeError, OSError) as error:
            raise ArchiveError(self._damage(chunk, error)) from error
        frames = frames[: stop - first]
        for i, frame in enumerate(frames, first):
            if google_crc32c.value(frame) != self._checksums[i]:
                raise ArchiveError(self._damage(chunk, f"frame {iso(self._times[i])} fails its checksum"))
        frames.setflags(write=False)
        return frames

    @cached_property
    def _local(self) -> Path | None:
        """Folder of the chunks if they can be read straight from disk, which saves 1.6 ms a chunk over zarr."""
        store = self._pixel.store_path.store
        if not isinstance(store, LocalStore) or self._pixel.shards is not None:
            return None
        return Path(store.root, self._pixel.store_path.path, "c")

    def _decode_any(self, first: int, stop: int) -> Frames:
        return np.asarray(self._pixel[self._first + first : self._first + stop])

    def _decode_local(self, chunk: int) -> Frames:
        assert self._local is not None
        stored = self._first // CHUNK + chunk
        data = memoryview((self._local / str(stored) / "0" / "0").read_bytes())
        if google_crc32c.value(bytes(data[:-4])) != int.from_bytes(data[-4:], "little"):
            raise ValueError("the chunk fails its checksum")
        out = np.empty((CHUNK, *self._pixel.shape[1:]), np.uint8)
        Zstd().decode(data[:-4], out)
        return out

    def _damage(self, chunk: int, reason: object) -> str:
        first, last = chunk * CHUNK, min(chunk * CHUNK + CHUNK, len(self)) - 1
        times = f"{iso(self._times[first])} to {iso(self._times[last])}"
        stored = self._first + first
        if stored < self._removed():
            return f"{self._name}: frames {times} have been removed since it was opened: open it again"
        file = f"pixel/c/{stored // frames_in_file(self._pixel)}/0/0"
        return damage_message(self._name, f"frames {first} to {last} ({times}), file {file},", reason)

    def _removed(self) -> int:
        """Number of frames that have been removed from the archive by now; 0 if that cannot be read."""
        place = self._pixel.store_path
        try:
            group = zarr.open_group(place.store, path=place.path.rpartition("/")[0], mode="r", use_consolidated=True)
            record, _ = commit_record.read(group)
            return int(record.attributes.get(FIRST_FRAME, 0))
        except DAMAGE:
            return 0
