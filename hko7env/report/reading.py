"""Reading of run folders: damage is found, and runs that cannot be compared are refused or stand apart."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.evaluation.journal import RunError, sum_records
from hko7env.evaluation.missing import MISSING, read_missing
from hko7env.evaluation.provenance import SEQUENCES, evaluate_command, split_command
from hko7env.evaluation.run_folder import RunFolder, is_run_folder
from hko7env.report.comparison import Comparison, Incomplete, Run
from hko7env.scores import averages

_MOST = 10_000_000  # sequences of a run; more are a sign of damage
_IDENTITY = {
    "agent": str, "options": dict, "setting": str, "archive": str, "split": str, "schedule": str, "sequences": int,
    "code": str, "versions": dict,
}  # fmt: skip


def read_comparisons(paths: Sequence[Path]) -> list[Comparison]:
    """Read run folders and group those that can be compared.

    Args:
        paths: Run folders, or folders that contain run folders.

    Returns:
        One comparison for each archive, split, schedule and number of sequences, in the order of ``paths``.

    Raises:
        RunError: If a folder is no run folder or damaged, if runs that should agree do not, or if no run is complete.
    """
    complete: dict[tuple[Any, ...], list[Run]] = {}
    incomplete: dict[tuple[Any, ...], list[Incomplete]] = {}
    for path in _run_folders(paths):
        try:
            folder = _open(path)
            found = _read(folder)
        except OSError as error:
            raise RunError(f"cannot read {error.filename or path} ({error.strerror or error}): restore it") from error
        key = tuple(folder.identity[name] for name in ("archive", "split", "schedule", "sequences"))
        if isinstance(found, Run):
            complete.setdefault(key, []).append(found)
        else:
            incomplete.setdefault(key, []).append(found)
    if not complete:
        unseen = [run for runs in incomplete.values() for run in runs]
        raise RunError("; ".join(f"{run.path} {run.lacks}: complete it with `{run.command}`" for run in unseen))
    first = next(iter(complete))
    for key in [key for key in incomplete if key not in complete]:
        incomplete.setdefault(first, []).extend(incomplete[key])
    return [_compare(runs, incomplete.get(key, [])) for key, runs in complete.items()]


def _run_folders(paths: Sequence[Path]) -> Iterator[Path]:
    """The run folders named by ``paths`` or in them, each once."""
    seen = set()
    for path in map(Path, paths):
        if not path.is_dir():
            raise RunError(f"{path} is no folder: name run folders, or a folder of run folders such as results")
        inside = [path] if is_run_folder(path) else sorted(p for p in path.iterdir() if is_run_folder(p))
        if (path / "live.json").exists():
            raise RunError(
                f"{path} is the folder of a live run: write its run folders with `hko7env live-results {path}`"
            )
        if not inside:
            raise RunError(f"{path} holds no run folder (one with config.json): name the folder that `evaluate` wrote")
        for folder in inside:
            whole = folder.resolve()
            if whole not in seen:
                seen.add(whole)
                yield folder if folder.name else whole  # "." has no name


def _open(path: Path) -> RunFolder:
    """Open a run folder and check what every comparison needs of its identity."""
    folder = RunFolder.open(path)
    for name, kind in _IDENTITY.items():
        if not isinstance(folder.identity.get(name), kind):
            raise RunError(f"{path / 'config.json'} lacks {name!r}: evaluate the agent again")
    return folder


def _read(folder: RunFolder) -> Run | Incomplete:
    """Read a run and check that its journals, its sum and its identity agree."""
    command = tuple(_command(folder))
    records = folder.records()
    records = records[np.unique(records["index"], return_index=True)[1]]
    expected = _expected(folder)
    total = folder.finished()
    if total is None:
        lacks = f"was interrupted after {len(records)} of {len(expected)} sequences"
        return Incomplete(folder.path, lacks, shlex.join(command))
    if not (folder.path / SEQUENCES).exists():
        lacks = f"lacks {SEQUENCES}, which earlier versions did not write and which says when forecasts were issued"
        return Incomplete(folder.path, lacks, shlex.join(command))
    schedule = folder.sequences()
    index = records["index"].astype(np.int64)
    again = f"restore its journals, or remove the folder and repeat `{shlex.join(command)}`"
    if not np.array_equal(index, expected) or total.sequences != len(index):
        raise RunError(f"{folder.path} has sound records of {len(index)} of {len(expected)} sequences: {again}")
    if len(index) == 0 or index[-1] >= len(schedule):
        raise RunError(f"{folder.path} has records of no sequence, or of others than its {len(schedule)}: {again}")
    if schedule.leads != len(total.squared) or sum_records(records, folder.leads) != total:
        raise RunError(f"the journals of {folder.path} do not add up to its tally.npz: {again}")
    counts, sums = records["counts"].astype(np.int64), records["sums"].astype(np.float64)
    return Run(folder, "", index, counts, sums, total, schedule, command)


def _expected(folder: RunFolder) -> npt.NDArray[np.int64]:
    """Numbers of the sequences that a complete run has: the first ones, without forecasts known to be missing."""
    planned, missing = int(folder.identity["sequences"]), sorted(read_missing(folder))
    if not 0 < planned <= _MOST:
        raise RunError(f"{folder.path / 'config.json'} is damaged ({planned} sequences): evaluate the agent again")
    if missing and not 0 <= missing[0] <= missing[-1] < planned:
        raise RunError(f"{folder.path / MISSING} is damaged (a sequence beyond {planned}): score the file again")
    return np.setdiff1d(np.arange(planned), np.array(missing, np.int64))


def _command(folder: RunFolder) -> list[str]:
    """The words of the command that makes the run; run folders of early versions do not hold them."""
    identity, context = folder.identity, folder.context
    if "command" in context:
        try:
            return split_command(context["command"])
        except ValueError as error:
            raise RunError(f"{folder.path / 'config.json'} is damaged ({error}): evaluate the agent again") from error
    options = context.get("options")
    archive = context.get("archive")
    return evaluate_command(
        identity["agent"],
        identity["setting"],
        archive=None if archive in (None, "default") else str(archive),
        split=identity["split"],
        limit=identity["sequences"],
        cleaned=bool(identity.get("cleaned")),
        options=options if isinstance(options, dict) else identity["options"],
        out=folder.path.parent,
    )


def _compare(runs: list[Run], incomplete: list[Incomplete]) -> Comparison:
    """Name the runs and check that all have the same sequences and were scored against the same truth."""
    first = runs[0]
    for run in runs[1:]:
        if not np.array_equal(run.index, first.index):
            fewer, more = sorted((run, first), key=lambda r: len(r.index))
            lacking = np.setdiff1d(more.index, fewer.index)[:5].tolist()
            raise RunError(
                f"{fewer.path} lacks forecasts that {more.path} has, of sequences {', '.join(map(str, lacking))} ...: "
                "leave it out, or compare runs that have the same sequences"
            )
        if run.counts.shape != first.counts.shape or not np.array_equal(_observed(run), _observed(first)):
            raise RunError(
                f"{run.path} and {first.path} name the same archive and schedule but were scored against different "
                "observations: evaluate both again"
            )
    ranked = sorted(_distinct(runs), key=lambda run: float(averages(run.tally)["b_mse"]))
    return Comparison(tuple(_named(ranked)), tuple(incomplete))


def _observed(run: Run) -> npt.NDArray[np.int64]:
    """(2, N, K, 5) numbers of observed events and of scored locations, which do not depend on the forecasts."""
    hits, misses, _, _ = np.moveaxis(run.counts, 1, 0)
    return np.stack([hits + misses, run.counts.sum(axis=1)])


def _distinct(runs: list[Run]) -> list[Run]:
    """Keep one of the runs of an agent that differ in the setting alone and agree in every tally."""
    kept: list[Run] = []
    for run in runs:
        for i, other in enumerate(kept):
            if run.is_setting_of(other):
                kept[i] = replace(other, same=(*other.same, run))
                break
        else:
            kept.append(run)
    return kept


def _named(runs: list[Run]) -> Iterator[Run]:
    """Give each run the shortest name that tells it apart: agent, setting, options that differ, digest, number."""
    seen: list[str] = []
    for run in runs:
        name = run.short_agent
        same = [other for other in runs if other.agent == run.agent]
        twins = [other for other in same if other.setting == run.setting]
        if len(twins) < len(same):
            name += f" {run.setting}"
        options = sorted({n for other in twins for n in other.options if other.options.get(n) != run.options.get(n)})
        name += f" ({', '.join(f'{n} {run.options.get(n)}' for n in options)})" if options else ""
        if any(other is not run and other.options == run.options for other in twins):
            name += f" [{run.folder.run[:6]}]"
        seen.append(name)
        name += f" #{seen.count(name)}" if seen.count(name) > 1 else ""  # copies of one folder
        yield replace(run, name=name)
