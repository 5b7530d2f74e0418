"""A training in parts of a few megabytes, to take it from one machine to another; each part has a digest.

Compact, the full-size networks fit where a whole checkpoint does not: weights are rounded to bfloat16, those of which
there is an average go on from it, the mean of Adam's gradients, whose memory is two steps, begins at 0 again, and the
mean of their squares keeps 8 bits of its logarithm, within 5 %. Such a training goes on a little differently; other
parts are exact copies.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numcodecs import Zstd

from hko7env.files import write_atomically

from .checkpoint import CheckpointError, read, write
from .trainer import BEST, LAST, LOG

Tensor = torch.Tensor

FORMAT, INDEX = "hko7env-parts", "parts.json"
MEGABYTES = 15.0  # of a part
LEVEL = 6  # of zstd
FILES = (LAST, BEST, LOG)
OCTAVE, HIGHEST = 8, 255  # codes per factor of two, code of the largest value; 0 is coded as 0
MEAN, SQUARES = "adam.exp_avg.", "adam.exp_avg_sq."
_REMEDY = "pack the training again and copy all its parts"


def pack(
    folder: Path, out: Path, *, compact: bool = False, megabytes: float = MEGABYTES, only: str | None = None
) -> list[Path]:
    """Write the checkpoints and the log of a training as parts.

    Args:
        folder: The training.
        out: Folder for the parts and their index; it is made if necessary.
        compact: Round what is stored, see above.
        megabytes: Size of a part at most, in 10^6 bytes.
        only: The file to pack, one of ``FILES``, instead of all: a training continues from ``LAST``, forecasts need
            ``BEST``.

    Returns:
        The files written, the index last.

    Raises:
        FileNotFoundError: If there is no training.
        CheckpointError: If a checkpoint is damaged.
        ValueError: If ``megabytes`` is not above 0, or ``out`` holds other parts.
    """
    if not megabytes > 0:
        raise ValueError(f"megabytes must be above 0, got {megabytes}")
    if not (folder / (only or LAST)).is_file():
        raise FileNotFoundError(f"no training at {folder}: give the folder of one, which contains {only or LAST}")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds files already: choose an empty folder, so that no old part is copied")
    out.mkdir(parents=True, exist_ok=True)
    files, packed, parts = {}, [], {}
    for name in (each for each in FILES if only in (None, each) and (folder / each).is_file()):
        content = _content(folder / name, out, compact)
        packed.append(bytes(Zstd(level=LEVEL).encode(_planes(content))))
        files[name] = {"bytes": len(packed[-1]), "sha256": _digest(content)}
    for number, part in enumerate(_split(b"".join(packed), max(int(megabytes * 1e6), 1))):
        write_atomically(out / f"part.{number}", part)
        parts[f"part.{number}"] = _digest(part)
    index = {"format": FORMAT, "compact": compact, "files": files, "parts": parts}
    write_atomically(out / INDEX, json.dumps(index, indent=1).encode())
    return [out / name for name in (*parts, INDEX)]


def unpack(parts: Path, out: Path) -> list[Path]:
    """Make the folder of a training from its parts.

    Args:
        parts: Folder of the parts and their index.
        out: Folder of the training; files there are replaced.

    Returns:
        The files written.

    Raises:
        CheckpointError: If a part is missing or damaged; nothing is written then.
    """
    index = _read_index(parts)
    packed = b"".join(_read_part(parts / part, wanted) for part, wanted in index["parts"].items())
    contents, start = {}, 0
    for name, about in index["files"].items():
        contents[name] = _decode(packed[start : start + about["bytes"]], about["sha256"], parts / INDEX)
        start += about["bytes"]
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_atomically(out / name, content)
        if index["compact"] and name != LOG:
            tensors, metadata = read(out / name)
            write(out / name, _expand(tensors), metadata)
    return [out / name for name in contents]


def _content(path: Path, out: Path, compact: bool) -> bytes:
    """What is stored of a file."""
    if not compact or path.name == LOG:
        return path.read_bytes()
    tensors, metadata = read(path)
    short = out / f"{path.name}.short"
    write(short, _shorten(tensors), metadata)
    content = short.read_bytes()
    short.unlink()
    return content


def _shorten(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint in fewer bytes."""
    short: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(SQUARES):
            short[name], short[f"largest.{name}"] = encode(tensor)
        elif name.startswith(MEAN) or f"ema.{name.removeprefix('net.')}" in tensors.keys() - {name}:
            short[name] = torch.zeros(tensor.shape, dtype=torch.bool)  # its shape; it compresses to nothing
        elif tensor.dtype == torch.float32 and tensor.ndim:
            short[name] = tensor.to(torch.bfloat16)
        else:
            short[name] = tensor
    return short


