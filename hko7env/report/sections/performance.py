"""Performance diagram (Roebber 2009): success ratio, POD, CSI and frequency bias in one picture."""

from typing import Any

import numpy as np

from hko7env.report.charts import draw_chart
from hko7env.report.comparison import Comparison
from hko7env.report.html import grid
from hko7env.report.run_style import run_key, run_styles
from hko7env.report.section import Section, figure, numbers
from hko7env.units import THRESHOLDS

_CSI = np.arange(0.1, 1, 0.1)
_BIAS = (0.25, 0.5, 1, 2, 4)


def make(comparison: Comparison) -> Section:
    """The section; it is on every page."""
    text = (
        "<p>Each line is a run, from the shortest lead time, with the marker, to the longest. Right: few false alarms. "
        "Up: few misses. The top right corner is a perfect forecast. Curved lines have equal CSI, straight ones equal "
        "frequency bias; below the diagonal rain is forecast too seldom, above it too often (Roebber 2009).</p>"
    )
    panels = grid((_panel(comparison, j) for j in range(len(THRESHOLDS))), "18rem")
    return Section("performance", "Hits against false alarms", text + run_key(comparison) + panels)


def _panel(comparison: Comparison, j: int) -> str:
    scores = comparison.bootstrap.scores
    success, pod = 1 - scores["far"].value[:, :-1, j], scores["pod"].value[:, :-1, j]
    caption = f"{THRESHOLDS[j]:g} mm/h and above"

    def draw(axes: Any) -> None:
        x = np.linspace(0.005, 1, 200)
        for csi in _CSI:
            with np.errstate(divide="ignore"):
                y = 1 / (1 / csi + 1 - 1 / x)  # CSI = 1 / (1 / SR + 1 / POD - 1)
            there = (y > 0) & (y <= 1)
            axes.plot(x[there], y[there], color="#888888", linewidth=0.5)
            if round(10 * csi) % 2 == 0:
                axes.annotate(f"CSI {csi:.1f}", (x[there][-1], y[there][-1]), color="#888888", fontsize=6, ha="right")
        for bias in _BIAS:
            end = min(1, 1 / bias)
            axes.plot((0, end), (0, bias * end), color="#888888", linewidth=0.5, linestyle=":")
            if bias > 1:
                axes.annotate(
                    f"bias {bias:g}", (end, bias * end), color="#888888", fontsize=6, ha="center", va="bottom"
                )
        for i, style in enumerate(run_styles(comparison)):
            axes.plot(success[i], pod[i], **{**style.line, "markevery": [0]})
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="success ratio, 1 - FAR", ylabel="POD", aspect="equal")

    rows = [
        (run.name, minute, float(success[i, k]), float(pod[i, k]))
        for i, run in enumerate(comparison.runs)
        for k, minute in enumerate(comparison.minutes.tolist())
    ]
    ends = "; ".join(
        f"{run.name} from {_point(success[i, 0], pod[i, 0])} to {_point(success[i, -1], pod[i, -1])}"
        for i, run in enumerate(comparison.runs)
    )
    text = f"Performance diagram at {caption}, success ratio and POD of the shortest and longest lead time: {ends}"
    table = numbers(("run", "minutes", "success_ratio", "pod"), rows)
    return figure(draw_chart(draw, (3.8, 3.8)), text, caption, table)


def _point(success: float, pod: float) -> str:
    return "undefined" if np.isnan(success + pod) else f"({success:.2f}, {pod:.2f})"
