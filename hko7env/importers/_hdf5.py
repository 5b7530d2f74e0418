"""What the HDF5 formats share: opening a file, and text that comes as bytes or as an array of one."""

from pathlib import Path
from typing import Any

import numpy as np

from hko7env.importers import ImportProblem


def open_file(path: Path) -> Any:
    """The file, open for reading. Raises ImportProblem if h5py is not installed, OSError if this is no HDF5."""
    try:
        import h5py
    except ImportError as error:
        raise ImportProblem("reading HDF5 needs h5py: pip install 'hko7env[hdf5]'") from error
    return h5py.File(path)


def text(attribute: Any) -> str:
    """The text of an attribute."""
    value = np.asarray(attribute).reshape(-1)[0]
    return value.decode() if isinstance(value, bytes) else str(value)
