"""The steps of a live run: ``steps.jsonl`` says which segments were issued, and what was known of them then.

A process that continues the run shows agents the same segments again, whatever has come since.
"""

from pathlib import Path
from typing import Any

from hko7env.archive.format import iso, minutes
from hko7env.evaluation.journal import RunError
from hko7env.live.walk import Segment
from hko7env.live_run.log import Log, read_log

STEPS = "steps.jsonl"


class Steps:
    """The steps of a live run, numbered from 0, appended by one process.

    Args:
        folder: The folder of the live run.
        cadence: Minutes between slots.

    Raises:
        RunError: If the file is damaged or cannot be written.
    """

    def __init__(self, folder: Path, cadence: int) -> None:
        self._found = read_steps(folder, cadence)
        self._log = Log(folder / STEPS)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, step: int) -> Segment:
        return self._found[step]

    def append(self, segment: Segment) -> int:
        """Add a segment; return its number. Raises RunError if it cannot be written."""
        row = {"step": len(self), "first_slot": iso(segment.start), "new_episode": segment.new_episode}
        self._log.append(row | {"present": [int(there) for there in segment.present]})
        self._found.append(segment)
        return len(self) - 1

    def close(self) -> None:
        """Close the file."""
        self._log.close()


def read_steps(folder: Path, cadence: int) -> list[Segment]:
    """The segments of a live run, in order. Raises RunError if their file is damaged."""
    path, found = folder / STEPS, []
    for row in read_log(path):
        try:
            found.append(_segment(row, cadence))
            if row["step"] != len(found) - 1:
                raise ValueError(f"step {row['step']} follows {len(found) - 2}")
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} is damaged ({type(error).__name__}: {error}): restore it, or begin anew with another output "
                "folder"
            ) from error
    return found


def _segment(row: dict[str, Any], cadence: int) -> Segment:
    present = tuple(bool(there) for there in row["present"])
    return Segment(minutes(row["first_slot"]), present, bool(row["new_episode"]), cadence)
