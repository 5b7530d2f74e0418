"""What is missing of a run, and the recording of it: tallies in a journal, and whatever else is to be kept."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium

from hko7env.env import NowcastingEnv
from hko7env.evaluation.diagnostics import Diagnosing, DiagnosticsFolder, is_diagnosed
from hko7env.evaluation.journal import Journal, sum_records
from hko7env.evaluation.run_folder import RunFolder
from hko7env.scores import Tally

KEEP = ("diagnostics",)  # what can be kept besides tallies


@dataclass(frozen=True)
class Work:
    """Sequences that remain to be run.

    Attributes:
        folder: Path of the run folder.
        run: Digest of the run.
        leads: Number K of lead times.
        missing: Indices of the sequences, increasing.
        recorded: Tallies of those that lack only what is kept besides.
        keep: What is kept besides tallies, of :data:`KEEP`.
    """

    folder: Path
    run: str
    leads: int
    missing: list[int]
    recorded: dict[int, Tally] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()

    def part(self, share: list[int]) -> "Work":
        """The same for some of the sequences."""
        return replace(self, missing=share, recorded={i: t for i, t in self.recorded.items() if i in set(share)})


def remaining(folder: RunFolder, count: int, keep: Collection[str] = ()) -> Work:
    """Find which of the first ``count`` sequences lack a tally, or something that is to be kept.

    Args:
        folder: The run folder, held by this process.
        count: Number of sequences of the run.
        keep: What to keep besides tallies, of :data:`KEEP`.

    Raises:
        ValueError: If something else is to be kept.
    """
    unknown = set(keep) - set(KEEP)
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]!r} cannot be kept, only {', '.join(KEEP)}")
    records = folder.records()
    missing = set(range(count)) - set(records["index"].tolist())
    recorded: dict[int, Tally] = {}
    if "diagnostics" in keep:
        lacking = DiagnosticsFolder(folder.path, folder.run).missing(count) - missing
        recorded = {i: sum_records(records[records["index"] == i], folder.leads) for i in sorted(lacking)}
    return Work(folder.path, folder.run, folder.leads, sorted(missing | set(recorded)), recorded, frozenset(keep))


class Recorder:
    """Records the tallies of a run in a new journal, and what is kept besides.

    Args:
        work: What remains to be run.
        journal: Path of the journal.
        env: The environment of the run.

    Attributes:
        env: The environment to run, which may be ``env`` in a wrapper.
        wanted: Indices of the sequences that are not recorded yet.
    """

    def __init__(self, work: Work, journal: Path, env: NowcastingEnv) -> None:
        self.env: gymnasium.Env[Any, Any] = env
        self.wanted = set(work.missing)
        self._recorded, self._diagnosing = work.recorded, None
        if "diagnostics" in work.keep:
            kept = DiagnosticsFolder(work.folder, work.run)
            self.env = self._diagnosing = Diagnosing(env, kept, {i for i in work.missing if is_diagnosed(i)})
        self._journal = Journal(journal, work.leads, work.run)

    def add(self, index: int, tally: Tally) -> bool:
        """Record a sequence, its tally last; return False if it was not wanted."""
        if index not in self.wanted:
            return False
        if self._diagnosing:
            self._diagnosing.keep(index, self._recorded.get(index, tally))
        if index not in self._recorded:
            self._journal.add(index, tally)
        self.wanted.remove(index)
        return True

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
