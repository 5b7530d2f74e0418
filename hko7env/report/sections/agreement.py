"""Tables 4 and 5 of Shi et al. 2017: spread over seeds, and how errors rank runs compared with CSI and HSS."""

from collections.abc import Sequence

import numpy as np

from hko7env.report.agreement import (
    ERRORS_OF_TABLE_5,
    LEAST_RUNS,
    SKILLS_OF_TABLE_5,
    rank_correlations,
    seed_groups,
)
from hko7env.report.comparison import Comparison, Run
from hko7env.report.html import table
from hko7env.report.published import TAU_B_MSE_CSI, is_official
from hko7env.report.section import Section, numbers
from hko7env.scores import SCORES, averages
from hko7env.units import THRESHOLDS

_IN_TABLE = tuple(score for score in SCORES if score.digits is not None)


def make(comparison: Comparison) -> Section | None:
    """The section, or None if there are neither seeds nor enough runs."""
    parts, tables = [], []
    groups = seed_groups(comparison)
    if groups:
        parts.append(
            "<h3>Spread over seeds (Table 4)</h3><p>Mean ± standard deviation over runs that differ in the seed alone. "
            "It is the spread of training or sampling, not of the weather: that is in the intervals above.</p>"
        )
        parts.append(_seeds(groups))
    if len(comparison.runs) >= LEAST_RUNS:
        parts.append(
            "<h3>Do errors and scores agree? (Table 5)</h3><p>Kendall's tau-b between each error and each score, over "
            f"{len(comparison.runs)} runs. At -1 the run with the smaller error always has the higher score; near 0 "
            "the error says nothing about the score. Few runs give coarse values.</p>"
        )
        shown, text = _correlations(comparison)
        parts.append(shown)
        tables.append(("Kendall's tau as CSV", text))
    return Section("agreement", "Seeds, and agreement of scores", "".join(parts), tuple(tables)) if parts else None


def _seeds(groups: Sequence[tuple[str, Sequence[Run]]]) -> str:
    header, rows = ["Run", "seeds"], []
    for score in _IN_TABLE:
        header += [f"{score.title} ≥{t:g}" for t in THRESHOLDS] if score.per_threshold else [score.title]
    for name, runs in groups:
        means = [averages(run.tally) for run in runs]
        cells = [name, ", ".join(str(run.options["seed"]) for run in runs)]
        for score in _IN_TABLE:
            values = np.stack([np.atleast_1d(mean[score.name]) for mean in means])
            pairs = zip(values.mean(axis=0), values.std(axis=0, ddof=1), strict=True)
            cells += [f"{mean:.{score.digits}f} ± {spread:.{score.digits}f}" for mean, spread in pairs]
        rows.append(cells)
    return table(header, rows)


def _correlations(comparison: Comparison) -> tuple[str, str]:
    """Table 5 of the compared runs as HTML and as CSV."""
    tau = rank_correlations(run.tally for run in comparison.runs).reshape(len(ERRORS_OF_TABLE_5), -1)
    titles = {score.name: score.title for score in SCORES}
    header = ["Error", *(f"{titles[name]} ≥{t:g}" for name in SKILLS_OF_TABLE_5 for t in THRESHOLDS)]
    names = [titles[name] for name in ERRORS_OF_TABLE_5]
    rows = [[name, *map(_text, values)] for name, values in zip(names, tau.tolist(), strict=True)]
    if is_official(comparison):
        rows.append(["B-MSE in the paper", *map(_text, TAU_B_MSE_CSI), *["not transcribed"] * len(THRESHOLDS)])
    lines = [(name, *values) for name, values in zip(names, tau.tolist(), strict=True)]
    return table(header, rows), numbers(header, lines)


def _text(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:+.2f}"