def _expand(short: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint from what :func:`_shorten` made of them."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in short.items():
        if name.startswith(SQUARES):
            tensors[name] = decode(tensor, short[f"largest.{name}"])
        elif name.startswith("net.") and tensor.dtype == torch.bool:
            tensors[name] = short[f"ema.{name.removeprefix('net.')}"].float()
        elif not name.startswith("largest."):
            wide = name.startswith(MEAN) or tensor.dtype == torch.bfloat16
            tensors[name] = tensor.float() if wide else tensor
    return tensors


def encode(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values of at least 0 as uint8, by their logarithm, and the largest of them; see :func:`decode`.

    Values below the largest by a factor of 2^31 become that small, 0 stays 0.
    """
    largest = values.max() if values.numel() else values.new_zeros(())
    codes = (HIGHEST + OCTAVE * (values / largest.clamp(min=1e-45)).log2()).round().clamp(1, HIGHEST)
    return torch.where(values > 0, codes, 0).to(torch.uint8), largest


def decode(codes: Tensor, largest: Tensor) -> Tensor:
    """The values of :func:`encode`, float32, each within a factor of 2^(1/16)."""
    return torch.where(codes > 0, largest * ((codes.float() - HIGHEST) / OCTAVE).exp2(), 0.0)


def _planes(content: bytes) -> bytes:
    """All first bytes of the 2-byte words, then all second ones: signs and exponents side by side compress better."""
    even = len(content) // 2 * 2
    return np.frombuffer(content, np.uint8, even).reshape(-1, 2).T.tobytes() + content[even:]


def _interleave(planes: bytes) -> bytes:
    """The inverse of :func:`_planes`."""
    even = len(planes) // 2 * 2
    return np.frombuffer(planes, np.uint8, even).reshape(2, -1).T.tobytes() + planes[even:]


def _split(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, max(len(content), 1), size):
        yield content[start : start + size]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_index(parts: Path) -> dict[str, Any]:
    """The index of parts. Raises CheckpointError."""
    path = parts / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (about["sha256"], about["bytes"] + 0) for name, about in index["files"].items()}
        if index["format"] != FORMAT or not isinstance(index["compact"], bool) or not files.keys() <= set(FILES):
            raise ValueError("it is of another format")
        if any(Path(part).name != part for part in index["parts"]):
            raise ValueError("a part lies in another folder")
    except FileNotFoundError as error:
        raise CheckpointError(f"no parts of a training at {parts}: give the folder that contains {INDEX}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no index of parts, or damaged ({error}): {_REMEDY}") from error
    return index


def _decode(packed: bytes, wanted: str, path: Path) -> bytes:
    """One file. Raises CheckpointError."""
    try:
        content = _interleave(bytes(Zstd().decode(packed)))
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} and its parts do not belong together ({error}): {_REMEDY}") from error
    if _digest(content) != wanted:
        raise CheckpointError(f"{path} and its parts do not belong together: {_REMEDY}")
    return content


def _read_part(path: Path, wanted: str) -> bytes:
    """One part. Raises CheckpointError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} is missing or cannot be read: {_REMEDY}") from error
    if _digest(content) != wanted:
        raise CheckpointError(f"{path} is damaged (its content does not match its checksum): {_REMEDY}")
    return content
