"""What an archive holds, in the tables and figures of Shi et al. 2017: Table 2, Table 12, Figures 5 and 6."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.archive import Archive
from hko7env.archive.clutter import Outliers
from hko7env.archive.format import OUTLIER
from hko7env.archive.store import absolute_name
from hko7env.parallel import chunked, sum_over
from hko7env.scores import scored
from hko7env.units import THRESHOLDS, ZR

TABLE_2 = (0.9025, 0.0438, 0.0246, 0.0135, 0.0114, 0.0042)  # shares of the rain-rate classes that the paper prints
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BATCH = 250


@dataclass(frozen=True, eq=False)
class Summary:
    """``levels`` (12, 256) int64: how often each level was scored in each month, over ``frames`` frames; it adds."""

    levels: npt.NDArray[np.int64]
    frames: int

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(self.levels + other.levels, self.frames + other.frames)

    def shares(self, zr: ZR) -> npt.NDArray[np.float64]:
        """(6,) shares of the rain-rate classes below, between and above THRESHOLDS: Table 2."""
        by_class = np.bincount(zr.classes, weights=self.levels.sum(axis=0), minlength=len(THRESHOLDS) + 1)
        return np.asarray(by_class / max(self.levels.sum(), 1))

    def monthly_mean(self, zr: ZR) -> npt.NDArray[np.float64]:
        """(12,) mean rain rate in mm/h over scored locations, no echo being no rain; NaN without frames: Figure 5."""
        rates = np.where(np.arange(256) > 0, zr.rates, 0.0)
        total = self.levels.sum(axis=1)
        return np.asarray(np.where(total > 0, self.levels @ rates / np.maximum(total, 1), np.nan))


def summarise(
    path: str,
    times: npt.NDArray[np.int64],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    step: Callable[[int], Any] | None = None,
) -> Summary:
    """Summary of the frames of the archive at ``path`` at ``times``, over processes or a dask cluster.

    ``step`` is called with the number of frames just read.
    """
    parts = chunked(times.tolist(), -(-len(times) // _BATCH))
    read = partial(_summarise_share, absolute_name(path))
    return sum_over(read, parts, workers=workers, scheduler=scheduler, step=step)


def _summarise_share(path: str, times: list[int]) -> Summary:
    archive = Archive(path)
    levels = np.zeros((12, 256), np.int64)
    months = np.array(times).astype("datetime64[m]").astype("datetime64[M]").astype(int) % 12
    for month, frame in zip(months, archive.at(times)[0], strict=True):
        levels[month] += np.bincount(frame[scored(frame, archive.scored)], minlength=256)
    return Summary(levels, len(times))


def tables(archive: Archive, summary: Summary) -> str:
    """Tables 2 and 12 and the monthly means, to be printed."""
    edges = ["0", *(f"{t:g}" for t in THRESHOLDS)]
    classes = [f"{low} to {high}" for low, high in zip(edges, [*edges[1:], "more"], strict=True)]
    rows = [f"Rain rate (Table 2), {summary.frames} frames"]
    rows += [
        f"  {name:>10} mm/h  {share:7.2%}   HKO-7 {paper:7.2%}"
        for name, share, paper in zip(classes, summary.shares(archive.zr), TABLE_2, strict=True)
    ]
    rows.append("Splits (Table 12)")
    for split in archive.splits or {}:
        try:
            times = archive.select(split)
        except ValueError:  # a split may lie ahead
            rows.append(f"  {split:>10}  no frames")
            continue
        rows.append(f"  {split:>10}  {len(np.unique(times // 1440))} days with frames, {len(times)} frames")
    rows.append("Mean rain rate by month (Figure 5), mm/h")
    means = summary.monthly_mean(archive.zr)
    known = [f"{name} {mean:.3f}" for name, mean in zip(MONTHS, means, strict=True) if not np.isnan(mean)]
    rows.append("  " + "  ".join(known))
    return "\n".join(rows) + "\n"


def page(archive: Archive, summary: Summary, outliers: Outliers) -> str:
    """The same as one HTML page, with its figures as SVG inside. Raises ValueError if matplotlib is not installed."""
    return as_page(archive, tables(archive, summary), _figures(archive, summary, outliers))


def as_page(archive: Archive, text: str, figures: list[str]) -> str:
    """An HTML page about ``archive``: its source, ``text`` as it stands, and figures in SVG."""
    style = "<style>body{font:15px sans-serif;max-width:60em;margin:auto}</style>"
    head = f"<meta charset='utf-8'><title>Radar archive</title>{style}"
    source = archive.attributes.get("source") or archive.name
    return f"<!doctype html>{head}<h1>{_escape(source)}</h1><pre>{_escape(text)}</pre>{''.join(figures)}\n"


def _escape(plain: str) -> str:
    return plain.replace("&", "&amp;").replace("<", "&lt;")


def _figures(archive: Archive, summary: Summary, outliers: Outliers) -> list[str]:
    figure = new_figure(11, 8.5)
    share, month, distance, where = figure.subplots(2, 2).reshape(-1)
    draw_shares(share, summary, archive.zr)
    draw_months(month, summary, archive.zr)
    distance.hist(outliers.distance[np.isfinite(outliers.distance)], 100, log=True)
    distance.axvline(outliers.threshold, color="tab:red", label=f"threshold {outliers.threshold:.2f}")
    distance.set(xlabel="Mahalanobis distance", ylabel="locations", title="Distances (Figure 6)")
    distance.legend()
    found = outliers.mask == OUTLIER
    where.imshow(np.where(found, 1.0, np.where(np.isnan(outliers.distance), 0.4, 0.0)), cmap="gray_r")
    where.set(title=f"Outliers: {np.count_nonzero(found)} locations", xlabel="column", ylabel="row")
    return [as_svg(figure)]


def draw_shares(axes: Any, summary: Summary, zr: ZR) -> None:
    """Shares of the rain-rate classes beside Table 2."""
    x = np.arange(len(TABLE_2))
    axes.bar(x - 0.2, summary.shares(zr), 0.4, label="this archive")
    axes.bar(x + 0.2, TABLE_2, 0.4, label="HKO-7, Table 2")
    axes.set(yscale="log", xlabel="rain rate, mm/h", ylabel="share of scored locations", title="Rain rates")
    axes.set_xticks(x, ["<0.5", *(f"≥{t:g}" for t in THRESHOLDS)])
    axes.legend()


def draw_months(axes: Any, summary: Summary, zr: ZR) -> None:
    """Mean rain rate by month, Figure 5."""
    axes.bar(MONTHS, np.nan_to_num(summary.monthly_mean(zr)))
    axes.set(ylabel="mean rain rate, mm/h", title="By month (Figure 5)")


def new_figure(width: float, height: float) -> Any:
    """A figure of so many inches. Raises ValueError if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("pictures need matplotlib: pip install 'hko7env[plots]'") from error
    return Figure((width, height), layout="constrained")


def as_svg(figure: Any) -> str:
    """The figure as SVG, to stand in an HTML page."""
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()[svg.getvalue().index("<svg") :]
