"""Rainy days: splits by lists of days or by mean rain rate, as HKO-7 chose its train, validation and test days."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.archive import Archive
from hko7env.archive.format import DAY, iso, minutes
from hko7env.archive.statistics import count_scored_levels, mean_rain_rate
from hko7env.damage import DamagedFile, gunzip, read_bytes, reason

LIST_BYTES = 1 << 26  # largest list of days or times: five years of every minute
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})\s*(?:,\s*(\S+))?\s*")  # 20150107, 3.4
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?")
_COLUMNS = re.compile(r"(\d{4})\s*,\s*(\d{1,2})\s*,\s*(\d{1,2})\s*,\s*(\S+)\s*")  # 2015,1,7,3.4


def read_days(path: Path, *, rainy_only: bool = False) -> list[int]:
    """Read a list of days.

    Args:
        path: Text file, plain or gzip (``.gz``), of lines ``YYYYMMDD``, ``YYYYMMDD, mm`` or ``year,month,day,mm``; the
            first line may hold column names.
        rainy_only: Keep only days with more than 0 mm; "Trace" and other text count as 0 mm.

    Returns:
        Minutes since 1970-01-01 at which the days begin, increasing.

    Raises:
        ValueError: A line is malformed, a date does not exist or is listed twice, or no day is left.
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
    """The lines of a list, plain or gzip. Raises DamagedFile for a damaged file, OSError for a missing one."""
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
    """Find the days with at least a given mean rain rate.

    Args:
        archive: An open archive.
        times: (n,) int64 minutes since 1970-01-01 of the frames to read.
        at_least: Mean rain rate in mm/h over the scored locations of a day's frames.

    Returns:
        Minutes since 1970-01-01 at which the days begin, increasing.
    """
    chosen = []
    for day in np.unique(times // DAY):
        frames, _ = archive.at(times[times // DAY == day])
        counts = np.sum([count_scored_levels(frame, archive.scored) for frame in frames], axis=0)
        if np.nan_to_num(mean_rain_rate(counts, archive.zr)) >= at_least:
            chosen.append(int(day) * DAY)
    return chosen


def ranges(days: Iterable[int]) -> list[tuple[str, str]]:
    """Ranges of a split that consists of whole days.

    Args:
        days: Minutes since 1970-01-01 at which the days begin.

    Returns:
        Half-open ranges of ISO minutes, increasing; consecutive days are joined.
    """
    joined: list[list[int]] = []
    for day in sorted(days):
        if joined and joined[-1][1] == day:
            joined[-1][1] = day + DAY
        else:
            joined.append([day, day + DAY])
    return [(iso(begin), iso(end)) for begin, end in joined]


def read_times(path: Path) -> list[int]:
    """Read a list of times.

    Args:
        path: CSV file, plain or gzip (``.gz``), with ISO times in its first column; the first line may hold column
            names.

    Returns:
        Minutes since 1970-01-01, increasing.

    Raises:
        ValueError: A line holds no time, times are not increasing, or there are none.
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
            raise ValueError(f"{path}, line {number}: {first!r} is not a time such as 2015-01-07T00:06") from error
    if not found:
        raise DamagedFile(f"{path} lists no time")
    if (np.diff(found) <= 0).any():
        raise ValueError(f"{path}: its times are not increasing")
    return found
