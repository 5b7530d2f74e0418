"""What becomes of each file of a watched folder, and the appending of frames that are new."""

import contextlib
import shutil
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.archive import Archive
from hko7env.archive.format import DAY, iso
from hko7env.damage import DamagedFile, reason
from hko7env.importers.contract import Format, FrameSource, Levels, OneFrameFormat, RadarImportError, reading
from hko7env.importers.destination import check_match, decode_frame, first_grid, open_archive
from hko7env.importers.drop_folder import Arrival, DropFolder, signature_of
from hko7env.importers.file_log import (
    DAMAGED,
    DOUBLE,
    FOREIGN,
    IMPORTED,
    LATE,
    OUTCOMES,
    REVISED,
    SET_ASIDE,
    SPARE_LINES,
    Entry,
    FileLog,
)
from hko7env.importers.importing import BATCH_BYTES, BATCH_FRAMES
from hko7env.importers.watch_health import Health
from hko7env.importers.watch_options import WatchOptions
from hko7env.importers.window import Window

TO_SHOW_CADENCE = 4  # frames that a new archive waits for if its format does not state the cadence
REMOVE_EVERY = 60  # minutes of frames that are removed at once
LAST_PROBLEMS = 20  # named in the health file


@dataclass
class _Batch:
    """Frames that are decoded but not appended, and the files that are finished with them."""

    times: list[int]
    levels: list[Levels]
    status: list[int]
    entries: list[Entry]


