"""Run folders: the results of one agent in one setting.

The name of a folder ends in a digest of everything that can change its scores, so one run never overwrites another. A
run is complete once ``complete.json`` exists, which is written last. Journals, checkpoints and that file carry the
run's digest, so files of other runs are never counted.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.evaluation.journal import (
    RunError,
    create_journal,
    read_journal,
    read_journals,
    record_dtype,
    sum_records,
    writing,
)
from hko7env.evaluation.provenance import SEQUENCES, read_sequences, sequences_csv
from hko7env.evaluation.table import Result, leads_csv, table
from hko7env.files import write_atomically
from hko7env.schedule import Schedule
from hko7env.scores import COUNTS, ERRORS, Tally

_MOST_LEADS = 10_000  # more are a sign of damage
_NUMBERED = re.compile(r"[0-9]{4,}\.journal|[0-9]{6,}\.(checkpoint|json)")
_NAMED = ("config.json", SEQUENCES, "tally.npz", "leads.csv", "table.md", "missing.json", "complete.json")
# Files that a killed process leaves: those of write_atomically, and unfinished checkpoints
_PARTIAL = re.compile(
    rf"({'|'.join(map(re.escape, _NAMED))}|[0-9]{{4,}}\.(checkpoint|json|claim))\.[0-9]+\.partial"
    r"|[0-9]{6,}\.partial.*"
)
_CLAIM = re.compile(r"[0-9]{4,}\.claim")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read the JSON object in ``path``. Raises RunError with the ``remedy`` if the file does not hold one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: bad JSON or UTF-8
        raise RunError(f"{path} is damaged ({getattr(error, 'strerror', None) or error}): {remedy}") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged (not a JSON object): {remedy}")
    return found


def is_run_folder(path: Path) -> bool:
    """Whether ``path`` is a folder with a file that only run folders have, perhaps a damaged one."""
    return any((path / name).exists() for name in _NAMED) or any(path.glob("*.journal"))


def _sha256(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class RunFolder:
    """The folder of one run.

    Args:
        root: Folder in which run folders lie.
        name: First part of the folder's name, for readers; no code depends on it.
        identity: Everything that can change the scores, as JSON values.
        context: Further facts for readers, kept in ``config.json`` only.
        leads: Number K of lead times.

    Attributes:
        run: sha256 of the identity.
        path: The folder, which need not exist.
    """

    def __init__(self, root: Path, name: str, identity: dict[str, Any], context: dict[str, Any], leads: int) -> None:
        self.run = _sha256(identity)
        self.path = Path(root) / f"{name}-{self.run[:10]}"
        self.identity, self.context, self.leads = identity, context, leads
        self._mark = self.run  # digest that the files must carry

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open an existing run folder by its ``config.json``, whatever version of the code has written it.

        The first version did not write the run's digest into journals and ``complete.json``.

        Raises:
            RunError: If the folder has no sound ``config.json``, or one of another run.
        """
        config = Path(path) / "config.json"
        remedy = "restore it, or evaluate the agent again"
        found = read_json(config, remedy)
        try:
            leads = int(found["context"]["protocol"]["leads"])
            if not isinstance(found["identity"], dict) or not 0 < leads <= _MOST_LEADS:
                raise ValueError("no identity, or no possible number of lead times")
            folder = cls(Path(path).parent, Path(path).name.rpartition("-")[0], found["identity"], {}, leads)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{config} is damaged ({type(error).__name__}: {error}): {remedy}") from error
        if folder.path.name != Path(path).name:
            raise RunError(f"{config} is damaged, or belongs to another run than {path}: {remedy}")
        if found.get("context_sha256", _sha256(found["context"])) != _sha256(found["context"]):
            raise RunError(f"{config} is damaged (its context): {remedy}")
        folder.context = found["context"]
        if folder._is_unmarked():
            folder._mark = ""
        return folder

    def _is_unmarked(self) -> bool:
        complete = self.path / "complete.json"
        if complete.exists():
            return "run" not in read_json(complete, f"remove {complete}")
        return any(len(read_journal(path, self.leads, "")) for path in self.path.glob("*.journal"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Create the folder if necessary, lock it, and remove what a killed process has left.

        The operating system releases the lock when its holder dies.

        Raises:
            RunError: If another process holds the lock, or the folder contains foreign files of the names used here.
        """
        from filelock import FileLock, Timeout

        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", timeout=0)
        with writing(self.path / ".lock"):
            try:
                lock.acquire()
            except Timeout as error:
                raise RunError(
                    f"another process is running {self.path}: wait for it, or choose another output folder"
                ) from error
        try:
            self._check_names()
            self._check_config()
            self._remove_leftovers()
            yield
        finally:
            self._withdraw_claims()
            lock.release()

    def _withdraw_claims(self) -> None:
        """Remove all claims, so that jobs that still run on other machines end."""
        for path in self.path.glob("*.claim"):
            if _CLAIM.fullmatch(path.name):
                with writing(path):
                    path.unlink(missing_ok=True)

    def _check_names(self) -> None:
        for path in sorted(self.path.iterdir()):
            ours = path.name in _NAMED or _NUMBERED.fullmatch(path.name)
            if path.suffix in (".journal", ".checkpoint") and not ours:
                raise RunError(f"{path} does not belong to this run: move it elsewhere")
            if ours and not path.is_file():
                raise RunError(f"{path} should be a file: move it elsewhere, and run it again")

    def _check_config(self) -> None:
        """Compare ``config.json`` with this run's identity; write it in a new folder."""
        config = self.path / "config.json"
        if not config.exists():
            facts = {"identity": self.identity, "context": self.context, "context_sha256": _sha256(self.context)}
            text = json.dumps(facts, indent=1)
            self._write(config.name, text.encode())
            return
        remedy = "remove it and run it again, which writes a new one"
        if read_json(config, remedy).get("identity") != json.loads(json.dumps(self.identity)):
            raise RunError(f"{config} is damaged, or belongs to another run: choose another output folder, or {remedy}")

    def _remove_leftovers(self) -> None:
        """Remove claims, partial files, empty journals, and checkpoints or sidecars without their counterpart."""
        for path in sorted(self.path.iterdir()):
            pair = {".checkpoint": ".json", ".json": ".checkpoint"}.get(path.suffix, "")
            useless = (
                _PARTIAL.fullmatch(path.name)
                or _CLAIM.fullmatch(path.name)
                or (path.suffix == ".journal" and path.stat().st_size == 0)
                or (pair and _NUMBERED.fullmatch(path.name) and not path.with_suffix(pair).exists())
            )
            if useless:
                with writing(path):
                    path.unlink()

    def finished(self) -> Tally | None:
        """The tally of a complete run, or None. Raises RunError if a file of it is damaged."""
        complete, saved = self.path / "complete.json", self.path / "tally.npz"
        if not complete.exists():
            return None
        remedy = f"remove {complete} and run it again, which adds up the journals again"
        found = read_json(complete, remedy)
        data = saved.read_bytes() if saved.exists() else b""
        if found.get("run", "") != self._mark:
            raise RunError(f"{complete} is damaged, or belongs to another run: {remedy}")
        if hashlib.sha256(data).hexdigest() != found.get("tally_sha256"):
            raise RunError(f"{saved} or {complete.name} is damaged or missing: {remedy}")
        with np.load(io.BytesIO(data)) as arrays:
            tally = Tally(int(arrays["sequences"]), *(arrays[name] for name in COUNTS + ERRORS))
        if tally.sequences != found.get("sequences"):
            raise RunError(f"{complete} is damaged: {remedy}")
        return tally

    def records(self) -> npt.NDArray[Any]:
        """(n,) sound records of all journals, see :func:`~hko7env.evaluation.journal.record_dtype`."""
        return read_journals(self.path, self.leads, self._mark)

    def new_journal(self) -> Path:
        """Create an empty journal with an unused number."""
        return create_journal(self.path)

    def add_sequences(self, schedule: Schedule) -> None:
        """Write ``sequences.csv`` for readers who do not have the archive, unless it is there."""
        if not (self.path / SEQUENCES).exists():
            self._write(SEQUENCES, sequences_csv(schedule).encode())

    def sequences(self) -> Schedule:
        """The schedule of the run's split, from ``sequences.csv``. Raises RunError if that is missing or damaged."""
        path = self.path / SEQUENCES
        try:
            protocol = {name: int(self.context["protocol"][name]) for name in ("inputs", "leads", "cadence")}
            digest = str(self.identity["schedule"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.path / 'config.json'} is damaged ({type(error).__name__}: {error}): evaluate the agent again"
            ) from error
        return read_sequences(path, digest, **protocol)

    def recorded(self) -> int:
        """Number of records in the journals, from the sizes of the files: cheap enough to poll."""
        return sum(p.stat().st_size for p in self.path.glob("*.journal")) // record_dtype(self.leads).itemsize

    def tally(self) -> Tally:
        """The tally of all sequences recorded so far."""
        return sum_records(self.records(), self.leads)

    def finish(self, result: Result, cadence: int) -> None:
        """Write ``tally.npz``, ``leads.csv`` and ``table.md``, then mark the run as complete."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(result.tally, name) for name in ("sequences", *COUNTS, *ERRORS)})
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        facts = {"run": self.run, "sequences": result.tally.sequences, "tally_sha256": digest}
        self._write("tally.npz", buffer.getvalue())
        self._write("leads.csv", leads_csv(result.tally, cadence).encode())
        self._write("table.md", table([result]).encode())
        self._write("complete.json", json.dumps(facts, indent=1).encode())  # last

    def _write(self, name: str, data: bytes) -> None:
        with writing(self.path / name):
            write_atomically(self.path / name, data)
