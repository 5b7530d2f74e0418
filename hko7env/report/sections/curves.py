"""Scores by lead time with bands of their 95 % intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hko7env.report.bootstrap import Estimate
from hko7env.report.charts import draw_chart
from hko7env.report.comparison import Comparison
from hko7env.report.html import grid
from hko7env.report.run_style import plot_band, run_key, run_styles
from hko7env.report.section import Section, figure, numbers
from hko7env.units import THRESHOLDS

_EVENT_SCORES = {
    "csi": ("CSI", "CSI, critical success index: higher is better"),
    "bias": ("bias", "Frequency bias: above 1 rain is forecast too often, below 1 too seldom"),
    "hss": ("HSS", "HSS, Heidke skill score: higher is better, 0 is chance"),
}
_MANY = 4  # runs whose bands lie on each other


def make(comparison: Comparison) -> Section:
    """The section; it is on every page."""
    found = comparison.bootstrap.scores
    errors = [_panel(comparison, found[name].at(..., _LEADS), title) for name, title in _ERRORS.items()]
    if len(comparison.runs) > 1:
        title = f"B-MSE minus that of {comparison.runs[0].name}"
        errors.append(_panel(comparison, _differences(comparison), title, level=0.0))
    parts = [run_key(comparison), "<h3>Balanced errors: lower is better</h3>", grid(errors, "18rem")]
    for name, (title, meaning) in _EVENT_SCORES.items():
        panels = []
        for j, threshold in enumerate(THRESHOLDS):
            caption = f"{title} at {threshold:g} mm/h and above"
            level = 1.0 if name == "bias" else None
            panels.append(_panel(comparison, found[name].at(..., _LEADS, j), caption, level=level, log=name == "bias"))
        parts += [f"<h3>{meaning}</h3>", grid(panels, "18rem")]
    return Section("lead-time", "By lead time", "".join(parts))


_LEADS = slice(0, -1)  # without the mean
_ERRORS = {"b_mse": "B-MSE, balanced squared error", "b_mae": "B-MAE, balanced absolute error"}


def _differences(comparison: Comparison) -> Estimate:
    """B-MSE of each run minus that of the first, by lead time."""
    parts = [comparison.bootstrap.difference("b_mse", i, 0).at(_LEADS) for i in range(len(comparison.runs))]
    return Estimate(*(np.stack(part) for part in zip(*parts, strict=True)))


def _panel(
    comparison: Comparison, estimate: Estimate, caption: str, *, level: float | None = None, log: bool = False
) -> str:
    """One figure of a line for each run, (S, K), with a thin line at a ``level`` of reference."""
    minutes, styles = comparison.minutes, run_styles(comparison)
    bands = comparison.bootstrap.blocks > 1

    def draw(axes: Any) -> None:
        for i, style in enumerate(styles):
            if bands:
                low, high = (np.where(np.isfinite(end[i]), end[i], np.nan) for end in estimate[1:])
                plot_band(axes, minutes, low, high, style, len(styles) > _MANY)
            axes.plot(minutes, estimate.value[i], **style.line)
        if log:
            _log_axis(axes, estimate.value)
        if level is not None:
            axes.axhline(level, color="#888888", linewidth=0.8)
        axes.set(xlabel="lead time, min", ylabel=caption.partition(",")[0].partition(" at ")[0].partition(" minus")[0])
        axes.margins(x=0.02)

    rows = [
        (run.name, minute, *(float(part[i, k]) for part in estimate))
        for i, run in enumerate(comparison.runs)
        for k, minute in enumerate(minutes.tolist())
    ]
    table = numbers(("run", "minutes", "value", "low", "high"), rows)
    return figure(draw_chart(draw, (4.2, 2.9)), _described(comparison, caption, estimate.value), caption, table)


def _log_axis(axes: Any, values: np.ndarray) -> None:
    """A logarithmic axis from the values and 1, with plain numbers."""
    known = values[np.isfinite(values) & (values > 0)]
    least, most = min([0.8, *known.tolist()]), max([1.25, *known.tolist()])
    axes.set_yscale("log", base=2)
    axes.set_ylim(least / 1.15, most * 1.15)
    ticks = [tick for tick in (0.0625, 0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 8, 16) if least <= tick <= most]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _described(comparison: Comparison, caption: str, value: np.ndarray) -> str:
    """First and last value of each run, for readers who cannot see the lines."""
    first, last = comparison.minutes[0], comparison.minutes[-1]
    runs: Sequence[str] = [
        f"{run.name} {_text(value[i, 0])} at {first} min and {_text(value[i, -1])} at {last} min"
        for i, run in enumerate(comparison.runs)
    ]
    return f"Lines of {caption} by lead time: {'; '.join(runs)}"


def _text(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.4g}"
