"""Run folders: one sealed tally a sequence, written as it is revealed, and the tables derived from them.

A folder is named after all that can move its scores, so a run is never overwritten by another. It counts as complete
only once ``complete.json`` is there, which is written last. Journals, checkpoints and that mark carry the run's digest,
so a file of another run never counts here.
"""

import csv
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from hko7env.files import write_atomically
from hko7env.scores import COUNTS, ERRORS, Tally, averages, scores
from hko7env.units import THRESHOLDS

EVENT_SCORES = ("csi", "hss", "pod", "far", "gss", "bias")
UNDEFINED = "–"  # noqa: RUF001 - a dash, as tables print it
_SYNC_SECONDS = 5.0
_NUMBERED = re.compile(r"[0-9]{4,}\.journal|[0-9]{6,}\.(checkpoint|json)")
_NAMED = ("config.json", "tally.npz", "leads.csv", "table.md", "complete.json")
# What a killed writer leaves: files of write_atomically, and checkpoints that an agent was still writing.
_PARTIAL = re.compile(
    rf"({'|'.join(map(re.escape, _NAMED))}|[0-9]{{6,}}\.(checkpoint|json))\.[0-9]+\.partial|[0-9]{{6,}}\.partial.*"
)


class RunError(ValueError):
    """A run folder that cannot be used; the message names it and the remedy."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of an OSError what could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        remedy = "move it elsewhere" if isinstance(error, IsADirectoryError) else "make room, or choose another --out"
        raise RunError(
            f"cannot write {path} ({error.strerror or error}): {remedy}, and give the same command again; what was "
            "finished is kept"
        ) from error


def read_facts(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in ``path``. Raises RunError, which names it and the ``remedy``, if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # of JSON and UTF-8 too
        raise RunError(f"{path} is damaged ({getattr(error, 'strerror', None) or error}): {remedy}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged (no JSON object): {remedy}")
    return found


class Journal:
    """An append-only file of (sequence index, tally) records of fixed size, each with its crc32c.

    A record is handed to the system as soon as it is added, so it outlives the process; a torn last record, one that
    fails its checksum, or one of another ``run`` is left out on reading.
    """

    def __init__(self, path: Path, leads: int, run: str = "") -> None:
        self._dtype, self._path, self._run = record_dtype(leads), path, run
        with writing(path):
            self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def add(self, index: int, tally: Tally) -> None:
        """Append one sequence's tally. Raises RunError if it cannot be written."""
        record = np.zeros((), self._dtype)
        record["index"] = index
        record["counts"] = [getattr(tally, name) for name in COUNTS]
        record["sums"] = [getattr(tally, name) for name in ERRORS]
        record["crc"] = _checksum(record.tobytes(), self._run)
        with writing(self._path):
            if self._file.write(record.tobytes()) != self._dtype.itemsize:
                raise OSError("the disk is full")
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def close(self) -> None:
        """Bring everything to the disk and close the file."""
        with writing(self._path):
            os.fsync(self._file.fileno())
            self._file.close()


def record_dtype(leads: int) -> np.dtype[Any]:
    """One record of a :class:`Journal` for K ``leads``; the crc covers the run's digest and the bytes before it."""
    shape = (len(COUNTS), leads, len(THRESHOLDS))
    return np.dtype([("index", "<i8"), ("counts", "<i4", shape), ("sums", "<f8", (len(ERRORS), leads)), ("crc", "<u4")])


def _checksum(record: bytes, run: str) -> int:
    return int(google_crc32c.extend(google_crc32c.value(run.encode()), record[:-4]))


def read_journal(path: Path, leads: int, run: str = "") -> npt.NDArray[Any]:
    """The sound records of a journal of ``run``, in the order of writing. Raises RunError if it cannot be read."""
    dtype = record_dtype(leads)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror or error}): restore or remove it") from error
    records = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    return records[[_checksum(r.tobytes(), run) == int(r["crc"]) for r in records]]


def total(records: npt.NDArray[Any], leads: int) -> Tally:
    """The tally of all ``records``, added in the order of their index, each index once."""
    _, first = np.unique(records["index"], return_index=True)
    chosen = records[first]
    if len(chosen) == 0:
        return Tally.zero(leads)
    counts = chosen["counts"].sum(axis=0, dtype=np.int64)
    return Tally(len(chosen), *counts, *np.cumsum(chosen["sums"], axis=0)[-1])  # cumsum: one order on every machine


