"""Rainy days and splits by lists of days, as HKO-7 chose its train, validation and test days."""

import gzip
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.archive import Archive
from hko7env.archive.format import iso, minutes
from hko7env.scores import scored

DAY = 1440  # minutes
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})\s*(?:,\s*(\S+))?\s*")  # 20150107, 3.4
_COLUMNS = re.compile(r"(\d{4})\s*,\s*(\d{1,2})\s*,\s*(\d{1,2})\s*,\s*(\S+)\s*")  # 2015,1,7,3.4


def read_days(path: Path, *, rainy_only: bool = False) -> list[int]:
    """First minutes of the days in a list, sorted: lines ``YYYYMMDD``, ``YYYYMMDD, mm`` or ``year,month,day,mm``.

    A first line of column names is passed over.
    ``rainy_only`` keeps the days with more than 0 mm at the gauge; "Trace" and what is no number count as dry. Raises
    ValueError for a line that is none of these, a date that does not exist, and a day that comes twice.
    """
    found: set[int] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
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
    return sorted(found)


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

    Raises ValueError for a line that holds no time, and for times that are not increasing.
    """
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    found: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        first = line.split(",")[0].strip()
        if number == 1 and not re.search(r"\d{4}", first):
            continue
        try:
            found.append(minutes(first))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {first!r} is no time such as 2015-01-07T00:06") from error
    if (np.diff(found) <= 0).any():
        raise ValueError(f"{path}: its times are not increasing")
    return found
