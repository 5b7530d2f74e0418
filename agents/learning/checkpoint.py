"""Checkpoints: named tensors and plain metadata in one safetensors file, written atomically and checked on reading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from hko7env.contract import OptionError
from hko7env.files import write_atomically

Tensor = torch.Tensor

FORMAT, VERSION = "hko7env-checkpoint", 1
_REMEDY = "use another copy, or train again"


class CheckpointError(OptionError):
    """A checkpoint that cannot be used; the message names the file, what is wrong and what to do."""


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """There is no file where a checkpoint should be."""


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically, replacing the file if it exists.

    Args:
        path: The file.
        tensors: Tensors by name, on any device.
        metadata: Values that JSON can hold, by name.

    Raises:
        OSError: If the file cannot be written; an older one is then unchanged.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, "version": VERSION, **metadata}, sort_keys=True)
    write_atomically(path, save(kept, metadata={"facts": text, "sha256": digest(kept, text)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint that :func:`write` made.

    Args:
        path: The file.

    Returns:
        The tensors, on the CPU, and the metadata.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If it is damaged, made by another program or of another version.
    """
    data = _content(path)
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        marks = header.get("__metadata__", {})
        tensors = load(data)
    except (SafetensorError, ValueError, AttributeError, KeyError, TypeError, RuntimeError) as error:
        # ValueError of JSON and UTF-8 too, KeyError of a type that torch lacks, RuntimeError of endless nesting
        raise CheckpointError(f"{path} is damaged, or no checkpoint ({error}): {_REMEDY}") from error
    try:
        metadata = json.loads(marks["facts"])
        ours = metadata["format"] == FORMAT
    except (KeyError, TypeError, ValueError, RecursionError):
        ours = False
    if not ours:
        raise CheckpointError(f"{path} holds tensors of another program, not a checkpoint of hko7env: {_REMEDY}")
    if metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {metadata.get('version')} of the checkpoint format, this hko7env reads {VERSION}: "
            "use the hko7env that wrote it, or train again"
        )
    if marks.get("sha256") != digest(tensors, marks["facts"]):
        raise CheckpointError(f"{path} is damaged (its content does not match its checksum): {_REMEDY}")
    return tensors, metadata


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingCheckpointError(f"no checkpoint at {path}: check the path, or train a network") from error
    except IsADirectoryError as error:
        raise CheckpointError(
            f"{path} is a folder, not a checkpoint: give a file, such as the best.safetensors of a training"
        ) from error


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The sha256 of ``text`` and of the name, type, shape and bytes of every tensor, on any device."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        if tensor.numel():
            found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of ``tensors``, each name preceded by ``prefix`` and a dot; safetensors refuses shared storage."""
    return {f"{prefix}.{name}": tensor.detach().clone() for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that :func:`named` put under ``prefix``, by their own names."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def fill(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy ``tensors`` into ``module``, on any device. Raises CheckpointError as :func:`check` does."""
    check(tensors, module.state_dict(), path)
    module.load_state_dict(dict(tensors))


def check(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Check that names, shapes and types are those of ``wanted`` and that all values are finite.

    Args:
        tensors: Tensors of a checkpoint, by name.
        wanted: The tensors that they will replace, by name.
        path: The checkpoint, for the message.

    Raises:
        CheckpointError: If they do not fit.
    """
    for names, what in ((wanted.keys() - tensors.keys(), "lacks"), (tensors.keys() - wanted.keys(), "also has")):
        if names:
            raise CheckpointError(
                f"{path} does not fit the network (it {what} {', '.join(sorted(names)[:3])}): {_REMEDY}"
            )
    for name, tensor in tensors.items():
        for is_, needed in ((tensor.dtype, wanted[name].dtype), (list(tensor.shape), list(wanted[name].shape))):
            if is_ != needed:
                raise CheckpointError(f"{path} does not fit the network ({name} is {is_}, not {needed}): {_REMEDY}")
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{path} holds values of {name} that are not finite: {_REMEDY}")


def number(metadata: Mapping[str, Any], name: str, path: Path, kinds: type | tuple[type, ...] = int) -> Any:
    """Read a number of the metadata, finite and at least 0.

    Args:
        metadata: Metadata of a checkpoint.
        name: Its key.
        path: The checkpoint, for the message.
        kinds: Type or types it may have.

    Returns:
        The number.

    Raises:
        CheckpointError: If it is missing, of another type, negative or not finite.
    """
    value: Any = metadata.get(name)
    right = isinstance(value, kinds) and not isinstance(value, bool)
    if not right or not 0 <= value < 2**63:
        kind = "whole number" if kinds is int else "number"
        raise CheckpointError(f"{path} has {name} {value!r}, where a {kind} of at least 0 is needed: {_REMEDY}")
    return value
