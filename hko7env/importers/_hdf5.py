"""What the HDF5 formats share: opening a file, and arrays and attributes that are checked before they are read.

HDF5 gives the fill value, mostly 0, for what was never written, and believes whatever size a header claims.
"""

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.damage import LOCATIONS, DamagedFile
from hko7env.importers import ImportProblem

_ATTRIBUTE_BYTES = 1 << 16
_HEAP = b"GCOL\1\0\0\0"  # begins a global heap, where HDF5 keeps values of variable length
_HEAD = 16  # bytes of a heap's header, and of that of an object in it


def open_file(path: Path) -> Any:
    """The file, open for reading. Raises ImportProblem if h5py is not installed, one of DAMAGE if this is no HDF5."""
    try:
        import h5py
    except ImportError as error:
        raise ImportProblem("reading HDF5 needs h5py: pip install 'hko7env[hdf5]'") from error
    _check_heaps(path)
    return h5py.File(path)


def _check_heaps(path: Path) -> None:
    """Raise DamagedFile for a global heap through which HDF5 (2.0.0) would walk for ever: an object of no size."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        heap = data.find(_HEAP)
        while heap >= 0:
            (size,) = struct.unpack_from("<Q", data, heap + 8)
            place, end = heap + _HEAD, heap + size
            while place + _HEAD <= end:
                number, length = struct.unpack_from("<H6xQ", data, place)
                taken = _HEAD + -(-length // 8) * 8 if number else length
                if not 0 < taken <= end - place:
                    raise DamagedFile(f"the global heap at byte {heap} is damaged")
                place += taken
            heap = data.find(_HEAP, heap + 1)


def read_array(file: Any, name: str) -> npt.NDArray[Any]:
    """(H, W) numbers of the dataset ``name``. Raises KeyError if there is none, DamagedFile if it is something else."""
    dataset = file[name]
    shape = getattr(dataset, "shape", None)
    if shape is None or len(shape) != 2 or 0 in shape or dataset.dtype.kind not in "iuf":
        raise DamagedFile(f"{name} is no two-dimensional array of numbers")
    check_size(name, shape, dataset.chunks)
    check_written(name, dataset)
    return np.asarray(dataset[...])


def check_size(name: str, shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> None:
    """Raise DamagedFile if a frame (the last two dimensions) or a chunk is larger than any frame may be."""
    for what, sizes in (("frames", shape[-2:]), ("chunks", chunks or ())):
        if math.prod(sizes) > LOCATIONS:
            text = " x ".join(str(size) for size in sizes)
            raise DamagedFile(f"{name} has {what} of {text}, expected at most {LOCATIONS} values")


def check_written(name: str, dataset: Any) -> None:
    """Raise DamagedFile if some of the dataset was never written, or lies in other files."""
    if dataset.is_virtual or dataset.external:
        raise DamagedFile(f"{name} is kept in other files")
    if dataset.chunks:
        expected = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
    else:
        expected, written = math.prod(dataset.shape) * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if written < expected:
        raise DamagedFile(f"{name} was not written in full: {written} of {expected} {_unit(dataset)}")


def _unit(dataset: Any) -> str:
    return "chunks" if dataset.chunks else "bytes"


def text(group: Any, name: str) -> str:
    """The text of an attribute, as bytes, str or an array of one. Raises KeyError if it is missing, or DamagedFile."""
    value = _value(group, name)
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise DamagedFile(f"attribute {name} of {group.name} is no text")
    return str(value)


def number(group: Any, name: str) -> float:
    """A finite number of an attribute. Raises KeyError if it is missing, DamagedFile if it is anything else."""
    value = _value(group, name)
    if not isinstance(value, int | float | np.number) or isinstance(value, np.complexfloating):
        raise DamagedFile(f"attribute {name} of {group.name} is no number")
    if not math.isfinite(value):
        raise DamagedFile(f"attribute {name} of {group.name} is {value}, expected a finite number")
    return float(value)


def _value(group: Any, name: str) -> Any:
    held = group.attrs.get_id(name)
    if math.prod(held.shape) != 1 or held.get_storage_size() > _ATTRIBUTE_BYTES:
        raise DamagedFile(f"attribute {name} of {group.name} is not one value")
    return np.asarray(group.attrs[name]).reshape(-1)[0]
