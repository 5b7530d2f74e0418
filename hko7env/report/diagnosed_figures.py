"""Figures of the diagnosed runs of a comparison: one line for each, drawn as in all other figures of the page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.report.charts import draw_chart
from hko7env.report.comparison import Comparison
from hko7env.report.diagnosed import Diagnosed
from hko7env.report.html import escape
from hko7env.report.run_style import plot_band, run_styles, sample
from hko7env.report.section import figure, numbers

Values = npt.NDArray[np.float64]
_GREY = "#888888"
_MANY = 4  # runs whose bands lie on each other
_MOST = 30  # points of a line that is drawn with its usual markers


class Axis(NamedTuple):
    """An axis: label, name in the CSV, whether it is logarithmic, and the ticks of a logarithmic one."""

    label: str
    name: str
    log: bool = False
    ticks: tuple[float, ...] = ()


class Lines(NamedTuple):
    """What is drawn: x (n,), y (S, n), ends of intervals (S, n) or None, and a line of reference (n,) with its name."""

    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    reference: Values | None = None
    reference_name: str = ""


def draw_lines(
    comparison: Comparison, diagnosed: Diagnosed, lines: Lines, axes: tuple[Axis, Axis], caption: str, at: Sequence[int]
) -> str:
    """One figure of a line for each diagnosed run.

    Args:
        comparison: The comparison, for names and styles of runs.
        diagnosed: Its diagnosed runs, in the order of ``lines.y``.
        lines: What is drawn.
        axes: Horizontal and vertical axis.
        caption: Plain text.
        at: Indices of the points that the text alternative names.
    """
    styles = run_styles(comparison)
    names = [comparison.runs[i].name for i in diagnosed.runs]

    def draw(drawn: Any) -> None:
        if lines.reference is not None:
            drawn.plot(lines.x, lines.reference, color=_GREY, linewidth=1.4, linestyle=(0, (1, 1)))
        for position, y in enumerate(lines.y):
            style = styles[diagnosed.runs[position]]
            if lines.low is not None and lines.high is not None:
                plot_band(drawn, lines.x, lines.low[position], lines.high[position], style, len(lines.y) > _MANY)
            drawn.plot(lines.x, y, **style.line | _markers(lines.x, axes[0].log, style.colour))
        for axis, which in zip(axes, ("x", "y"), strict=True):
            _scale(drawn, axis, which)
        drawn.set(xlabel=axes[0].label, ylabel=axes[1].label)

    series = [*zip(names, lines.y, strict=True)]
    if lines.reference is not None:
        series.append((lines.reference_name, lines.reference))
    header = ["run", axes[0].name, axes[1].name]
    rows: list[list[Any]] = [[name, float(x), float(v)] for name, y in series for x, v in zip(lines.x, y, strict=True)]
    if lines.low is not None and lines.high is not None:
        header += ["low", "high"]
        ends = np.stack([lines.low, lines.high], axis=-1).reshape(-1, 2).tolist()
        rows = [[*row, *end] for row, end in zip(rows, [*ends, *[(np.nan, np.nan)] * len(rows)], strict=False)]
    said = "; ".join(f"{name} {', '.join(f'{_text(y[i])} at {_text(lines.x[i])}' for i in at)}" for name, y in series)
    text = f"{caption}. {axes[1].label} against {axes[0].label}: {said}"
    return figure(draw_chart(draw, (4.2, 2.9)), text, caption, numbers(header, rows))


def _markers(x: Values, log: bool, first: int) -> dict[str, Any]:
    """Seven markers, evenly spaced as drawn, on lines of many points; their places differ between runs."""
    if len(x) <= _MOST:
        return {}
    at = np.log(x) if log else x
    places = at[0] + (at[-1] - at[0]) * (np.arange(7) + 0.3 * (first % 3)) / 7
    return {"markevery": np.unique([int(np.abs(at - place).argmin()) for place in places]).tolist()}


def _scale(drawn: Any, axis: Axis, which: str) -> None:
    """A logarithmic scale with plain numbers, if the axis has one."""
    if not axis.log:
        return
    getattr(drawn, f"set_{which}scale")("log")
    if axis.ticks:
        low, high = getattr(drawn, f"get_{which}lim")()
        ticks = [tick for tick in axis.ticks if low <= tick <= high]
        getattr(drawn, f"set_{which}ticks")(ticks, [f"{tick:g}" for tick in ticks])
        drawn.minorticks_off()


def _text(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3g}"


def begin(comparison: Comparison, diagnosed: Diagnosed) -> str:
    """HTML of a paragraph, which says what was diagnosed and which runs lack diagnostics, and of a key to the lines."""
    said = (
        f"From the {len(diagnosed.index)} of {len(comparison.index)} forecasts that were diagnosed in all of these "
        "runs (evaluate --keep diagnostics)."
    )
    if diagnosed.lacking:
        names = ", ".join(comparison.runs[i].name for i in diagnosed.lacking)
        said += f" Without diagnostics, so not shown here: {names}."
    styles = run_styles(comparison)
    key = (f"<span>{sample(styles[i])} {escape(comparison.runs[i].name)}</span>" for i in diagnosed.runs)
    return f'<p>{escape(said)}</p><p class="keys">{"".join(key)}</p>'
