"""Which weather a run wins: forecasts sorted by how much rain was observed, and blocks of weather one by one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import iso
from hko7env.report.bootstrap import Bootstrap, add_up, bootstrap
from hko7env.report.charts import draw_chart
from hko7env.report.comparison import Comparison
from hko7env.report.html import escape, rich_table
from hko7env.report.run_style import run_styles, sample
from hko7env.report.section import Section, error_text, figure, folded, numbers

_CLASSES = ("little rain", "medium rain", "much rain")


def make(comparison: Comparison) -> Section | None:
    """The section, or None for a single run."""
    if len(comparison.runs) < 2:
        return None
    parts = [_by_rain(comparison), _by_block(comparison)]
    return Section("weather", "Which weather", "".join(parts))


def observed_share(comparison: Comparison) -> npt.NDArray[np.float64]:
    """(N,) share of the scored locations and lead times at which at least 0.5 mm/h were observed; 0 without truth."""
    counts = comparison.runs[0].counts[..., 0].sum(axis=-1)  # hits, misses, false alarms, correct negatives
    return np.asarray((counts[:, 0] + counts[:, 1]) / np.maximum(counts.sum(axis=1), 1))


def rain_classes(share: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """(N,) 0, 1 or 2: the third of the forecasts with the least, a medium and the most rain; equal shares by order."""
    rank = np.empty(len(share), np.int64)
    rank[np.argsort(share, kind="stable")] = np.arange(len(share))
    return rank * len(_CLASSES) // max(len(share), 1)


def _by_rain(comparison: Comparison) -> str:
    share = observed_share(comparison)
    of = rain_classes(share)
    header, columns, lines = ["Run"], [], []
    for number, name in enumerate(_CLASSES):
        chosen = np.flatnonzero(of == number)
        if len(chosen) == 0:
            continue
        found = _restricted(comparison, chosen)
        area = f"{100 * share[chosen].min():.2g} to {100 * share[chosen].max():.2g} % of the area"
        header.append(f"{name}<br><small>{area}<br>{len(chosen)} forecasts, {found.blocks} blocks</small>")
        value = found.scores["b_mse"].value[:, -1]
        best = None if np.isnan(value).any() else int(np.argmin(value))
        columns.append([_cell(found, i, best) for i in range(len(value))])
        for i, run in enumerate(comparison.runs):
            lines.append((name, run.name, *(float(part[i, -1]) for part in found.scores["b_mse"])))
    names = [
        f"{sample(style)} {escape(run.name)}"
        for run, style in zip(comparison.runs, run_styles(comparison), strict=True)
    ]
    text = (
        "<h3>By how much it rains</h3><p>B-MSE of the thirds of the forecasts with the least, a medium and the most "
        "rain (by the share of scored locations with at least 0.5 mm/h observed), and how far it is above the lowest. "
        "<b>Bold</b>: lower than that of every other run, each difference with an interval that leaves out 0. "
        "<u>Underlined</u>: lowest, but undecided.</p>"
    )
    table = numbers(("rain", "run", "b_mse", "low", "high"), lines)
    return text + rich_table(header, zip(names, *columns, strict=True)) + folded("Numbers as CSV", table)


def _restricted(comparison: Comparison, chosen: npt.NDArray[np.int64]) -> Bootstrap:
    """The bootstrap of B-MSE over some of the sequences; blocks without any are left out."""
    block = np.unique(comparison.block[chosen], return_inverse=True)[1]
    runs = [add_up(block, run.counts[chosen], run.sums[chosen]) for run in comparison.runs]
    return bootstrap(runs, names=("b_mse",))


def _cell(found: Bootstrap, run: int, best: int | None) -> str:
    value = found.scores["b_mse"].value[:, -1]
    text = error_text(float(value[run]))
    if best is None or run != best:
        return text if best is None else f"{text}<br><small>{value[run] / value[best] - 1:+.0%}</small>"
    others = [i for i in range(len(value)) if i != best]
    decided = found.trusted and all(found.difference("b_mse", best, i).at(-1).decided for i in others)
    return f"<b>{text}</b>" if decided else f"<u>{text}</u>"


def _by_block(comparison: Comparison) -> str:
    blocks = int(comparison.block[-1]) + 1
    first = np.flatnonzero(np.diff(comparison.block, prepend=-1))
    error = np.stack([_block_error(run.sums, comparison.block, first) for run in comparison.runs])  # (S, B)
    rain = np.add.reduceat(observed_share(comparison), first) / np.bincount(comparison.block)
    least = error.min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(error == least, 0.0, error / least - 1)
    unique = (error == least).sum(axis=0) == 1
    wins = [int(((error[i] == least) & unique).sum()) for i in range(len(error))]

    rows = [
        [f"{sample(style)} {escape(run.name)}", f"{won} of {blocks}"]
        for run, style, won in zip(comparison.runs, run_styles(comparison), wins, strict=True)
    ]
    dates = [iso(int(time)) for time in comparison.issued[first]]
    lines = [
        (b, dates[b], float(rain[b]), run.name, float(error[i, b]), float(above[i, b]))
        for b in range(blocks)
        for i, run in enumerate(comparison.runs)
    ]
    best = [f"{run.name} has the lowest in {won}" for run, won in zip(comparison.runs, wins, strict=True)]
    text = f"Map of B-MSE above the lowest, by run and block of weather: of {blocks} blocks {'; '.join(best)}"
    caption = "B-MSE above that of the best run in the block, in time from left to right; circles: the best run"
    drawn = figure(
        draw_chart(lambda axes: _draw_blocks(axes, comparison, above), (7.5, 0.9 + 0.32 * len(error))),
        text,
        caption,
        numbers(("block", "begins", "share_with_rain", "run", "b_mse", "above_best"), lines),
    )
    intro = "<p>A block is an episode, cut at midnight where it is longer than a day.</p>"
    wins_table = rich_table(("Run", "lowest B-MSE in"), rows)
    return f'<h3>By block of weather</h3>{intro}{wins_table}<div class="wide">{drawn}</div>'


def _block_error(sums: npt.NDArray[np.float64], block: npt.NDArray[np.int64], first: npt.NDArray[np.int64]) -> Any:
    """(B,) B-MSE of each block, mean over the lead times."""
    return np.add.reduceat(sums[:, 2], first).mean(axis=1) / np.bincount(block)


def _draw_blocks(axes: Any, comparison: Comparison, above: npt.NDArray[np.float64]) -> None:
    runs, blocks = above.shape
    shown = np.where(np.isfinite(above), above, np.nan) * 100
    most = max(float(np.nanpercentile(shown, 95)), 1.0)
    image = axes.pcolormesh(shown, cmap="cividis_r", vmin=0, vmax=most)
    axes.figure.colorbar(image, ax=axes, label="%", extend="max")
    i, b = np.nonzero(above == 0)
    size = 30 if blocks <= 60 else 8
    axes.scatter(b + 0.5, i + 0.5, s=size, facecolor="none", edgecolor="#888888", linewidth=1)
    axes.set_yticks(np.arange(runs) + 0.5, [run.name for run in comparison.runs])
    axes.invert_yaxis()
    step = max(1, blocks // 8)
    first = np.flatnonzero(np.diff(comparison.block, prepend=-1))
    at = np.arange(0, blocks, step)
    axes.set_xticks(at + 0.5, [iso(int(comparison.issued[first[k]]))[2:10] for k in at])
    axes.tick_params(axis="x", labelsize=7)
