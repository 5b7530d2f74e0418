"""The commit record of an archive: the ``zarr.json`` of its group, which the store replaces as a whole.

It repeats the metadata of every array (zarr's consolidated metadata), so readers need no other metadata file, and it
holds a digest of its own content. A record without a digest was written by an earlier version.
"""

import asyncio
import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

INTEGRITY = "integrity"  # attribute of the group: the digest of the record, and those of DIGESTED by their names
DIGESTED = ("mask", "x", "y")  # arrays of whose values the record has a digest, so that x and y cannot be exchanged
_FILE, _SHA256 = "zarr.json", "sha256"

Document = dict[str, Any]  # a zarr metadata file


class Record(NamedTuple):
    """The contents of one commit.

    Attributes:
        attributes: Attributes of the group, without those of INTEGRITY.
        nodes: Path -> metadata of every array and group below the group.
        contents: Array -> digests of its sound values; more than one while the values are being replaced.
    """

    attributes: dict[str, Any]
    nodes: dict[str, Document]
    contents: dict[str, list[str]]


def read(group: zarr.Group) -> tuple[Record, str | None]:
    """Read the commit record of ``group``.

    Returns:
        The record and its digest; the digest is None if the record has none.

    Raises:
        ValueError: The group has no commit record.
    """
    document = read_document(group, "")
    try:
        attributes = dict(document["attributes"])  # type: ignore[index]
        nodes = dict(document["consolidated_metadata"]["metadata"])  # type: ignore[index]
        integrity = dict(attributes.pop(INTEGRITY, {}))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{_FILE} is no commit record: {type(error).__name__} {error}") from error
    sha256 = integrity.pop(_SHA256, None)
    return Record(attributes, nodes, integrity), sha256


def check(record: Record, sha256: str | None) -> None:
    """Raise ValueError if ``record`` is not what was committed; a record without any digest passes."""
    if (record.contents or sha256) and sha256 != digest(record):
        raise ValueError(f"{_FILE} does not have the digest that was committed with it")


def write(group: zarr.Group, record: Record) -> None:
    """Commit ``record``: readers see it from now on.

    Raises:
        TypeError: An attribute cannot be stored as JSON.
    """
    record = Record(*json.loads(json.dumps(record)))  # as it will be read
    integrity = {**record.contents, _SHA256: digest(record)}
    document = {
        "attributes": {**record.attributes, INTEGRITY: integrity},
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": record.nodes},
        "node_type": "group",
    }
    write_document(group, "", document)


def digest(record: Record) -> str:
    """sha256 of ``record``, independent of the order and spacing of its JSON text."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_document(group: zarr.Group, path: str) -> Document | None:
    """The stored metadata file of the node at ``path`` below ``group``, or None if there is none.

    Raises:
        ValueError: The file is not JSON.
    """
    (data,) = _read_files(group, [path])
    return None if data is None else json.loads(data)


def _read_files(group: zarr.Group, paths: Iterable[str]) -> list[bytes | None]:
    """The metadata files of the nodes at ``paths``; read at once, for each hop to zarr's thread and back takes time."""

    async def read() -> list[Any]:
        files = [group.store_path / path / _FILE for path in paths]
        return await asyncio.gather(*(file.get(default_buffer_prototype()) for file in files))

    return [None if data is None else data.to_bytes() for data in sync(read())]


def write_document(group: zarr.Group, path: str, document: Document) -> None:
    """Replace the metadata file of the node at ``path`` below ``group``."""
    data = default_buffer_prototype().buffer.from_bytes(json.dumps(document, indent=2).encode())
    sync((group.store_path / path / _FILE).set(data))


def read_sound_documents(group: zarr.Group, paths: Sequence[str]) -> dict[str, Document | None]:
    """Path -> metadata file of the node there below ``group``, None if it is missing or damaged."""
    return dict(zip(paths, map(_sound_document, _read_files(group, paths)), strict=True))


def _sound_document(data: bytes | None) -> Document | None:
    try:
        document = None if data is None else json.loads(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def equal_but_length(one: Document, other: Document) -> bool:
    """Whether two metadata files of an array agree, except for the size of the first axis, which grows with appends."""
    return _without_length(one) == _without_length(other)


def _without_length(document: Document) -> Document:
    shape = document.get("shape")
    return {**document, "shape": shape[1:] if isinstance(shape, list) else shape}


def damaged_documents(group: zarr.Group, record: Record) -> list[str]:
    """Paths of the nodes whose own metadata file is missing or differs from ``record``."""
    own = read_sound_documents(group, list(record.nodes))
    return [path for path, found in own.items() if found is None or not equal_but_length(found, record.nodes[path])]


def nodes_of(group: zarr.Group, paths: Collection[str]) -> dict[str, Document]:
    """The metadata files of the nodes at ``paths`` below ``group``.

    Raises:
        ValueError: A file is missing.
    """
    files = dict(zip(paths, _read_files(group, paths), strict=True))
    missing = [path for path, data in files.items() if data is None]
    if missing:
        raise ValueError(f"{', '.join(missing)}: no {_FILE}")
    return {path: json.loads(data) for path, data in files.items() if data is not None}


def content_digest(values: npt.NDArray[Any]) -> str:
    """sha256 of type, shape and values of an array, the same on every machine."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return hashlib.sha256(f"{little.dtype.str} {little.shape}\n".encode() + little.tobytes()).hexdigest()
