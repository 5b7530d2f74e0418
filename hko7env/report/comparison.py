"""Runs of the same archive, split, schedule and sequences, with tallies by sequence, blocks and intervals."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.evaluation.run_folder import RunFolder
from hko7env.evaluation.score import SETTING as EXTERNAL
from hko7env.report.blocks import blocks_of
from hko7env.report.bootstrap import Bootstrap, add_up, bootstrap
from hko7env.report.diagnosed import Diagnosed, read_diagnosed
from hko7env.schedule import Minutes, Schedule
from hko7env.scores import Tally


@dataclass(frozen=True, eq=False)
class Run:
    """A complete run: its identity and one tally per sequence.

    Attributes:
        folder: The run folder.
        name: Short name, unique within a comparison.
        index: (N,) int64 numbers of the scored sequences in the schedule, increasing.
        counts: (N, 4, K, 5) int64, :data:`hko7env.scores.COUNTS` by lead time and threshold.
        sums: (N, 4, K) float64, :data:`hko7env.scores.ERRORS` by lead time.
        tally: The tally of all of them.
        schedule: All sequences of the run's split.
        command: Words of the command that made the run.
        same: Runs of the same agent and options in the other setting that agree in every tally, not shown of their own.
    """

    folder: RunFolder
    name: str
    index: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    tally: Tally
    schedule: Schedule
    command: tuple[str, ...]
    same: "tuple[Run, ...]" = ()

    @property
    def path(self) -> Path:
        """The run folder's path."""
        return self.folder.path

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that can change the scores, see :func:`hko7env.evaluation.evaluate.open_folder`."""
        return self.folder.identity

    @property
    def agent(self) -> str:
        """Name of the agent."""
        return str(self.identity["agent"])

    @property
    def short_agent(self) -> str:
        """Name of the agent without the package ``agents``."""
        return self.agent.removeprefix("agents.")

    @property
    def package_agent(self) -> str:
        """As ``short_agent``; empty for scored files, whose names are free."""
        return "" if self.setting == EXTERNAL else self.short_agent

    @property
    def setting(self) -> str:
        """``online``, ``offline``, or ``external`` for scored files."""
        return str(self.identity["setting"])

    @property
    def options(self) -> dict[str, Any]:
        """Options of the agent as they were given, defaults included."""
        found = self.folder.context.get("options")
        return dict(found) if isinstance(found, dict) else dict(self.identity["options"])

    @property
    def shown_command(self) -> str:
        """The command as one line of a shell."""
        return shlex.join(self.command)

    @property
    def settings(self) -> str:
        """As ``setting`` or, where online and offline have the same tallies, ``offline = online``."""
        return " = ".join(sorted({run.setting for run in (self, *self.same)}))

    def is_setting_of(self, other: "Run") -> bool:
        """Whether the runs differ in the setting alone and agree in the tally of every sequence."""
        alike = all(self.identity.get(name) == other.identity.get(name) for name in ("agent", "options", "code"))
        if not alike or self.setting in other.settings.split(" = "):
            return False
        return np.array_equal(self.counts, other.counts) and np.array_equal(self.sums, other.sums)


@dataclass(frozen=True)
class Incomplete:
    """A run that cannot be shown yet: its folder, what is missing, and the command that completes it."""

    path: Path
    lacks: str
    command: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs of the same archive, split, schedule and sequences, one group of a page.

    Attributes:
        runs: The runs, at least one, in the order of their B-MSE, the lowest first.
        incomplete: Runs left out because something is missing; those of other data are with the first comparison.
    """

    runs: tuple[Run, ...]
    incomplete: tuple[Incomplete, ...] = ()

    @property
    def schedule(self) -> Schedule:
        """The schedule of the split."""
        return self.runs[0].schedule

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """(N,) numbers of the scored sequences in the schedule."""
        return self.runs[0].index

    @property
    def minutes(self) -> npt.NDArray[np.int64]:
        """(K,) lead times in minutes."""
        return self.schedule.cadence * np.arange(1, self.schedule.leads + 1)

    @property
    def data(self) -> dict[str, Any]:
        """Facts about the archive, see :func:`hko7env.evaluation.provenance.archive_facts`; {} for old run folders."""
        known = [run.folder.context.get("data") for run in self.runs]
        return next((dict(data) for data in known if isinstance(data, dict)), {})

    @property
    def fingerprint(self) -> str:
        """sha256 of the archive."""
        return str(self.runs[0].identity["archive"])

    @property
    def split(self) -> str:
        """Name of the split."""
        return str(self.runs[0].identity["split"])

    @cached_property
    def issued(self) -> Minutes:
        """(N,) times of issue, minutes since 1970-01-01."""
        schedule = self.schedule
        return np.asarray(schedule.starts[self.index] + (schedule.inputs - 1) * schedule.cadence)

    @cached_property
    def episode(self) -> npt.NDArray[np.int64]:
        """(N,) numbers of the episodes."""
        return np.searchsorted(self.schedule.episode_starts, self.index, "right") - 1

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Intervals of all scores and differences, in the order of ``runs``."""
        return bootstrap([add_up(self.block, run.counts, run.sums) for run in self.runs])

    @cached_property
    def diagnosed(self) -> Diagnosed | None:
        """What was kept by ``evaluate --keep diagnostics``, or None."""
        return read_diagnosed(self)

    @cached_property
    def block(self) -> npt.NDArray[np.int64]:
        """(N,) numbers of the blocks, 0 to B - 1, see :func:`hko7env.report.blocks.blocks_of`."""
        return blocks_of(self.episode, self.issued)
