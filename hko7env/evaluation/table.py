"""Table 3 of Shi et al. 2017 and scores per lead, derived from tallies by :data:`hko7env.scores.SCORES`."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hko7env.scores import COUNTS, ERRORS, SCORES, Tally, averages, scores
from hko7env.units import THRESHOLDS

UNDEFINED = "–"  # noqa: RUF001 - a dash, as printed tables have it

_IN_TABLE = tuple(score for score in SCORES if score.digits is not None)
_EVENT_SCORES = tuple(score.name for score in SCORES if score.per_threshold)
_ERROR_SCORES = tuple(score.name for score in SCORES if not score.per_threshold)


@dataclass(frozen=True, eq=False)
class Result:
    """The result of one run, a row of the table.

    Attributes:
        agent: Name of the agent.
        setting: ``online`` or ``offline``.
        data: One line that describes the data.
        tally: The tally of all sequences.
        episodes: Number of episodes that were run, the last one perhaps in part.
    """

    agent: str
    setting: str
    data: str
    tally: Tally
    episodes: int


def leads_csv(tally: Tally, cadence: int) -> str:
    """Format scores, counts and error sums per lead time as CSV.

    Args:
        tally: The tally.
        cadence: Minutes between lead times.

    Returns:
        One line per lead; an undefined score is an empty cell.
    """
    by_name = scores(tally)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    counts = (*COUNTS, "samples")
    events = [f"{t:g}" for t in THRESHOLDS]
    names = [f"{name}_{event}" for name in (*_EVENT_SCORES, *counts) for event in events]
    writer.writerow(["lead", "minutes", "sequences", *names, *_ERROR_SCORES, *ERRORS])
    for k in range(len(tally.squared)):
        cells = [_cell(value) for name in _EVENT_SCORES for value in by_name[name][k]]
        cells += [str(int(value)) for name in counts for value in getattr(tally, name)[k]]
        cells += [_cell(by_name[name][k]) for name in _ERROR_SCORES]
        cells += [repr(float(getattr(tally, name)[k])) for name in ERRORS]
        writer.writerow([k + 1, (k + 1) * cadence, tally.sequences, *cells])
    return out.getvalue()


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"


def table(results: Sequence[Result]) -> str:
    """Format Table 3 of Shi et al. 2017 as markdown, with frequency bias and numbers of sequences and episodes.

    Lines below the table describe the data and name every average that is undefined.
    """
    header = ["Agent", "Setting", *_score_titles()]
    header += ["sequences", "episodes"]
    lines: list[list[str]] = []
    notes: list[str] = []
    for result in results:
        mean = averages(result.tally)
        values = [_score(v, score.digits) for score in _IN_TABLE for v in np.atleast_1d(mean[score.name])]
        lines.append([result.agent, result.setting, *values, str(result.tally.sequences), str(result.episodes)])
        notes += _undefined(result)
    text = _aligned([header, *lines])
    legend = (
        "Mean over the lead times of scores pooled per lead; CSI and HSS at rain rates in mm/h; bias 1 is unbiased."
    )
    return "\n".join([*text, "", *sorted({result.data for result in results}), legend, *notes, ""])


def one_line(result: Result) -> str:
    """Name a run and its scores of Table 3 in one line, for those who wait for other runs."""
    mean = averages(result.tally)
    cells = []
    for score in _IN_TABLE:
        cells.append(" ".join([score.title, *(_score(v, score.digits) for v in np.atleast_1d(mean[score.name]))]))
    return f"{result.agent} {result.setting}: {', '.join(cells)}"


def seed_table(groups: Iterable[Sequence[Result]]) -> str:
    """Format mean and standard deviation over seeds as markdown, as Table 4 of Shi et al. 2017.

    Args:
        groups: Results that differ in the seed alone, of several agents and settings. Groups of fewer than two are left
            out.

    Returns:
        The table; empty if there is no group of two or more. The standard deviation is that of a sample (n - 1). A
        score that is undefined for one seed has no mean.
    """
    lines = []
    for results in groups:
        if len(results) < 2:
            continue
        means = [averages(result.tally) for result in results]
        cells = []
        for score in _IN_TABLE:
            values = np.stack([np.atleast_1d(mean[score.name]) for mean in means])
            pairs = zip(values.mean(axis=0), values.std(axis=0, ddof=1), strict=True)
            cells += [_score(m, score.digits) + ("" if np.isnan(m) else f" ± {s:.{score.digits}f}") for m, s in pairs]
        lines.append([results[0].agent, results[0].setting, *cells, str(len(results))])
    if not lines:
        return ""
    title = "Mean and standard deviation over seeds:"
    return "\n".join([title, "", *_aligned([["Agent", "Setting", *_score_titles(), "seeds"], *lines]), ""]) + "\n"


def _score_titles() -> list[str]:
    titles = []
    for score in _IN_TABLE:
        titles += [f"{score.title} ≥{t:g}" for t in THRESHOLDS] if score.per_threshold else [score.title]
    return titles


def _undefined(result: Result) -> Iterator[str]:
    """One line for each threshold at which an average is undefined, with the numbers of events."""
    by_name, tally = scores(result.tally), result.tally
    for j, threshold in enumerate(THRESHOLDS):
        shown = [score for score in _IN_TABLE if score.per_threshold]
        missing = [(score.title, int(np.isnan(by_name[score.name][:, j]).sum())) for score in shown]
        named = ", ".join(f"{title} at {n}" for title, n in missing if n)
        if named:
            seen, either = (tally.hits + tally.misses)[:, j], tally.samples[:, j]
            yield (
                f"{UNDEFINED} {result.agent} {result.setting} ≥{threshold:g} mm/h: undefined {named} of {len(seen)} "
                f"leads, so no mean; per lead {seen.min()} to {seen.max()} events observed, {either.min()} to "
                f"{either.max()} observed or forecast"
            )


def _score(value: Any, digits: int | None) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a markdown table whose first row is the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [_line(rows[0], widths), _line(["-" * w for w in widths], widths), *(_line(row, widths) for row in rows[1:])]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return f"| {' | '.join(padded)} |"
