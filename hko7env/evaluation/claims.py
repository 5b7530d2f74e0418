"""Claims in a run folder: of several attempts at one job, only the newest goes on.

The process that holds the folder issues a claim for each job that other processes may run, and whoever begins the job
takes it. If a worker is believed dead and the job is begun elsewhere, or if the command is stopped, the file of the
claim is changed or gone, and an earlier attempt stops after the sequence that it has in hand. Files are all that this
needs, so it also holds between machines.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from hko7env.evaluation.journal import RunError, writing
from hko7env.files import write_atomically

SUFFIX = ".claim"


@dataclass(frozen=True)
class Claim:
    """The right to run a job.

    Attributes:
        path: The file.
        holder: What the file holds: of a claim that was issued, a name of the command; of one that was taken, that
            and a name of the attempt.
    """

    path: Path
    holder: str

    def take(self) -> "Claim":
        """The claim of a new attempt; claims of earlier attempts are lost. Raises RunError if it was withdrawn."""
        if _read(self.path).split()[:1] != [self.holder]:
            raise RunError(f"{self.path} was withdrawn: the command that gave this job was stopped")
        taken = Claim(self.path, f"{self.holder} {_name()}")
        _write(taken)
        return taken

    def check(self) -> None:
        """Raise RunError if the claim was withdrawn, or taken by a later attempt."""
        if _read(self.path) != self.holder:
            raise RunError(f"{self.path} is no longer held here: another process goes on with this job")


def issue(folder: Path, number: int, command: str) -> Claim:
    """Write a claim that can be taken.

    Args:
        folder: The run folder, held by this process.
        number: Of the job, in this folder.
        command: A name from :func:`name_command`.
    """
    claim = Claim(folder / f"{number:04d}{SUFFIX}", command)
    _write(claim)
    return claim


def name_command() -> str:
    """A name that no other command has."""
    return _name()


def _name() -> str:
    return secrets.token_hex(8)


def _write(claim: Claim) -> None:
    with writing(claim.path):
        write_atomically(claim.path, claim.holder.encode())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
