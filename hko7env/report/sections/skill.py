"""Skill between a reference forecast (0) and the best possible one (1), where these runs are compared too."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.report.bootstrap import Bootstrap, Estimate, interval
from hko7env.report.charts import draw_chart
from hko7env.report.comparison import Comparison
from hko7env.report.html import escape, grid, rich_table
from hko7env.report.run_style import run_styles, sample
from hko7env.report.section import Section, figure, folded, numbers
from hko7env.units import THRESHOLDS

REFERENCES = ("last_frame", "rover")
ORACLE = "oracle"
_PERFECT = {"b_mse": 0.0, "csi": 1.0}


def make(comparison: Comparison) -> Section | None:
    """The section, or None if neither reference is compared, or nothing but one."""
    if len(comparison.runs) < 2:
        return None
    agents = [run.package_agent for run in comparison.runs]
    parts = [_of_reference(comparison, agents.index(name)) for name in REFERENCES if name in agents]
    if not parts:
        return None
    top = "the oracle, which knows how the rain moves" if ORACLE in agents else "a perfect forecast (no oracle was run)"
    intro = (
        "<p>Skill is the share of the way from a reference, 0, to the best, 1, that a run has gone: (S - reference) / "
        f"(best - reference). The best is {top}. Below 0 a run is worse than the reference.</p>"
    )
    return Section("skill", "Skill", intro + "".join(parts))


def skill(values: npt.NDArray[np.float64], reference: int, best: Any) -> npt.NDArray[np.float64]:
    """(S, ...) share of the way from values[reference] to ``best``; NaN where the two are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (values - values[reference]) / (best - values[reference])
    return np.where(np.isfinite(found), found, np.nan)


def _of_reference(comparison: Comparison, reference: int) -> str:
    name = comparison.runs[reference].name
    found, styles = comparison.bootstrap, run_styles(comparison)
    columns: list[tuple[str, str, int | None]] = [("B-MSE", "b_mse", None)]
    columns += [(f"CSI ≥{t:g}", "csi", j) for j, t in enumerate(THRESHOLDS)]
    estimates = [_skill_of_means(comparison, score, j, reference) for _, score, j in columns]
    rows, lines = [], []
    for i, run in enumerate(comparison.runs):
        if i == reference:
            continue
        rows.append([f"{sample(styles[i])} {escape(run.name)}", *(_cell(e.at(i), found) for e in estimates)])
        lines.append((run.name, *(float(part[i]) for e in estimates for part in e)))
    header = ["run", *(f"{title}{end}" for title, _, _ in columns for end in ("", " low", " high"))]
    table = rich_table(["Run", *(title for title, _, _ in columns)], rows)
    panels = [_panel(comparison, reference, "b_mse", None), _panel(comparison, reference, "csi", 2)]
    return (
        f"<h3>Above {escape(name)}</h3>{table}{folded('Numbers as CSV', numbers(header, lines))}{grid(panels, '18rem')}"
    )


def _skill_of_means(comparison: Comparison, score: str, j: int | None, reference: int) -> Estimate:
    """Skill of the means over lead times, (S,), with intervals."""
    index = (...,) if j is None else (slice(None), j)
    drawn = comparison.bootstrap.means[score][index]
    value = comparison.bootstrap.scores[score].value[:, -1][index]
    oracle = _oracle(comparison)
    best: Any = _PERFECT[score] if oracle is None else value[oracle]
    best_drawn: Any = _PERFECT[score] if oracle is None else drawn[oracle]
    ends = interval(skill(drawn, reference, best_drawn), comparison.bootstrap.blocks)
    return Estimate(skill(value, reference, best), *ends)


def _oracle(comparison: Comparison) -> int | None:
    agents = [run.package_agent for run in comparison.runs]
    return agents.index(ORACLE) if ORACLE in agents else None


def _cell(estimate: Estimate, found: Bootstrap) -> str:
    if np.isnan(estimate.value):
        return "undefined"
    finite = found.blocks > 1 and np.isfinite(estimate.low) and np.isfinite(estimate.high)
    ends = f"<br><small>{estimate.low:.2f} to {estimate.high:.2f}</small>" if finite else ""
    return f"{estimate.value:.2f}{ends}"


def _panel(comparison: Comparison, reference: int, score: str, j: int | None) -> str:
    value = comparison.bootstrap.scores[score].value[:, :-1]
    value = value if j is None else value[..., j]
    oracle = _oracle(comparison)
    by_lead = skill(value, reference, _PERFECT[score] if oracle is None else value[oracle])
    caption = f"Skill in {'B-MSE' if j is None else f'CSI at {THRESHOLDS[j]:g} mm/h and above'} by lead time"
    shown = [i for i in range(len(by_lead)) if i not in (reference, oracle)]

    def draw(axes: Any) -> None:
        for i in shown:
            axes.plot(comparison.minutes, by_lead[i], **run_styles(comparison)[i].line)
        axes.axhline(0, color="#888888", linewidth=0.8)
        axes.set(xlabel="lead time, min", ylabel=f"skill above {comparison.runs[reference].name}")

    minutes = comparison.minutes.tolist()
    lines = [(comparison.runs[i].name, m, float(by_lead[i, k])) for i in shown for k, m in enumerate(minutes)]
    ends = [f"{comparison.runs[i].name} {by_lead[i, 0]:.2f} to {by_lead[i, -1]:.2f}" for i in shown]
    text = f"Lines of {caption}, first and last lead time: {'; '.join(ends)}"
    return figure(draw_chart(draw, (4.2, 2.9)), text, caption, numbers(("run", "minutes", "skill"), lines))
