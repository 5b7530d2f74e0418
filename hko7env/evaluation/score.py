"""Score a file of forecasts made elsewhere into a run folder like those of ``evaluate``, resumable after any stop.

The sequences and tallies are those of an evaluation. A sequence without a whole forecast is missing: it is not scored,
and ``missing.json`` in the run folder lists it.
"""

import importlib.metadata
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

import hko7env
from hko7env import progress
from hko7env.archive import Archive
from hko7env.archive.format import iso
from hko7env.diagnostics.sums import Diagnoser
from hko7env.evaluation.code_digest import code_digest
from hko7env.evaluation.diagnostics import DiagnosticsFolder
from hko7env.evaluation.journal import Journal, RunError
from hko7env.evaluation.kept_forecasts import KeptForecasts
from hko7env.evaluation.missing import read_missing, write_missing
from hko7env.evaluation.plan import describe
from hko7env.evaluation.provenance import archive_facts
from hko7env.evaluation.recording import NOTHING, Extras, Work, remaining
from hko7env.evaluation.run_folder import RunFolder
from hko7env.evaluation.table import Result
from hko7env.forecast_files import ForecastFile, ForecastFileError, Missing
from hko7env.forecast_files.reading import NOT_IN_FILE, content_digest, signature
from hko7env.schedule import INPUTS, LEADS
from hko7env.scores import Tally
from hko7env.split_view import SplitView
from hko7env.units import level

SETTING = "external"
_NAME = re.compile(r"[\w.+-][\w.+ -]{0,79}")


@dataclass(frozen=True)
class ScorePlan:
    """What to score.

    Attributes:
        forecasts: A netCDF file or zarr store, see :mod:`hko7env.forecast_files`.
        archive: Path or URL of the archive whose frames are forecast; None means the default synthetic one.
        split: As of :class:`~hko7env.evaluation.evaluate.Plan`.
        limit: As of :class:`~hko7env.evaluation.evaluate.Plan`.
        name: Name of the forecasts in tables; None means that of the file, without its suffix.

    Raises:
        ValueError: If ``limit`` is below 1, or the name has characters other than letters, digits, blanks and ``_.+-``.
    """

    forecasts: Path
    archive: str | None = None
    split: str | None = None
    limit: int | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        if not _NAME.fullmatch(self.label):
            raise ValueError(
                f"a name has up to 80 letters, digits, blanks and _.+-, got {self.label!r}: give name another value"
            )

    @property
    def label(self) -> str:
        """The name in tables."""
        return Path(self.forecasts).resolve().stem if self.name is None else self.name

    def words(self, out: Path) -> list[str]:
        """The words of the command that scores this into the folder ``out`` of run folders."""
        words = ["hko7env", "score", str(self.forecasts), "--name", self.label]
        for flag, value in (("--archive", self.archive), ("--split", self.split), ("--limit", self.limit)):
            words += [] if value is None else [flag, str(value)]
        return [*words, "--out", str(out)]

    def view(self) -> SplitView:
        """Open the split of the archive. Raises ValueError if it holds no sequence."""
        archive = self.archive
        if archive is None:
            from hko7env.synthetic import default_archive

            archive = str(default_archive())
        view = SplitView(Archive(archive), self.split)
        if not len(view.schedule):
            raise ValueError(f"{view.archive.name}, split {view.split}, holds no sequence")
        return view


@dataclass(frozen=True, eq=False)
class Scored:
    """What came of a file.

    Attributes:
        result: The result over the sequences that have a forecast.
        missing: Reasons by the index of the sequences that have none.
        sequences: Number of sequences of the plan.
        folder: The run folder.
    """

    result: Result
    missing: dict[int, Missing]
    sequences: int
    folder: Path


def score(plan: ScorePlan, out: Path, *, extras: Extras = NOTHING) -> Scored:
    """Score the file of ``plan``, or what is left of it, in its folder under ``out``.

    Args:
        plan: What to score.
        out: Folder of run folders; it is created if necessary.
        extras: What to keep besides tallies, as of :func:`~hko7env.evaluation.evaluate.evaluate`.

    Raises:
        FileNotFoundError: If there is no such file or archive.
        ForecastFileError: If the file is damaged, does not follow the layout or has no forecast of the split.
        RunError: If another process scores the same, or a file of the run folder cannot be used. All finished
            sequences are kept.
    """
    view = plan.view()
    count = min(plan.limit or len(view.schedule), len(view.schedule))
    with ForecastFile(Path(plan.forecasts), view.archive) as file:
        before = signature(file.path)
        wanted = _available(file, view, count)
        folder = _open_folder(plan, file, view, count, out)
        with folder.held():
            folder.add_sequences(view.schedule)
            tally, absent = folder.finished(), {}
            if tally is None or extras:
                work, journal = remaining(folder, view, count, extras), folder.new_journal()
                try:
                    absent = _score_missing(file, view, wanted, folder, work, journal)
                finally:
                    changed = signature(file.path) != before
                    if changed:
                        journal.unlink()  # it may hold tallies of another content
                if changed:
                    raise ForecastFileError(f"{file.path} was changed while it was scored: score it again")
            if tally is None:
                missing = {index: Missing(NOT_IN_FILE) for index in sorted(set(range(count)) - set(wanted))} | absent
                tally = _finish(plan, view, folder, missing, count)
            else:
                missing = read_missing(folder)
                _check_count(folder, tally.sequences + len(missing), count)
    return Scored(_result(plan, view, tally, count), dict(sorted(missing.items())), count, folder.path)


