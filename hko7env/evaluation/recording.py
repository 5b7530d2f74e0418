"""What is missing of a run, and the recording of it: tallies in a journal, and whatever else is to be kept."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium

from hko7env.env import NowcastingEnv
from hko7env.evaluation.diagnostics import EVERY, Diagnosing, DiagnosticsFolder
from hko7env.evaluation.journal import Journal, read_journals, sum_records
from hko7env.evaluation.kept_forecasts import Keeping, KeptForecasts, choose
from hko7env.evaluation.run_folder import RunFolder
from hko7env.scores import Tally
from hko7env.split_view import SplitView

KEEP = ("diagnostics",)  # what can be kept besides tallies


@dataclass(frozen=True)
class Extras:
    """What is kept of a run besides tallies. It does not change the run.

    Attributes:
        keep: Names of :data:`KEEP`.
        diagnose_every: Of so many sequences one is diagnosed, the first of them.
        forecasts: Number of sequences whose forecasts are kept.

    Raises:
        ValueError: If ``keep`` holds another name, ``diagnose_every`` is below 1 or ``forecasts`` below 0.
    """

    keep: frozenset[str] = frozenset()
    diagnose_every: int = EVERY
    forecasts: int = 0

    def __post_init__(self) -> None:
        for name in sorted(self.keep - set(KEEP)):
            raise ValueError(f"{name!r} cannot be kept, only {', '.join(KEEP)}")
        if self.diagnose_every < 1:
            raise ValueError(f"diagnose_every must be at least 1, got {self.diagnose_every}")
        if self.forecasts < 0:
            raise ValueError(f"forecasts must be at least 0, got {self.forecasts}")

    def __bool__(self) -> bool:
        return bool(self.keep or self.forecasts)

    def diagnosed(self, index: int) -> bool:
        """Whether the sequence ``index`` is to be diagnosed."""
        return "diagnostics" in self.keep and index % self.diagnose_every == 0


NOTHING = Extras()


@dataclass(frozen=True)
class Work:
    """Sequences that remain to be run.

    Attributes:
        folder: Path of the run folder.
        run: Digest of the run.
        leads: Number K of lead times.
        missing: Indices of the sequences, increasing.
        recorded: Tallies of those that lack only what is kept besides.
        extras: What is kept besides tallies.
        kept: Those of ``missing`` whose forecasts are to be kept.
    """

    folder: Path
    run: str
    leads: int
    missing: list[int]
    recorded: dict[int, Tally] = field(default_factory=dict)
    extras: Extras = NOTHING
    kept: frozenset[int] = frozenset()

    def part(self, share: list[int]) -> "Work":
        """The same for some of the sequences."""
        return replace(self, missing=share, recorded={i: t for i, t in self.recorded.items() if i in set(share)})


def remaining(folder: RunFolder, view: SplitView, count: int, extras: Extras = NOTHING) -> Work:
    """Find which of the first ``count`` sequences lack a tally, or something that is to be kept.

    What a killed process has left of what is kept is removed.

    Args:
        folder: The run folder, held by this process, and no other process writes in it.
        view: The split of the run.
        count: Number of sequences of the run.
        extras: What to keep besides tallies.
    """
    DiagnosticsFolder(folder.path, folder.run).remove_leftovers()
    chosen = choose(count, extras.forecasts) if extras.forecasts else []
    if chosen:
        KeptForecasts(folder.path, folder.run).prepare(view, chosen)
    every = list(range(count))
    return outstanding(Work(folder.path, folder.run, folder.leads, every, extras=extras, kept=frozenset(chosen)))


def outstanding(work: Work) -> Work:
    """What is left of ``work``, by the files in its folder; other processes may be writing there."""
    records, among = read_journals(work.folder, work.leads, work.run), set(work.missing)
    missing = among - set(records["index"].tolist())
    lacking = DiagnosticsFolder(work.folder, work.run).missing(i for i in work.missing if work.extras.diagnosed(i))
    chosen = work.kept & among
    kept = KeptForecasts(work.folder, work.run).missing(chosen - missing) | (chosen & missing)
    lacking = (lacking | kept) - missing
    recorded = {i: sum_records(records[records["index"] == i], work.leads) for i in sorted(lacking)}
    return replace(work, missing=sorted(missing | lacking), recorded=recorded, kept=frozenset(kept))


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
        self._recorded = work.recorded
        self._diagnosing: Diagnosing | None = None
        self._keeping: Keeping | None = None
        wanted = {i for i in work.missing if work.extras.diagnosed(i)}
        if wanted:
            self.env = self._diagnosing = Diagnosing(env, DiagnosticsFolder(work.folder, work.run), wanted)
        if kept := work.kept.intersection(work.missing):
            self.env = self._keeping = Keeping(self.env, KeptForecasts(work.folder, work.run), set(kept))
        self._journal = Journal(journal, work.leads, work.run)

    def add(self, index: int, tally: Tally) -> bool:
        """Record a sequence, its tally last; return False if it was not wanted."""
        if index not in self.wanted:
            return False
        if self._diagnosing:
            self._diagnosing.keep(index, self._recorded.get(index, tally))
        if self._keeping:
            self._keeping.keep(index, tally, self._recorded.get(index, tally))
        if index not in self._recorded:
            self._journal.add(index, tally)
        self.wanted.remove(index)
        return True

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
