"""Run folders: one sealed tally a sequence, written as it is revealed, and the tables derived from them.

A folder is named after all that can move its scores, so a run is never overwritten by another. It counts as complete
only once ``complete.json`` is there, which is written last.
"""

import csv
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from hko7env.scores import COUNTS, ERRORS, Tally, averages, scores
from hko7env.units import THRESHOLDS

EVENT_SCORES = ("csi", "hss", "pod", "far", "gss", "bias")
UNDEFINED = "–"  # noqa: RUF001 - a dash, as tables print it
_SYNC_SECONDS = 5.0


class RunError(ValueError):
    """A run folder that cannot be used; the message names it and the remedy."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say of an OSError what could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror or error}): make room, or choose another --out, and give the same "
            "command again; what was finished is kept"
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` as a whole: whatever stops the writer, the file is the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Journal:
    """An append-only file of (sequence index, tally) records of fixed size, each with its crc32c.

    A record is handed to the system as soon as it is added, so it outlives the process; a torn last record, or one
    that fails its checksum, is left out on reading.
    """

    def __init__(self, path: Path, leads: int) -> None:
        self._dtype, self._path = record_dtype(leads), path
        self._file = path.open("ab", buffering=0)
        self._synced = time.monotonic()

    def add(self, index: int, tally: Tally) -> None:
        """Append one sequence's tally. Raises RunError if it cannot be written."""
        record = np.zeros((), self._dtype)
        record["index"] = index
        record["counts"] = [getattr(tally, name) for name in COUNTS]
        record["sums"] = [getattr(tally, name) for name in ERRORS]
        record["crc"] = google_crc32c.value(record.tobytes()[:-4])
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
    """One record of a :class:`Journal` for K ``leads``; the crc covers the bytes before it."""
    shape = (len(COUNTS), leads, len(THRESHOLDS))
    return np.dtype([("index", "<i8"), ("counts", "<i4", shape), ("sums", "<f8", (len(ERRORS), leads)), ("crc", "<u4")])


def read_journal(path: Path, leads: int) -> npt.NDArray[Any]:
    """The sound records of a journal, in the order of writing."""
    dtype = record_dtype(leads)
    data = path.read_bytes()
    records = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    return records[[google_crc32c.value(r.tobytes()[:-4]) == int(r["crc"]) for r in records]]


def total(records: npt.NDArray[Any], leads: int) -> Tally:
    """The tally of all ``records``, added in the order of their index, each index once."""
    _, first = np.unique(records["index"], return_index=True)
    chosen = records[first]
    if len(chosen) == 0:
        return Tally.zero(leads)
    counts = chosen["counts"].sum(axis=0, dtype=np.int64)
    return Tally(len(chosen), *counts, *np.cumsum(chosen["sums"], axis=0)[-1])  # cumsum: one order on every machine


class RunFolder:
    """The results of one agent in one setting; ``identity`` is all that can move its scores."""

    def __init__(self, root: Path, name: str, identity: dict[str, Any], context: dict[str, Any], leads: int) -> None:
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
        self.path = Path(root) / f"{name}-{digest}"
        self.identity, self.leads = identity, leads
        config = self.path / "config.json"
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if config.exists():
            found = json.loads(config.read_text(encoding="utf-8"))["identity"]
            if found != json.loads(json.dumps(identity)):
                raise RunError(f"{self.path} belongs to another run: choose another --out")
        else:
            text = json.dumps({"identity": identity, "context": context}, indent=1)
            with writing(config):
                write_atomically(config, text.encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out; the system lets go when the holder dies. Raises RunError if another is in."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(f"another process is at {self.path}: wait for it, or choose another --out") from error
        try:
            yield
        finally:
            lock.release()

    def finished(self) -> Tally | None:
        """The tally of a complete run, or None. Raises RunError if it is not what was written."""
        mark, saved = self.path / "complete.json", self.path / "tally.npz"
        if not mark.exists():
            return None
        data = saved.read_bytes() if saved.exists() else b""
        if hashlib.sha256(data).hexdigest() != json.loads(mark.read_text(encoding="utf-8"))["tally_sha256"]:
            raise RunError(f"{saved} is damaged or missing: remove {self.path} and run again")
        with np.load(io.BytesIO(data)) as arrays:
            return Tally(int(arrays["sequences"]), *(arrays[name] for name in COUNTS + ERRORS))

    def records(self) -> npt.NDArray[Any]:
        """All sound records of all journals."""
        parts = [read_journal(path, self.leads) for path in sorted(self.path.glob("*.journal"))]
        return np.concatenate(parts) if parts else np.zeros(0, record_dtype(self.leads))

    def new_journal(self) -> Path:
        """A name for a journal that no earlier attempt has used."""
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
        mark = json.dumps({"sequences": row.tally.sequences, "tally_sha256": digest}, indent=1)
        with writing(self.path):
            write_atomically(self.path / "tally.npz", buffer.getvalue())
            write_atomically(self.path / "leads.csv", leads_csv(row.tally, cadence).encode())
            write_atomically(self.path / "table.md", table([row]).encode())
            write_atomically(self.path / "complete.json", mark.encode())


class Row:
    """One line of a table: who forecast what, and the tally of it."""

    def __init__(self, agent: str, setting: str, data: str, tally: Tally) -> None:
        self.agent, self.setting, self.data, self.tally = agent, setting, data, tally


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
    """Table 3 of Shi et al. 2017 as markdown, with frequency bias and sequence count; what is undefined is said so."""
    events = [f"≥{t:g}" for t in THRESHOLDS]
    header = ["Agent", "Setting", *(f"CSI {e}" for e in events), *(f"HSS {e}" for e in events), "B-MSE", "B-MAE"]
    header += [*(f"bias {e}" for e in events), "sequences"]
    lines: list[list[str]] = []
    notes: list[str] = []
    for row in rows:
        mean = averages(row.tally)
        cells = [row.agent, row.setting]
        cells += [_score(v, 4) for name in ("csi", "hss") for v in mean[name]]
        cells += [_score(mean[name], 0) for name in ("b_mse", "b_mae")]
        cells += [*(_score(v, 2) for v in mean["bias"]), str(row.tally.sequences)]
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
