"""Rainy days and splits by lists of days, as HKO-7 chose its train, validation and test days."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.archive import Archive
from hko7env.archive.format import iso, minutes
from hko7env.damage import DamagedFile, gunzip, read_bytes, reason
from hko7env.scores import scored

DAY = 1440  # minutes
LIST_BYTES = 1 << 26  # of a list of days or times; every minute of five years
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})\s*(?:,\s*(\S+))?\s*")  # 20150107, 3.4
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?")
_COLUMNS = re.compile(r"(\d{4})\s*,\s*(\d{1,2})\s*,\s*(\d{1,2})\s*,\s*(\S+)\s*")  # 2015,1,7,3.4


def read_days(path: Path, *, rainy_only: bool = False) -> list[int]:
    """First minutes of the days in a list, sorted: lines ``YYYYMMDD``, ``YYYYMMDD, mm`` or ``year,month,day,mm``.

    The list is plain text or gzip (``.gz``). A first line of column names is passed over.
    ``rainy_only`` keeps the days with more than 0 mm at the gauge; "Trace" and what is no number count as dry. Raises
    ValueError for a line that is none of these, a date that does not exist, a day that comes twice, and no day at all.
    """
    found: set[int] = set()
    for number, line in enumerate(_lines(path), 1):
        match = _COMPACT.fullmatch(line) or _COLUMNS.fullmatch(line)
        is_header = number == 1 and not re.search(r"\d{4}", line)
        if not line.strip() or (is_header and "," in line):
            continue
        if not match:
            raise ValueError(f"{path}, line {number}: {line!r} is neither YYYYMMDD[, mm] nor year,month,day,mm")
        year, month, day, rain = match.groups()
        try:
            begin = minutes(f"{year}-{int(month):02}-{int(day):02}")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {line!r} holds no date") from error
        if begin in found:
            raise ValueError(f"{path}, line {number}: {line!r} comes twice")
        if not rainy_only or _number(rain) > 0:
            found.add(begin)
    if not found:
        raise DamagedFile(f"{path} lists no {'rainy ' if rainy_only else ''}day: a split needs one or more")
    return sorted(found)


def _lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzip (``.gz``). Raises DamagedFile if it is damaged, OSError if not found."""
    try:
        raw = read_bytes(path, LIST_BYTES)
        return (gunzip(raw, LIST_BYTES) if path.suffix == ".gz" else raw).decode().splitlines()
    except ValueError as error:
        raise DamagedFile(f"{path} cannot be read ({reason(error)}): give a text file, plain or .gz") from error


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def radar_days(archive: Archive, times: npt.NDArray[np.int64], at_least: float) -> list[int]:
    """First minutes of the days whose mean rain rate over scored locations and frames is ``at_least`` mm/h."""
    rates = np.where(np.arange(256) > 0, archive.zr.rates, 0.0)
    chosen = []
    for day in np.unique(times // DAY):
        frames, _ = archive.at(times[times // DAY == day])
        seen = (frame[scored(frame, archive.scored)] for frame in frames)
        counts = sum(np.bincount(levels, minlength=256) for levels in seen)
        if rates @ counts / max(np.sum(counts), 1) >= at_least:
            chosen.append(int(day) * DAY)
    return chosen


def ranges(days: Iterable[int]) -> list[tuple[str, str]]:
    """Half-open ISO ranges of days given by their first minutes, following days joined: a split as archives hold it."""
    joined: list[list[int]] = []
    for day in sorted(days):
        if joined and joined[-1][1] == day:
            joined[-1][1] = day + DAY
        else:
            joined.append([day, day + DAY])
    return [(iso(begin), iso(end)) for begin, end in joined]


def read_times(path: Path) -> list[int]:
    """Minutes since 1970-01-01 of the frames in a list, plain or gzip: a CSV with ISO times in its first column.

    Raises ValueError for a line that holds no time, for times that are not increasing, and for none at all.
    """
    found: list[int] = []
    for number, line in enumerate(_lines(path), 1):
        first = line.split(",")[0].strip()
        if number == 1 and not re.search(r"\d{4}", first):
            continue
        try:
            if not _TIME.fullmatch(first):
                raise ValueError
            found.append(minutes(first))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {first!r} is no time such as 2015-01-07T00:06") from error
    if not found:
        raise DamagedFile(f"{path} lists no time")
    if (np.diff(found) <= 0).any():
        raise ValueError(f"{path}: its times are not increasing")
    return found