class RunFolder:
    """The results of one agent in one setting; ``identity`` is all that can move its scores, ``run`` its sha256."""

    def __init__(self, root: Path, name: str, identity: dict[str, Any], context: dict[str, Any], leads: int) -> None:
        self.run = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.path = Path(root) / f"{name}-{self.run[:10]}"
        self.identity, self.context, self.leads = identity, context, leads

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder if need be, keep other processes out, and remove what a killed process has left.

        The system lets go when the holder dies. Raises RunError if another is in, or something foreign in the way.
        """
        from filelock import FileLock, Timeout

        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        with writing(self.path / ".lock"):
            try:
                lock.acquire()
            except Timeout as error:
                raise RunError(f"another process is at {self.path}: wait for it, or choose another --out") from error
        try:
            self._check_names()
            self._check_config()
            self._remove_leftovers()
            yield
        finally:
            lock.release()

    def _check_names(self) -> None:
        for path in sorted(self.path.iterdir()):
            ours = path.name in _NAMED or _NUMBERED.fullmatch(path.name)
            if path.suffix in (".journal", ".checkpoint") and not ours:
                raise RunError(f"{path} is no file of this run: move it elsewhere")
            if ours and not path.is_file():
                raise RunError(f"{path} should be a file: move it elsewhere, and give the same command again")

    def _check_config(self) -> None:
        """``config.json`` says of what this folder is; a new folder gets it."""
        config = self.path / "config.json"
        if not config.exists():
            text = json.dumps({"identity": self.identity, "context": self.context}, indent=1)
            with writing(config):
                write_atomically(config, text.encode())
            return
        anew = "remove it and give the same command again, which writes it anew"
        if read_facts(config, anew).get("identity") != json.loads(json.dumps(self.identity)):
            raise RunError(f"{config} is damaged, or belongs to another run: choose another --out, or {anew}")

    def _remove_leftovers(self) -> None:
        """Remove what nobody can use: partial files, empty journals, and a checkpoint or its sidecar alone."""
        for path in sorted(self.path.iterdir()):
            pair = {".checkpoint": ".json", ".json": ".checkpoint"}.get(path.suffix, "")
            useless = (
                _PARTIAL.fullmatch(path.name)
                or (path.suffix == ".journal" and path.stat().st_size == 0)
                or (pair and _NUMBERED.fullmatch(path.name) and not path.with_suffix(pair).exists())
            )
            if useless:
                with writing(path):
                    path.unlink()

    def finished(self) -> Tally | None:
        """The tally of a complete run, or None. Raises RunError if it is not what was written."""
        mark, saved = self.path / "complete.json", self.path / "tally.npz"
        if not mark.exists():
            return None
        remedy = f"remove {mark} and give the same command again, which adds the journals up anew"
        found = read_facts(mark, remedy)
        data = saved.read_bytes() if saved.exists() else b""
        if found.get("run") != self.run:
            raise RunError(f"{mark} is damaged, or belongs to another run: {remedy}")
        if hashlib.sha256(data).hexdigest() != found.get("tally_sha256"):
            raise RunError(f"{saved} or {mark.name} is damaged or missing: {remedy}")
        with np.load(io.BytesIO(data)) as arrays:
            tally = Tally(int(arrays["sequences"]), *(arrays[name] for name in COUNTS + ERRORS))
        if tally.sequences != found.get("sequences"):
            raise RunError(f"{mark} is damaged: {remedy}")
        return tally

    def records(self) -> npt.NDArray[Any]:
        """All sound records of all journals."""
        parts = [read_journal(path, self.leads, self.run) for path in sorted(self.path.glob("*.journal"))]
        return np.concatenate(parts) if parts else np.zeros(0, record_dtype(self.leads))

    def new_journal(self) -> Path:
        """An empty journal under a name that no earlier attempt has used."""
        numbers = [int(path.stem) for path in self.path.glob("*.journal")]
        path = self.path / f"{max(numbers, default=-1) + 1:04d}.journal"
        with writing(path):
            path.touch(exist_ok=False)
        return path

    def recorded(self) -> int:
        """How many records the journals hold, by their size: cheap enough to poll."""
        return sum(p.stat().st_size for p in self.path.glob("*.journal")) // record_dtype(self.leads).itemsize

    def tally(self) -> Tally:
        """The tally of all sequences recorded so far."""
        return total(self.records(), self.leads)

    def finish(self, row: "Row", cadence: int) -> None:
        """Write ``tally.npz``, ``leads.csv`` and ``table.md``, then mark the run complete."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(row.tally, name) for name in ("sequences", *COUNTS, *ERRORS)})
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        mark = {"run": self.run, "sequences": row.tally.sequences, "tally_sha256": digest}
        contents = {
            "tally.npz": buffer.getvalue(),
            "leads.csv": leads_csv(row.tally, cadence).encode(),
            "table.md": table([row]).encode(),
            "complete.json": json.dumps(mark, indent=1).encode(),  # last
        }
        for name, data in contents.items():
            with writing(self.path / name):
                write_atomically(self.path / name, data)


