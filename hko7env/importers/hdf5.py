"""HDF5 files: opening them, and arrays and attributes that are checked before they are read.

The HDF5 library returns the fill value, usually 0, for values that were never written, and trusts the sizes in headers.
"""

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.damage import MAX_FRAME_VALUES, DamagedFile
from hko7env.importers.contract import RadarImportError

_MAX_ATTRIBUTE_BYTES = 1 << 16
_HEAP_SIGNATURE = b"GCOL\1\0\0\0"  # of a global heap, where HDF5 keeps values of variable length
_HEAP_HEADER = 16  # bytes of a heap's header, and of that of an object in it


def open_file(path: Path) -> Any:
    """Open an HDF5 file for reading, as ``h5py.File``.

    Raises:
        RadarImportError: h5py is not installed.
        OSError: The file is not HDF5.
        DamagedFile: A global heap is damaged.
    """
    try:
        import h5py
    except ImportError as error:
        raise RadarImportError("reading HDF5 needs h5py: pip install 'hko7env[hdf5]'") from error
    _check_heaps(path)
    return h5py.File(path)


def _check_heaps(path: Path) -> None:
    """Raise DamagedFile for a global heap with an object of size 0, on which HDF5 2.0.0 loops for ever."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        heap = data.find(_HEAP_SIGNATURE)
        while heap >= 0:
            (size,) = struct.unpack_from("<Q", data, heap + 8)
            position, end = heap + _HEAP_HEADER, heap + size
            while position + _HEAP_HEADER <= end:
                index, length = struct.unpack_from("<H6xQ", data, position)
                used = _HEAP_HEADER + -(-length // 8) * 8 if index else length
                if not 0 < used <= end - position:
                    raise DamagedFile(f"the global heap at byte {heap} is damaged")
                position += used
            heap = data.find(_HEAP_SIGNATURE, heap + 1)


def read_array(file: Any, name: str) -> npt.NDArray[Any]:
    """Read a dataset of numbers.

    Args:
        file: An ``h5py.File`` or group.
        name: Path of the dataset in it.

    Returns:
        (H, W) array of the dataset's type.

    Raises:
        KeyError: There is no such dataset.
        DamagedFile: It has another shape or type, is too large, or was not written in full.
    """
    dataset = file[name]
    shape = getattr(dataset, "shape", None)
    if shape is None or len(shape) != 2 or 0 in shape or dataset.dtype.kind not in "iuf":
        raise DamagedFile(f"{name} is not a two-dimensional array of numbers")
    check_size(name, shape, dataset.chunks)
    check_written(name, dataset)
    return np.asarray(dataset[...])


def check_size(name: str, shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> None:
    """Raise DamagedFile if a frame (the last two dimensions) or a chunk has more than MAX_FRAME_VALUES values."""
    for what, sizes in (("frames", shape[-2:]), ("chunks", chunks or ())):
        if math.prod(sizes) > MAX_FRAME_VALUES:
            text = " x ".join(str(size) for size in sizes)
            raise DamagedFile(f"{name} has {what} of {text}, expected at most {MAX_FRAME_VALUES} values")


def check_written(name: str, dataset: Any) -> None:
    """Raise DamagedFile if a part of an ``h5py.Dataset`` was never written or is stored in other files."""
    if dataset.is_virtual or dataset.external:
        raise DamagedFile(f"{name} is stored in other files")
    if dataset.chunks:
        expected = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        written, unit = dataset.id.get_num_chunks(), "chunks"
    else:
        expected = math.prod(dataset.shape) * dataset.dtype.itemsize
        written, unit = dataset.id.get_storage_size(), "bytes"
    if written < expected:
        raise DamagedFile(f"{name} was not written in full: {written} of {expected} {unit}")


def read_text(group: Any, name: str) -> str:
    """Read an attribute that holds text, as bytes, str or an array of one of them.

    Raises:
        KeyError: There is no such attribute.
        DamagedFile: It holds something else.
    """
    value = _read_value(group, name)
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise DamagedFile(f"attribute {name} of {group.name} is not text")
    return str(value)


def read_number(group: Any, name: str) -> float:
    """Read an attribute that holds a finite number.

    Raises:
        KeyError: There is no such attribute.
        DamagedFile: It holds something else.
    """
    value = _read_value(group, name)
    if not isinstance(value, int | float | np.number) or isinstance(value, np.complexfloating):
        raise DamagedFile(f"attribute {name} of {group.name} is not a number")
    if not math.isfinite(value):
        raise DamagedFile(f"attribute {name} of {group.name} is {value}, expected a finite number")
    return float(value)


def _read_value(group: Any, name: str) -> Any:
    attribute = group.attrs.get_id(name)
    if math.prod(attribute.shape) != 1 or attribute.get_storage_size() > _MAX_ATTRIBUTE_BYTES:
        raise DamagedFile(f"attribute {name} of {group.name} is not one value")
    return np.asarray(group.attrs[name]).reshape(-1)[0]
