"""Archive statistics as in Shi et al. 2017: rain rates (Table 2), splits (Table 12), months (Figure 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive.archive import Archive
from hko7env.archive.format import DAY
from hko7env.archive.hko7_facts import TABLE_2
from hko7env.archive.store import absolute_name
from hko7env.parallel import parts_of, sum_over
from hko7env.scores import scored
from hko7env.units import THRESHOLDS, ZR

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_BATCH = 250  # frames read by a worker at once


@dataclass(frozen=True, eq=False)
class Summary:
    """Counts of scored levels; summaries can be added.

    Attributes:
        levels: (12, 256) int64 number of scored locations with each level, by month.
        frames: Number of frames.
    """

    levels: npt.NDArray[np.int64]
    frames: int

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(self.levels + other.levels, self.frames + other.frames)

    def shares(self, zr: ZR) -> npt.NDArray[np.float64]:
        """(6,) shares of the rain-rate classes below, between and above THRESHOLDS (Shi et al. 2017, Table 2)."""
        by_class = np.bincount(zr.classes, weights=self.levels.sum(axis=0), minlength=len(THRESHOLDS) + 1)
        return np.asarray(by_class / max(self.levels.sum(), 1))

    def monthly_mean(self, zr: ZR) -> npt.NDArray[np.float64]:
        """(12,) mean rain rate in mm/h over scored locations, NaN without frames (Shi et al. 2017, Figure 5)."""
        return mean_rain_rate(self.levels, zr)


def mean_rain_rate(levels: npt.NDArray[np.int64], zr: ZR) -> npt.NDArray[np.float64]:
    """Mean rain rate of counted levels; level 0, no echo, counts as 0 mm/h.

    Args:
        levels: (..., 256) int64 counts of levels.
        zr: The Z-R relation.

    Returns:
        (...) mm/h, NaN where nothing was counted.
    """
    rates = np.where(np.arange(256) > 0, zr.rates, 0.0)
    total = levels.sum(axis=-1)
    return np.asarray(np.where(total > 0, levels @ rates / np.maximum(total, 1), np.nan))


def count_scored_levels(frame: npt.NDArray[np.uint8], static: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(256,) int64 number of scored locations with each level.

    Args:
        frame: (H, W) uint8 levels.
        static: (H, W) bool static mask, True = scored.
    """
    return np.bincount(frame[scored(frame, static)], minlength=256)


def summarise(
    path: str,
    times: npt.NDArray[np.int64],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    step: Callable[[int], Any] | None = None,
) -> Summary:
    """Count the scored levels of an archive.

    Args:
        path: Path or URL of the archive.
        times: (n,) minutes since 1970-01-01 of the frames to read.
        workers: Processes; 1 means this one.
        scheduler: Address of a dask scheduler, whose workers are used instead.
        step: Called with the number of frames just read.
    """
    parts = parts_of(times.tolist(), _BATCH)
    read = partial(_summarise_part, absolute_name(path))
    return sum_over(read, parts, workers=workers, scheduler=scheduler, step=step)


def _summarise_part(path: str, times: list[int]) -> Summary:
    archive = Archive(path)
    levels = np.zeros((12, 256), np.int64)
    months = np.array(times).astype("datetime64[m]").astype("datetime64[M]").astype(int) % 12
    for month, frame in zip(months, archive.at(times)[0], strict=True):
        levels[month] += count_scored_levels(frame, archive.scored)
    return Summary(levels, len(times))


class RateClass(NamedTuple):
    """A line of Table 2: a class of rain rates in mm/h, its share of this archive, and that of HKO-7."""

    name: str
    share: float
    hko7: float


class SplitSize(NamedTuple):
    """A line of Table 12: a split, its days with good frames, and its good frames."""

    name: str
    days: int
    frames: int


def rate_classes(summary: Summary, zr: ZR) -> list[RateClass]:
    """The lines of Table 2."""
    edges = ["0", *(f"{t:g}" for t in THRESHOLDS)]
    names = [f"{low} to {high}" for low, high in zip(edges, [*edges[1:], "more"], strict=True)]
    return [RateClass(*line) for line in zip(names, summary.shares(zr).tolist(), TABLE_2, strict=True)]


def split_sizes(archive: Archive) -> list[SplitSize]:
    """The lines of Table 12; a split without good frames has 0 days and 0 frames."""
    found = []
    for split in archive.splits:
        try:
            times = archive.select(split)
        except ValueError:
            times = np.zeros(0, np.int64)
        found.append(SplitSize(split, len(np.unique(times // DAY)), len(times)))
    return found


def format_tables(archive: Archive, summary: Summary) -> str:
    """Tables 2 and 12 and the monthly means as text."""
    lines = [f"Rain rate (Table 2), {summary.frames} frames"]
    for line in rate_classes(summary, archive.zr):
        lines.append(f"  {line.name:>10} mm/h  {line.share:7.2%}   HKO-7 {line.hko7:7.2%}")
    lines.append("Splits (Table 12)")
    for split in split_sizes(archive):
        size = f"{split.days} days with frames, {split.frames} frames" if split.frames else "no frames"
        lines.append(f"  {split.name:>10}  {size}")
    lines.append("Mean rain rate by month (Figure 5), mm/h")
    means = summary.monthly_mean(archive.zr)
    known = [f"{name} {mean:.3f}" for name, mean in zip(MONTHS, means, strict=True) if not np.isnan(mean)]
    lines.append("  " + "  ".join(known))
    return "\n".join(lines) + "\n"
