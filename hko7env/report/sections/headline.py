"""Who wins and how surely: the result in words, a ranking by B-MSE, and Table 3 with intervals."""

import numpy as np

from hko7env.archive.format import iso
from hko7env.report.bootstrap import TRUSTED, Estimate
from hko7env.report.comparison import Comparison, Incomplete
from hko7env.report.html import escape, rich_table
from hko7env.report.published import PublishedRow, is_official, published_rows
from hko7env.report.run_style import run_styles, sample
from hko7env.report.section import Section, error_text, numbers
from hko7env.report.verdict import excess, is_decided, judge, winner
from hko7env.scores import SCORES
from hko7env.units import THRESHOLDS

UNDEFINED = "–"  # noqa: RUF001 - a dash, as printed tables have it
_COLUMNS = tuple(
    (score, j)
    for score in SCORES
    if score.digits is not None and score.name != "bias"
    for j in (range(len(THRESHOLDS)) if score.per_threshold else (None,))
)


def make(comparison: Comparison) -> Section:
    """The section; it is on every page and comes first."""
    verdict = judge(comparison)
    first, *rest = (escape(sentence) for sentence in verdict.sentences)
    if verdict.best is not None:
        name = escape(comparison.runs[verdict.best].name)
        first = first.replace(name, f"<b>{name}</b>", 1)
    body = [_data(comparison), f'<p class="verdict">{first}</p>', *(f"<p>{sentence}</p>" for sentence in rest)]
    body += [_ranking(comparison, verdict.best), _table_3(comparison)]
    body += _notes(comparison)
    return Section("result", "Who wins", "".join(body), (("Table as CSV, with intervals", _csv(comparison)),))


def _data(comparison: Comparison) -> str:
    """What was forecast, in one line."""
    counts = f"{len(comparison.index)} forecasts"
    if len(comparison.index) < len(comparison.schedule):
        counts += f" (of {len(comparison.schedule)} in the split)"
    episodes = len(np.unique(comparison.episode))
    said = (
        f"{comparison.data.get('source', 'Archive ' + comparison.fingerprint[:10])}; split {comparison.split}, "
        f"{iso(int(comparison.issued[0]))} to {iso(int(comparison.issued[-1]))}: {counts} of "
        f"{comparison.minutes[-1]} minutes in {episodes} {'episode' if episodes == 1 else 'episodes'}."
    )
    return f"<p>{escape(said)}</p>"


def _ranking(comparison: Comparison, best: int | None) -> str:
    """Bars of B-MSE, the best run on top, and the difference of each from the best."""
    value = comparison.bootstrap.scores["b_mse"].value[:, -1]
    styles, rows = run_styles(comparison), []
    for i in np.argsort(value, kind="stable").tolist():
        bar = 0.0 if np.isnan(value[i]) else value[i] / np.nanmax(value)
        colour = styles[i].colour
        name = escape(comparison.runs[i].name)
        name = f"{sample(styles[i])} <b>{name}</b>" if i == best else f"{sample(styles[i])} {name}"
        rows.append(
            [
                f'{name}<i class="bar" style="width: {bar:.1%}; background: var(--run-{colour})"></i>',
                UNDEFINED if np.isnan(value[i]) else error_text(float(value[i])),
                _distance(comparison, i, best),
            ]
        )
    header = (
        "Run <small>(shorter bar, smaller error)</small>",
        "B-MSE",
        f"above the best<br><small>{_interval(comparison)}</small>",
    )
    return f'<div class="ranking">{rich_table(header, rows)}</div>'


def _interval(comparison: Comparison) -> str:
    return "95 % interval" if comparison.bootstrap.trusted else "interval, not to be trusted"


def _distance(comparison: Comparison, run: int, best: int | None) -> str:
    if best is None:
        return UNDEFINED
    if run == best:
        return "lowest"
    found = excess(comparison, run, best)
    ends = f"<br><small>{found.low:+.1%} to {found.high:+.1%}</small>" if comparison.bootstrap.blocks > 1 else ""
    word = "decided" if is_decided(comparison, "b_mse", run, best) else "undecided"
    return f"{found.value:+.1%} {word}{ends}"


