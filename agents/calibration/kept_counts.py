"""Counts kept in a file while an archive is counted, so that counting continues after an interruption."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.files import write_atomically

Arrays = dict[str, npt.NDArray[Any]]


def locate(cache: Path, identity: Sequence[Any], prefix: str = "") -> Path:
    """The file for what ``identity``, values that JSON can hold, names; its folder is made. Raises OSError."""
    cache.mkdir(parents=True, exist_ok=True)
    return cache / f"{prefix}{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}.npz"


def read(file: Path, names: Sequence[str]) -> Arrays | None:
    """The arrays ``names`` in a file, or None if there is none. Raises ValueError if it is damaged."""
    if not file.exists():
        return None
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as kept:
            return {name: kept[name] for name in names}
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise ValueError(f"{file} is damaged ({error}): delete it, and its sequences are counted again") from error


def write(file: Path, arrays: Mapping[str, Any]) -> None:
    """Replace a file atomically. Raises OSError."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(file, buffer.getvalue())


def digest_code(modules: Sequence[ModuleType]) -> str:
    """sha256 of the files of modules: other code may give other counts."""
    files = [Path(module.__file__ or "") for module in modules]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
