"""The commit record of an archive: the ``zarr.json`` of its group, which the store replaces as a whole.

It repeats the metadata of every array (zarr calls that consolidated), so that readers need no other metadata file, and
holds a digest over itself. A record without a digest was written by an earlier version.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

INTEGRITY = "integrity"  # attribute of the group: the digest of the record, and those of some arrays by their name
_FILE, _SHA256 = "zarr.json", "sha256"

Document = dict[str, Any]  # a zarr metadata file


class Record(NamedTuple):
    """What a commit holds."""

    attributes: dict[str, Any]  # of the group
    nodes: dict[str, Document]  # path: metadata of every array and group below it
    contents: dict[str, list[str]]  # array: the digests of its values that are sound; more than one while they change


def read(group: zarr.Group) -> tuple[Record, str | None]:
    """The record of ``group`` and its digest, None if it has none. Raises ValueError if this is no record."""
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
    """Raise ValueError if ``record`` is not what was committed; one without any digest passes."""
    if (record.contents or sha256) and sha256 != digest(record):
        raise ValueError(f"{_FILE} does not have the digest that was committed with it")


def write(group: zarr.Group, record: Record) -> None:
    """Commit ``record``: from here on it is what readers see. Raises TypeError for attributes that are no JSON."""
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
    """sha256 over ``record``, whatever the order and spacing of its text."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_document(group: zarr.Group, path: str) -> Document | None:
    """The metadata file of the node at ``path`` below ``group``, as it lies in the store, or None if there is none.

    Raises ValueError if it is no JSON.
    """
    data = sync((group.store_path / path / _FILE).get(default_buffer_prototype()))
    return None if data is None else json.loads(data.to_bytes())


def write_document(group: zarr.Group, path: str, document: Document) -> None:
    """Replace the metadata file of the node at ``path`` below ``group``."""
    data = default_buffer_prototype().buffer.from_bytes(json.dumps(document, indent=2).encode())
    sync((group.store_path / path / _FILE).set(data))


def nodes_of(group: zarr.Group, paths: Iterable[str]) -> dict[str, Document]:
    """The metadata files of the nodes at ``paths`` below ``group``. Raises ValueError if one is missing."""
    nodes = {path: read_document(group, path) for path in paths}
    missing = [path for path, document in nodes.items() if document is None]
    if missing:
        raise ValueError(f"{', '.join(missing)}: no {_FILE}")
    return cast(dict[str, Document], nodes)


def content_digest(values: npt.NDArray[Any]) -> str:
    """sha256 over type, shape and values of an array, the same on every machine."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return hashlib.sha256(f"{little.dtype.str} {little.shape}\n".encode() + little.tobytes()).hexdigest()
