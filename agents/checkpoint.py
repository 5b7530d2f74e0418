"""Checkpoints: tensors by name and plain facts in one safetensors file, whole or not there, and checked on reading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from hko7env.agent import OptionError
from hko7env.results import write_atomically

Tensor = torch.Tensor

FORMAT, VERSION = "hko7env-checkpoint", 1
_REMEDY = "take another copy, or train again with tools/train.py"


class CheckpointError(OptionError):
    """A checkpoint that cannot be used; the message names the file, what is wrong and what to do."""


def write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace ``path`` by a file of ``tensors`` and ``facts``, which must go through JSON. Raises OSError."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, "version": VERSION, **facts}, sort_keys=True)
    write_atomically(path, save(kept, metadata={"facts": text, "sha256": digest(kept, text)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, on the CPU, and the facts of a file that :func:`write` made.

    Raises FileNotFoundError if there is none and CheckpointError if it is damaged, foreign or of another version.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no checkpoint at {path}: check the path, or make one with tools/train.py") from error
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        marks = header.get("__metadata__", {})
        tensors = load(data)
    except (SafetensorError, ValueError, AttributeError) as error:  # of JSON and UTF-8 too
        raise CheckpointError(f"{path} is damaged, or no checkpoint ({error}): {_REMEDY}") from error
    try:
        facts = json.loads(marks["facts"])
        ours = facts["format"] == FORMAT
    except (KeyError, TypeError, ValueError):
        ours = False
    if not ours:
        raise CheckpointError(f"{path} holds tensors of another program, not a checkpoint of hko7env: {_REMEDY}")
    if facts["version"] != VERSION:
        raise CheckpointError(
            f"{path} has version {facts['version']} of the checkpoint format and this hko7env reads version {VERSION}: "
            "use the hko7env that wrote it, or train again with tools/train.py"
        )
    if marks.get("sha256") != digest(tensors, marks["facts"]):
        raise CheckpointError(f"{path} is damaged (its content does not have its checksum): {_REMEDY}")
    return tensors, facts


def digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """sha256 over ``text`` and over name, type, shape and bytes of every tensor, wherever it is."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        if tensor.numel():
            found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` under ``prefix``; safetensors stores no two names of one storage, so each is its own copy."""
    return {f"{prefix}.{name}": tensor.detach().clone() for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that :func:`named` put under ``prefix``, by their own names."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def fill(module: torch.nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy ``tensors`` into ``module``, wherever it is. Raises CheckpointError unless names and shapes agree."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network ({error}): {_REMEDY}") from error
