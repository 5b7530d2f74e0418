"""How runs are drawn: one colour for an agent, one dash and marker for a variant of it, the same in every figure.

The colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart, lighter on a dark page. No
figure relies on colour alone.
"""

from typing import Any, NamedTuple

import numpy.typing as npt

from hko7env.report.charts import RUN_COLOURS
from hko7env.report.comparison import Comparison
from hko7env.report.html import escape

_DASHES = {"-": "", "--": "6 3", ":": "2 3", "-.": "8 3 2 3"}  # of matplotlib and of SVG
_MARKERS = {
    "o": "M18 6m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",
    "s": "M14.8 2.8h6.4v6.4h-6.4z",
    "^": "M18 2l4 7.5h-8z",
    "D": "M18 1.5l4.2 4.5l-4.2 4.5l-4.2 -4.5z",
    "v": "M18 10l4 -7.5h-8z",
    "P": "M16.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
    "X": "M15 2l3 2.5l3 -2.5l1.5 1.5l-2.5 2.5l2.5 2.5l-1.5 1.5l-3 -2.5l-3 2.5l-1.5 -1.5l2.5 -2.5l-2.5 -2.5z",
}


class RunStyle(NamedTuple):
    """Number of a colour of the page (its CSS variable is ``--run-N``), and dash and marker of matplotlib."""

    colour: int
    dash: str
    marker: str

    @property
    def ink(self) -> str:
        """The colour for matplotlib; :func:`hko7env.report.charts.draw_chart` turns it into that of the page."""
        return RUN_COLOURS[self.colour]

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of matplotlib's ``plot``."""
        sparse = {"markevery": (self.colour % 3, 4), "markersize": 4.5, "linewidth": 1.6}
        return {"color": self.ink, "linestyle": self.dash, "marker": self.marker, **sparse}


def run_styles(comparison: Comparison) -> tuple[RunStyle, ...]:
    """One style for each run of a comparison, in their order."""
    agents = list(dict.fromkeys(run.agent for run in comparison.runs))
    dashes, markers = list(_DASHES), list(_MARKERS)
    styles = []
    for i, run in enumerate(comparison.runs):
        agent = agents.index(run.agent)
        variant = sum(other.agent == run.agent for other in comparison.runs[:i])
        marker = markers[(agent + variant * 3) % len(markers)]
        styles.append(RunStyle(agent % len(RUN_COLOURS), dashes[variant % len(dashes)], marker))
    return tuple(styles)


def run_key(comparison: Comparison) -> str:
    """HTML of a key to the lines and markers of the runs."""
    entries = zip(comparison.runs, run_styles(comparison), strict=True)
    return f'<p class="keys">{"".join(f"<span>{sample(s)} {escape(run.name)}</span>" for run, s in entries)}</p>'


def sample(style: RunStyle) -> str:
    """A piece of line with its marker, as decoration beside a name."""
    colour = f"var(--run-{style.colour})"
    return (
        f'<svg class="sample" viewBox="0 0 36 12" aria-hidden="true"><path d="M0 6h36" fill="none" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{_DASHES[style.dash]}"/>'
        f'<path d="{_MARKERS[style.marker]}" fill="{colour}"/></svg>'
    )


def plot_band(
    axes: Any, x: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, style: RunStyle, many: bool
) -> None:
    """Fill the area between the ends of an interval; fainter where ``many`` lie on each other."""
    axes.fill_between(x, low, high, color=style.ink, alpha=0.10 if many else 0.18, linewidth=0)
