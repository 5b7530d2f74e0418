"""Commits to an archive. The order of writes is such that a writer stopped at any point loses no earlier commit.

New values are written first; replacing the commit record, which is one file, then makes them visible.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import zarr
from zarr.core.sync import sync

from hko7env.archive import commit_record
from hko7env.archive.commit_record import Record, content_digest
from hko7env.archive.errors import ArchiveError
from hko7env.archive.format import ARRAYS, FIRST_FRAME, SHORTENED, frames_in_file

Values = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Writer:
    """A writer to an archive whose newest commit is ``record``; the caller holds the write lock.

    Attributes:
        name: The archive in error messages.
        store: A path, a URL or a zarr store.
        record: The commit record that the archive was opened with.
        small_arrays: Values of the arrays of which the record keeps digests: mask, x and y.
    """

    name: str
    store: Any
    record: Record
    small_arrays: Mapping[str, Values]

    def append(self, columns: Mapping[str, Values]) -> None:
        """Append ``columns`` (name -> values, one entry a frame) to the arrays along time, and commit."""
        group = self._open()
        nodes = copy.deepcopy(self.record.nodes)
        arrays = dict(group.arrays())
        sync(_extend((arrays[name], values) for name, values in columns.items()))
        for name, values in columns.items():
            nodes[name]["shape"][0] += len(values)
        commit_record.write(group, self.record._replace(nodes=nodes, contents=self._contents()))

    def remove(self, index: int) -> None:
        """Remove the frames before ``index`` along time that fill whole files, commit, and delete their files.

        Files that a writer left, which was stopped between the two, are deleted as well.
        """
        if set(self.record.nodes) != set(ARRAYS):
            extra = ", ".join(sorted(set(self.record.nodes) - set(ARRAYS)))
            raise ArchiveError(
                f"{self.name} holds {extra} beside its frames: frames of such an archive cannot be removed"
            )
        group = self._open()
        pixel = group["pixel"]
        assert isinstance(pixel, zarr.Array)
        removed, size = int(self.record.attributes.get(FIRST_FRAME, 0)), frames_in_file(pixel)
        first = max(index // size * size, removed)
        if first > removed:
            changed = {**self.record.attributes, FIRST_FRAME: first, "format_version": SHORTENED}
            commit_record.write(group, self.record._replace(attributes=changed, contents=self._contents()))
        for name, (_, _, dimensions, _) in ARRAYS.items():
            if dimensions[:1] == ("time",):
                array = group[name]
                assert isinstance(array, zarr.Array)
                sync(_delete_files(array, first // frames_in_file(array)))

    def update(self, mask: Values | None, attributes: Mapping[str, Any]) -> None:
        """Replace the static mask (None: keep it) and some attributes of the group, and commit."""
        group, contents = self._open(), self._contents()
        if mask is not None:
            # Committed first, so that either mask is sound if the writer stops before the second commit
            after = content_digest(mask)
            both = contents | {"mask": contents["mask"] + [after]}
            commit_record.write(group, self.record._replace(contents=both))
            group["mask"][...] = mask  # type: ignore[index]
            contents["mask"] = [after]
        changed = {**self.record.attributes, **attributes}
        commit_record.write(group, self.record._replace(attributes=changed, contents=contents))

    def _open(self) -> zarr.Group:
        """The group as it was committed; what a stopped or damaged writer left beside that is repaired.

        Raises ArchiveError if something was committed since the archive was opened.
        """
        group = zarr.open_group(self.store, mode="r+", use_consolidated=True)
        record, _ = commit_record.read(group)
        if record != self.record:
            raise ArchiveError(f"another writer has changed {self.name} since it was opened: open it again")
        for name, own in commit_record.read_sound_documents(group, list(ARRAYS)).items():
            committed = record.nodes[name]
            if own is None or not commit_record.equal_but_length(own, committed):
                commit_record.write_document(group, name, committed)
            elif own["shape"] != committed["shape"]:  # chunks of an append that was stopped before its commit
                left = zarr.open_group(self.store, mode="r+", use_consolidated=False)[name]
                left.resize(tuple(committed["shape"]))  # type: ignore[union-attr]
        return group

    def _contents(self) -> dict[str, list[str]]:
        """Digests of the small arrays, also for an archive that was written without them."""
        return {name: [content_digest(values)] for name, values in self.small_arrays.items()}


async def _extend(extended: Iterable[tuple["zarr.Array[Any]", Values]]) -> None:
    """Append values to arrays along time: one after the other, but in one hop to zarr's thread, which takes time."""
    for array, values in extended:
        growing = array.async_array.with_config({"write_empty_chunks": True})
        old = growing.shape[0]
        new = old + len(values)
        await growing.resize((new, *growing.shape[1:]))
        await growing.setitem(slice(old, new), values)


async def _delete_files(array: "zarr.Array[Any]", before: int) -> None:
    """Delete the files of ``array`` whose number along time is less than ``before``, and those of stopped writers."""
    store, folder = array.store_path.store, f"{array.store_path.path}/c"
    delete = store.delete_dir if len(array.shape) > 1 else store.delete
    found = [name.rpartition("/")[2] async for name in store.list_dir(folder)]
    for name in found:
        if name.endswith(".partial") or (name.isdecimal() and int(name) < before):
            await delete(f"{folder}/{name}")