class Watcher:
    """Appends the files of a folder to an archive; the caller holds the archive's write lock.

    Args:
        reader: The format of the files.
        folder: The folder; absolute.
        destination: Path of the archive, which is made if it does not exist; absolute.
        options: How to watch.
        window: The part of the grid to import; None: the whole grid.
        report: Called with a line for each file that was not imported.

    Attributes:
        counts: Outcome -> number of files since the start.
    """

    def __init__(
        self,
        reader: Format,
        folder: Path,
        destination: Path,
        options: WatchOptions,
        window: Window | None = None,
        report: Callable[[str], Any] = print,
    ) -> None:
        self._reader, self._folder, self._destination = reader, folder, destination
        self._options, self._window, self._report = options, window, report
        self._archive = Archive(str(destination), writable=True) if destination.exists() else None
        self._coverage: str | None = None
        self._log = FileLog(destination.with_name(f"{destination.name}.files.jsonl"))
        self._health = Health(destination.with_name(f"{destination.name}.watch.json"))
        own = [destination, self._log.path, self._health.path]
        own += [options.set_aside.resolve()] if options.set_aside else []
        self._drops = DropFolder(folder, options.settle, own)
        self._batch = _Batch([], [], [], [])
        self.counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._problems: deque[str] = deque(maxlen=LAST_PROBLEMS)
        self._before = None if self._log.path.exists() else self._newest  # newest frame of an earlier import
        for entry in {entry.file: entry for entry in self._log.read(self._newest)}.values():
            if signature_of(folder / entry.file) == entry.signature:
                self._drops.add_known(entry.file, entry.signature)
                self._move(entry)  # if the watch was stopped before it moved the file

    @property
    def frames(self) -> int:
        """Number of frames in the archive."""
        return 0 if self._archive is None else len(self._archive)

    @property
    def _newest(self) -> int | None:
        return int(self._archive.times[-1]) if self._archive is not None and len(self._archive) else None

    def poll(self) -> bool:
        """Import what has arrived and remove what is too old.

        Returns:
            Whether files are still being written or waited for.

        Raises:
            OSError: The archive or the log cannot be written; the archive is as after its last complete append.
        """
        try:
            arrived, growing = self._drops.poll()
        except OSError as error:
            self._note(f"{self._folder} cannot be read ({reason(error)}): mount or restore it")
            self._write_health(0)
            return True
        files = self._in_order(arrived, growing)
        if self._is_ready_to_begin(files):
            for arrival, times in files:
                self._take(arrival, times)
            self._flush()
            self._before = None
        self._remove_old()
        if self._log.lines > self._drops.files + SPARE_LINES:
            self._log.shorten(self._newest, self._drops.holds)
        waiting = len(growing) + sum(not self._drops.holds(arrival.name) for arrival in arrived)
        self._write_health(waiting)
        return waiting > 0

    def close(self, error: BaseException | None = None) -> None:
        """Write the last state into the health file."""
        with contextlib.suppress(OSError):  # the disk may be full, which the caller reports
            self._write_health(0, "failed" if error else "stopped", reason(error) if error else "")

    # ------------------------------------------------------------------ one file

    def _in_order(self, arrived: list[Arrival], growing: list[str]) -> list[tuple[Arrival, list[int]]]:
        """The files and times of their frames in the order of time; without those of no frame, which are dealt with.

        Files later than one that is still being written wait for it, because frames can only be appended.
        """
        files = []
        for arrival in arrived:
            path = self._folder / arrival.name
            try:
                with reading(path):
                    times = self._reader.times_of(path) if not self._reader.is_sidecar(path) else None
            except DamagedFile as error:
                self._finish(Entry(*arrival, DAMAGED, str(error)))
                continue
            if not times:
                why = f"{path} is not named like a file of this format, or holds no radar data"
                self._finish(Entry(*arrival, FOREIGN, why))
            else:
                files.append((arrival, times))
        limit = min(filter(None, map(self._time_from_name, growing)), default=None)
        kept = [(arrival, times) for arrival, times in files if limit is None or max(times) < limit]
        return sorted(kept, key=lambda one: (min(one[1]), one[0].name))

    def _time_from_name(self, name: str) -> int | None:
        if not isinstance(self._reader, OneFrameFormat):
            return None
        try:
            with reading(name):
                return self._reader.time_of(self._folder / name)
        except DamagedFile:  # the format reads the time from the file, which is not complete
            return None

    def _is_ready_to_begin(self, files: list[tuple[Arrival, list[int]]]) -> bool:
        """Whether the archive is there; it is made if the files suffice for that."""
        if self._archive is not None or not files:
            return self._archive is not None
        frames = [(t, FrameSource(self._folder / a.name, i)) for a, times in files for i, t in enumerate(times)]
        damaged: list[str] = []
        try:
            grid = first_grid(self._reader, [frame.path for _, frame in frames], self._window, damaged.append)
        except RadarImportError:
            if len(damaged) < len({frame.path for _, frame in frames}):
                raise
            for (arrival, _), why in zip(files, damaged, strict=True):
                self._finish(Entry(*arrival, DAMAGED, why))
            return False
        steps = len({time for time, _ in frames})
        if grid.cadence == 0 and steps < TO_SHOW_CADENCE and not self._options.once:
            return False
        self._archive = open_archive(self._reader, sorted(frames), self._destination, self._window, damaged.append)
        return True

    def _take(self, arrival: Arrival, times: list[int]) -> None:
        """Decode the frames of one file that are new, and note what became of the file."""
        path = self._folder / arrival.name
        try:
            self._check_coverage(path)
        except DamagedFile as error:
            self._finish(Entry(*arrival, DAMAGED, str(error)))
            return
        except RadarImportError as error:
            self._finish(Entry(*arrival, FOREIGN, str(error)))
            return
        found = [self._frame(FrameSource(path, number), when) for number, when in enumerate(times)]
        new = [when for when, (outcome, _) in zip(times, found, strict=True) if outcome == IMPORTED]
        worst = next(o for o in (IMPORTED, DAMAGED, REVISED, LATE, DOUBLE) if o in {outcome for outcome, _ in found})
        why = "; ".join(
            dict.fromkeys(text for outcome, text in found if (text and outcome != DOUBLE) or worst == DOUBLE)
        )
        if worst != DAMAGED or path.exists():  # else it was deleted while it was read
            self._batch.entries.append(Entry(*arrival, worst, why, max(new) if new else None))

    def _frame(self, frame: FrameSource, when: int) -> tuple[str, str]:
        """Outcome of a frame, and the reason if it is not appended; a frame to append is added to the batch."""
        assert self._archive is not None
        name = self._reader.name_of(frame)
        if len(self._batch.times) >= self._batch_size or (self._batch.times and when <= self._batch.times[-1]):
            self._flush()
        at = int(np.searchsorted(self._archive.times, when))
        held = at < len(self._archive) and self._archive.times[at] == when
        if held and self._before is not None and when <= self._before:
            return IMPORTED, ""
        if self._newest is not None and when < self._newest and not held:
            why = (
                f"{name} ({iso(when)}) is older than the newest frame, {iso(self._newest)}: frames can only be appended"
            )
            return LATE, why
        decoded = decode_frame(self._reader, self._archive.scored, self._window, frame)
        if isinstance(decoded, str):
            return DAMAGED, decoded
        levels, status = decoded
        if held:
            if np.array_equal(levels, self._archive.frames(at, at + 1)[0]):
                return DOUBLE, f"{name} has the frame of {iso(when)}, which the archive holds"
            return REVISED, f"{name} has another frame of {iso(when)} than the archive, which keeps the first"
        self._batch.times.append(when)
        self._batch.levels.append(levels)
        self._batch.status.append(status)
        return IMPORTED, ""

    def _check_coverage(self, path: Path) -> None:
        """Raise RadarImportError for a file of another area or grid than the archive's, DamagedFile for damage."""
        assert self._archive is not None
        with reading(path):
            coverage = self._reader.coverage_id(path)
        if self._coverage is None:
            problems: list[str] = []
            try:
                grid = first_grid(self._reader, [path], self._window, problems.append)
            except RadarImportError as error:
                raise DamagedFile(problems[0]) if problems else error from error
            check_match(self._archive, grid)
            self._coverage = coverage
        elif coverage != self._coverage:
            raise RadarImportError(f"{path} is of {coverage}, other files are of {self._coverage}: use another folder")

    # ------------------------------------------------------------------ writing

    @property
    def _batch_size(self) -> int:
        assert self._archive is not None
        return max(min(BATCH_FRAMES, BATCH_BYTES // (self._archive.shape[0] * self._archive.shape[1])), 1)

    def _flush(self) -> None:
        """Log and append the batch."""
        batch, self._batch = self._batch, _Batch([], [], [], [])
        self._log.add(batch.entries)
        if batch.times:
            assert self._archive is not None
            try:
                self._archive.append(batch.times, np.stack(batch.levels), batch.status)
            except OSError as error:
                raise OSError(
                    f"{self._archive.name} cannot be extended ({reason(error)}): make room. It is as after its last "
                    "complete append, and the same command continues from there"
                ) from error
        for entry in batch.entries:
            self._settle(entry)

    def _finish(self, entry: Entry) -> None:
        """Log a file from which nothing is appended, unless it was deleted while it was read."""
        if not (self._folder / entry.file).exists():
            return
        self._log.add([entry])
        self._settle(entry)

    def _settle(self, entry: Entry) -> None:
        self._drops.add_known(entry.file, entry.signature)
        self.counts[entry.outcome] += 1
        if entry.reason:
            self._note(f"{entry.outcome}: {entry.reason}")
        self._move(entry)

    def _move(self, entry: Entry) -> None:
        """Move a file that was not imported out of the folder, if options say so."""
        source = self._folder / entry.file
        if self._options.set_aside is None or entry.outcome not in SET_ASIDE or not source.exists():
            return
        target = self._options.set_aside / entry.file
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while target.exists():
            number += 1
            target = target.with_name(f"{source.name}.{number}")
        shutil.move(source, target)

    def _note(self, text: str) -> None:
        text = text.encode("utf-8", "backslashreplace").decode()  # file names may hold any bytes
        if not self._problems or self._problems[-1] != text:
            self._report(text)
            self._problems.append(text)

    def _remove_old(self) -> None:
        keep, archive = self._options.keep_days, self._archive
        if keep is None or archive is None or self._newest is None:
            return
        limit = self._newest - keep * DAY
        if archive.times[0] <= limit - REMOVE_EVERY:
            archive.remove_before(limit)

    def _write_health(self, waiting: int, state: str = "watching", error: str = "") -> None:
        first = None if self._newest is None or self._archive is None else int(self._archive.times[0])
        self._health.write(
            state, error, (first, self._newest, self.frames), dict(self.counts), waiting, list(self._problems)
        )