def _table_3(comparison: Comparison) -> str:
    groups = ['<th rowspan="2">Run</th>']
    thresholds = ""
    for score in dict.fromkeys(score for score, _ in _COLUMNS):
        better = "higher is better" if score.per_threshold else "lower is better"
        span = f'colspan="{len(THRESHOLDS)}"' if score.per_threshold else 'rowspan="2"'
        groups.append(f'<th {span} class="group">{score.title}<br><small>{better}</small></th>')
        thresholds += "".join(f"<th>≥{t:g}</th>" for t in THRESHOLDS) if score.per_threshold else ""
    leaders = [winner(comparison, score.name, *([] if j is None else [j])) for score, j in _COLUMNS]
    rows = []
    for i, run in enumerate(comparison.runs):
        cells = []
        for (score, j), (leader, decided) in zip(_COLUMNS, leaders, strict=True):
            index = (i, -1) if j is None else (i, -1, j)
            estimate = comparison.bootstrap.scores[score.name].at(*index)
            cells.append(_cell(estimate, score.digits or 0, leader == i and decided, comparison.bootstrap.blocks))
        setting = "" if run.name.endswith(run.setting) else f"<br><small>{escape(run.settings)}</small>"
        rows.append(f"<tr><th>{escape(run.name)}{setting}</th>{''.join(cells)}</tr>")
    rows += [_paper(row) for row in published_rows(comparison)]
    return (
        f"<h3>The columns of Table 3 of Shi et al. 2017, with {_interval(comparison)}</h3>"
        '<div class="scroll"><table class="table-3"><thead>'
        f"<tr>{''.join(groups)}</tr><tr>{thresholds}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(estimate: Estimate, digits: int, bold: bool, blocks: int) -> str:
    if np.isnan(estimate.value):
        return f"<td>{UNDEFINED}</td>"
    text = f"{estimate.value:.{digits}f}" if digits else error_text(float(estimate.value))
    bounds = (_end(estimate.low, digits), _end(estimate.high, digits))
    between = " to " if estimate.low < 0 else "&ndash;"
    ends = f"<br><small>{between.join(bounds)}</small>" if blocks > 1 else ""
    return f"<td>{f'<b>{text}</b>' if bold else text}{ends}</td>"


def _end(value: np.ndarray, digits: int) -> str:
    if not np.isfinite(value):
        return UNDEFINED
    return f"{value:.{digits - 1}f}" if digits else error_text(float(value))


def _paper(row: PublishedRow) -> str:
    csi = "".join(f"<td>{value:.4f}</td>" for value in row.csi)
    nothing = "<td></td>" * len(THRESHOLDS)
    return (
        f'<tr class="paper"><th>Shi et al. 2017: {escape(row.name)}<br><small>{row.setting}</small></th>{csi}{nothing}'
        f"<td>{row.b_mse}</td><td>{row.b_mae}</td></tr>"
    )


def _notes(comparison: Comparison) -> list[str]:
    blocks = comparison.bootstrap.blocks
    notes = [_stopped(run) for run in comparison.incomplete]
    notes += [
        "<p><small>Each cell is the mean over the lead times. CSI and HSS at rain rates in mm/h. Small figures: 95 % "
        f"interval of a bootstrap over {blocks} blocks (episodes, cut at midnight where longer than a day). "
        "<b>Bold</b>: better than every other run, each difference with an interval that leaves out 0. Differences "
        "are paired, so intervals of two runs may overlap although their difference is decided. No correction is made "
        "for looking at many columns.</small></p>"
    ]
    if blocks < TRUSTED:
        notes.append(
            f'<p class="note"><b>The intervals cannot be trusted.</b> They come from {blocks} '
            f"{'block' if blocks == 1 else 'blocks'} of weather; fewer than {TRUSTED} do not show how much scores vary "
            "from one rain event to the next. No difference is called decided. Evaluate more episodes.</p>"
        )
    if not is_official(comparison):
        notes.append(
            "<p><small>The paper's own rows are not shown: they hold for the official HKO-7 test set and protocol "
            "only, and fingerprints say that these data are others.</small></p>"
        )
    return notes


def _stopped(run: Incomplete) -> str:
    return (
        f'<p class="note"><b>Not shown:</b> {escape(run.path.name)} {escape(run.lacks)}. '
        f"Complete it: <code>{escape(run.command)}</code></p>"
    )


def _csv(comparison: Comparison) -> str:
    header, rows = ["run", "setting"], []
    for score, j in _COLUMNS:
        name = score.name if j is None else f"{score.name}_{THRESHOLDS[j]:g}"
        header += [name, f"{name}_low", f"{name}_high"]
    for i, run in enumerate(comparison.runs):
        row: list[object] = [run.name, run.settings]
        for score, j in _COLUMNS:
            row += map(float, comparison.bootstrap.scores[score.name].at(*((i, -1) if j is None else (i, -1, j))))
        rows.append(row)
    return numbers(header, rows)
