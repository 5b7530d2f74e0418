"""Where the numbers of a run folder come from: the command that made them, the archive, and the issue times.

``sequences.csv`` lists the sequences of the run's split with their times and episodes, so that a comparison of runs
needs no archive. Its first slots are those of the digest ``schedule`` in the run's identity.
"""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.archive import Archive
from hko7env.archive.format import iso, minutes
from hko7env.evaluation.journal import RunError
from hko7env.schedule import Minutes, Schedule

SEQUENCES = "sequences.csv"
_HEADER = ["sequence", "first_slot", "issued", "episode"]


def evaluate_command(
    agent: str,
    setting: str,
    *,
    archive: str | None,
    split: str | None,
    limit: int | None,
    cleaned: bool,
    options: Mapping[str, Any],
    out: Path,
) -> list[str]:
    """The words of the command that repeats a run, or completes it.

    Args:
        agent: Name of the agent.
        setting: ``online`` or ``offline``.
        archive: Path or URL of the archive; None for the default one.
        split: The split; None for the default one.
        limit: Number of sequences; None for all.
        cleaned: Whether the agent sees masked locations and weak echo as 0.
        options: Options of the agent.
        out: Folder of run folders.
    """
    words = ["hko7env", "evaluate", agent]
    for name, value in options.items():
        flag = name.replace("_", "-")
        words += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", _word(value)]
    words += ["--env", setting]
    for flag, value in (("--archive", archive), ("--split", split), ("--limit", limit)):
        words += [] if value is None else [flag, str(value)]
    return [*words, *(["--cleaned"] if cleaned else []), "--out", str(out)]


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def archive_facts(archive: Archive) -> dict[str, Any]:
    """Facts about an archive for readers, as JSON values: source, licence, size, times, splits and Z-R relation."""
    height, width = archive.shape
    return {
        "source": str(archive.attributes.get("source") or "unknown"),
        "licence": str(archive.attributes.get("licence") or "unknown"),
        "shape": [height, width],
        "cadence": archive.cadence,
        "frames": len(archive),
        "first": iso(int(archive.times[0])),
        "last": iso(int(archive.times[-1])),
        "splits": list(archive.splits),
        "z_r": [archive.zr.a, archive.zr.b],
    }


def sequences_csv(schedule: Schedule) -> str:
    """Format a schedule as the text of ``sequences.csv``: one line a sequence, times as ISO minutes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADER)
    for i, start in enumerate(schedule.starts.tolist()):
        issued = start + (schedule.inputs - 1) * schedule.cadence
        writer.writerow([i, iso(start), iso(issued), schedule.episode(i)])
    return out.getvalue()


def read_sequences(path: Path, digest: str, *, inputs: int, leads: int, cadence: int) -> Schedule:
    """Read the schedule from a file of :func:`sequences_csv`.

    Args:
        path: The file.
        digest: sha256 of the schedule, as in the run's identity.
        inputs: J, slots of a sequence that are observed.
        leads: K, slots of a sequence that are forecast.
        cadence: Minutes between slots.

    Returns:
        The schedule.

    Raises:
        RunError: If the file is missing or damaged, or does not fit the other arguments.
    """
    remedy = f"remove {path} and give the command of the run again, which writes a new one"
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        if not rows or rows[0] != _HEADER:
            raise ValueError(f"its header is not {','.join(_HEADER)}")
        number, starts, issued, episode = _columns(rows[1:])
        fresh = np.diff(episode, prepend=-1) != 0
        found = Schedule(starts, fresh, inputs, leads, cadence)
        if found.sha256 != digest:
            raise ValueError("its times are not those of the run's schedule")
        gaps = np.diff(starts)
        expected = [
            number == np.arange(len(rows) - 1),
            issued - starts == (inputs - 1) * cadence,
            np.diff(episode, prepend=-1) == fresh,
            (gaps == inputs * cadence) == ~fresh[1:],
        ]
        if not all(np.all(part) for part in expected):
            raise ValueError("its numbers, times and episodes do not fit together")
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is missing, which says when each forecast was issued: give the command of the run again"
        ) from error
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(f"{path} is damaged ({error}): {remedy}") from error
    return found


def _columns(rows: list[list[str]]) -> tuple[Minutes, Minutes, Minutes, Minutes]:
    """Numbers, first slots, issue times and episodes of the rows of ``sequences.csv``, each (N,) int64."""
    if any(len(row) != len(_HEADER) for row in rows):
        raise ValueError(f"a line has not {len(_HEADER)} cells")
    parsed = [[int(n), minutes(start), minutes(issued), int(e)] for n, start, issued, e in rows]
    table = np.array(parsed, np.int64).reshape(-1, len(_HEADER))
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def split_command(words: Any) -> list[str]:
    """Check the words of a command in ``config.json``. Raises ValueError if they are none."""
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ValueError(f"the command is a list of words, not {json.dumps(words)[:60]}")
    return list(words)