def _result(plan: ScorePlan, view: SplitView, tally: Tally, count: int) -> Result:
    return Result(plan.label, SETTING, describe(view, count), tally, view.schedule.episode(count - 1) + 1)


def _finish(plan: ScorePlan, view: SplitView, folder: RunFolder, missing: dict[int, Missing], count: int) -> Tally:
    """Write the results of a run of which nothing is left."""
    tally = folder.tally()
    if not tally.sequences:
        why = next(f"{one.why}, {one.where}" for one in missing.values() if one.where)
        raise ForecastFileError(f"{plan.forecasts} has no whole forecast: {why}")
    _check_count(folder, tally.sequences + len(missing), count)
    write_missing(folder, view.schedule, missing)
    folder.finish(_result(plan, view, tally, count), view.archive.cadence)
    return tally


def _check_count(folder: RunFolder, found: int, count: int) -> None:
    if found != count:
        raise RunError(
            f"{folder.path} holds {found} of {count} sequences, those listed as missing included: remove its "
            "complete.json and missing.json, and score the file again"
        )


def issue_time(view: SplitView, index: int) -> int:
    """Issue time of sequence ``index``, minutes since 1970-01-01: that of its last observed slot."""
    return int(view.schedule.slots(index)[INPUTS - 1])


def _available(file: ForecastFile, view: SplitView, count: int) -> list[int]:
    """Indices of the sequences whose issue times are in the file."""
    found = [index for index in range(count) if file.index_of(issue_time(view, index)) is not None]
    if not found:
        times = file.layout.issue_times
        raise ForecastFileError(
            f"{file.path} has no forecast of {view.archive.name}, split {view.split}: it has {len(times)} issue times "
            f"from {iso(int(times[0]))} to {iso(int(times[-1]))}, the split's {count} sequences are issued from "
            f"{iso(issue_time(view, 0))} to {iso(issue_time(view, count - 1))}, such as at "
            f"{iso(issue_time(view, min(1, count - 1)))}; an issue time is that of the newest frame seen"
        )
    return found


def _open_folder(plan: ScorePlan, file: ForecastFile, view: SplitView, count: int, out: Path) -> RunFolder:
    """The run folder; its name holds a digest of the file's content and of all else that can change a score."""
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "zarr", "xarray")}
    identity = {
        "agent": plan.label,
        "options": {"forecasts": content_digest(file.path)},
        "setting": SETTING,
        "archive": view.archive.fingerprint,
        "split": view.split,
        "schedule": view.schedule.sha256,
        "sequences": count,
        "code": code_digest("hko7env.forecast_files"),
        "versions": {"hko7env": hko7env.__version__, **{name: versions[name] for name in ("numpy", "xarray")}},
    }
    layout = file.layout
    context = {
        "archive": str(plan.archive or "default"),
        "options": {
            "forecasts": str(plan.forecasts),
            "variable": layout.variable,
            "units": layout.units,
            "notes": "; ".join(layout.notes),
        },
        "versions": {"python": platform.python_version(), **versions},
        "command": plan.words(out),
        "data": archive_facts(view.archive),
        "protocol": {"inputs": INPUTS, "leads": LEADS, "cadence": view.archive.cadence},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    name = f"{plan.label.replace(' ', '_')}-{SETTING}-{view.split}"
    return RunFolder(out, name, identity, context, LEADS)


def _score_missing(
    file: ForecastFile, view: SplitView, wanted: list[int], folder: RunFolder, work: Work, path: Path
) -> dict[int, Missing]:
    """Score what remains of the sequences ``wanted`` into the journal at ``path``; returns why some cannot be."""
    left = sorted(set(wanted).intersection(work.missing))
    absent: dict[int, Missing] = {}
    journal, kept = Journal(path, LEADS, folder.run), KeptForecasts(folder.path, folder.run)
    diagnostics, diagnoser = DiagnosticsFolder(folder.path, folder.run), Diagnoser(view.scored, view.archive.zr)
    try:
        with progress.bar(len(wanted), file.path.name, "seq", done=len(wanted) - len(left)) as bar:
            for index in left:
                forecast, valid_times = file.read(issue_time(view, index)), view.schedule.slots(index)[INPUTS:]
                bar.update()
                if isinstance(forecast, Missing):
                    absent[index] = forecast
                    continue
                tally = view.score(valid_times, forecast)
                if work.extras.diagnosed(index):
                    truth, present = view.frames_at(valid_times)
                    mask = view.mask_of(truth, present)
                    diagnostics.save(index, diagnoser.measure(truth, present, mask, forecast))
                if index in work.kept:
                    kept.save(index, level(forecast))
                if index not in work.recorded:
                    journal.add(index, tally)
    finally:
        journal.close()
    return absent
