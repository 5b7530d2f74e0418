"""Checkpoints of a learner in a run folder: ``NNNNNN.checkpoint`` and ``NNNNNN.json`` with its checksum.

NNNNNN is the index of the sequence with which a resumed run continues.
A checkpoint without a matching checksum is ignored.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from hko7env.contract import Learner
from hko7env.evaluation.journal import RunError, writing
from hko7env.evaluation.run_folder import read_json
from hko7env.files import write_atomically

_KEPT = 2  # checkpoints that a resume could use: if one is damaged there is another


def save_checkpoint(agent: Learner, folder: Path, run: str, following: int, first_missing: int) -> None:
    """Save ``agent`` so that sequence ``following`` can be run next, and remove checkpoints that are no longer needed.

    Forecasts whose scores are not revealed yet have no record, so a resumed run starts from a checkpoint at or before
    ``first_missing``, the first sequence without a record.

    Args:
        agent: The learner.
        folder: The run folder.
        run: Digest of the run.
        following: Index of the sequence to run next.
        first_missing: Index of the first sequence without a record.

    Raises:
        RunError: If a file cannot be written.
    """
    path = folder / f"{following:06d}.checkpoint"
    temporary, sidecar = path.with_suffix(".partial"), path.with_suffix(".json")
    with writing(path):
        try:
            agent.save(temporary)
            data = temporary.read_bytes()
        finally:
            temporary.unlink(missing_ok=True)
        write_atomically(path, data)
    with writing(sidecar):
        write_atomically(sidecar, json.dumps(_facts(run, following, data)).encode())
    usable = [p for p in sorted(folder.glob("*.checkpoint")) if int(p.stem) <= first_missing]
    for old in usable[:-_KEPT]:
        with writing(old):
            old.with_suffix(".json").unlink(missing_ok=True)
            old.unlink()


def restore_checkpoint(agent: Learner, folder: Path, run: str, first_missing: int) -> int:
    """Restore the newest sound checkpoint at or before sequence ``first_missing``.

    Args:
        agent: The learner.
        folder: The run folder.
        run: Digest of the run.
        first_missing: Index of the first sequence without a record.

    Returns:
        The index of the sequence with which the run continues; 0, with ``agent`` unchanged, if there is no such
        checkpoint.
    """
    for path in sorted(folder.glob("*.checkpoint"), reverse=True):
        if int(path.stem) <= first_missing and _is_sound(path, run):
            agent.restore(path)
            return int(path.stem)
    return 0


def _facts(run: str, following: int, data: bytes) -> dict[str, Any]:
    """The sidecar of a checkpoint: its run, the next sequence, and the checksum of its ``data``."""
    return {"run": run, "sequence": following, "sha256": hashlib.sha256(data).hexdigest()}


def _is_sound(path: Path, run: str) -> bool:
    try:
        return read_json(path.with_suffix(".json"), "") == _facts(run, int(path.stem), path.read_bytes())
    except (OSError, RunError):  # damaged: an older one may be sound
        return False