@dataclass(frozen=True, eq=False)
class Row:
    """One line of a table: who forecast what, and the tally of it, over ``episodes`` of unbroken sequences."""

    agent: str
    setting: str
    data: str
    tally: Tally
    episodes: int


def leads_csv(tally: Tally, cadence: int) -> str:
    """Counts, error sums and scores per lead as CSV; an undefined score is an empty cell beside its sample count."""
    by_name = scores(tally)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    events = [f"{t:g}" for t in THRESHOLDS]
    names = [f"{name}_{event}" for name in (*EVENT_SCORES, *COUNTS, "samples") for event in events]
    writer.writerow(["lead", "minutes", "sequences", *names, "mse", "mae", "b_mse", "b_mae", *ERRORS])
    for k in range(len(tally.squared)):
        cells = [_cell(by_name[name][k, j]) for name in EVENT_SCORES for j in range(len(events))]
        counts = [int(getattr(tally, name)[k, j]) for name in (*COUNTS, "samples") for j in range(len(events))]
        errors = [_cell(by_name[name][k]) for name in ("mse", "mae", "b_mse", "b_mae")]
        sums = [repr(float(getattr(tally, name)[k])) for name in ERRORS]
        writer.writerow([k + 1, (k + 1) * cadence, tally.sequences, *cells, *counts, *errors, *sums])
    return out.getvalue()


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def table(rows: Sequence[Row]) -> str:
    """Table 3 of Shi et al. 2017 as markdown, with frequency bias and numbers of sequences and of episodes.

    What is undefined is said so.
    """
    events = [f"≥{t:g}" for t in THRESHOLDS]
    header = ["Agent", "Setting", *(f"CSI {e}" for e in events), *(f"HSS {e}" for e in events), "B-MSE", "B-MAE"]
    header += [*(f"bias {e}" for e in events), "sequences", "episodes"]
    lines: list[list[str]] = []
    notes: list[str] = []
    for row in rows:
        mean = averages(row.tally)
        cells = [row.agent, row.setting]
        cells += [_score(v, 4) for name in ("csi", "hss") for v in mean[name]]
        cells += [_score(mean[name], 0) for name in ("b_mse", "b_mae")]
        cells += [*(_score(v, 2) for v in mean["bias"]), str(row.tally.sequences), str(row.episodes)]
        lines.append(cells)
        notes += _undefined(row)
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    text = [_line(header, widths), _line(["-" * w for w in widths], widths), *(_line(line, widths) for line in lines)]
    legend = (
        "Mean over the lead times of scores pooled per lead; CSI and HSS at rain rates in mm/h; bias 1 is unbiased."
    )
    return "\n".join([*text, "", *sorted({row.data for row in rows}), legend, *notes, ""])


def _undefined(row: Row) -> Iterator[str]:
    """A line for each threshold and score that has no average, with the events that there were."""
    by_name, observed = scores(row.tally), row.tally.hits + row.tally.misses
    for j, threshold in enumerate(THRESHOLDS):
        missing = {name: int(np.isnan(by_name[name][:, j]).sum()) for name in ("csi", "hss", "bias")}
        said = [f"{name.upper() if name != 'bias' else name} at {n}" for name, n in missing.items() if n]
        if said:
            seen, either = observed[:, j], row.tally.samples[:, j]
            where = f"{UNDEFINED} {row.agent} {row.setting} ≥{threshold:g} mm/h"
            range_ = (
                f"per lead {seen.min()} to {seen.max()} events observed, {either.min()} to {either.max()} observed or"
            )
            yield f"{where}: undefined {', '.join(said)} of {len(seen)} leads, so no mean; {range_} forecast"


def _score(value: Any, digits: int) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return f"| {' | '.join(padded)} |"
