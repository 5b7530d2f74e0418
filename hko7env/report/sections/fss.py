"""Displacement forgiven: fractions skill score by scale and lead time, and CSI after max pooling."""

from typing import Any

import numpy as np

from hko7env.diagnostics.fractions import SCALES, fss
from hko7env.diagnostics.pooling import POOLS
from hko7env.report.bootstrap import TRUSTED, interval
from hko7env.report.comparison import Comparison
from hko7env.report.diagnosed import Diagnosed, Values
from hko7env.report.diagnosed_figures import Axis, Lines, begin, draw_lines
from hko7env.report.html import grid, table
from hko7env.report.section import Section, numbers
from hko7env.units import THRESHOLDS

_SCALE = Axis("window, px", "window_px", log=True, ticks=SCALES)
_FSS = Axis("FSS", "fss")
_SHOWN = 3  # index of the scale that is shown by lead time: 17 px
UNDEFINED = "–"  # noqa: RUF001 - a dash, as printed tables have it


def make(comparison: Comparison) -> Section | None:
    """The section, or None without diagnostics."""
    diagnosed = comparison.diagnosed
    if diagnosed is None:
        return None
    middle = len(comparison.minutes) // 2 - 1
    lead = int(comparison.minutes[middle])
    value, low, high = _fss(diagnosed)
    by_scale, by_lead = [], []
    for j, threshold in enumerate(THRESHOLDS):
        lines = Lines(np.array(SCALES, float), value[:, middle, :, j], low[:, middle, :, j], high[:, middle, :, j])
        caption = f"FSS of {threshold:g} mm/h and above, {lead} min ahead, by side of the window"
        by_scale.append(draw_lines(comparison, diagnosed, lines, (_SCALE, _FSS), caption, (0, 3, 5)))
        shown = np.s_[:, :, _SHOWN, j]
        lines = Lines(comparison.minutes.astype(float), value[shown], low[shown], high[shown])
        caption = f"FSS of {threshold:g} mm/h and above in windows of {SCALES[_SHOWN]} px, by lead time"
        axes = (Axis("lead time, min", "minutes"), _FSS)
        by_lead.append(draw_lines(comparison, diagnosed, lines, axes, caption, (0, middle, -1)))
    text = (
        "<p>A forecast that is right but for a small displacement is a miss and a false alarm for CSI. The fractions "
        "skill score (Roberts and Lean 2008) compares the shares of rainy pixels in square windows: 1 is perfect, and "
        "the larger the window, the more displacement it forgives.</p>"
    )
    useful, useful_csv = _useful(comparison, diagnosed, value, middle)
    pooled, pooled_csv = _pooled(comparison, diagnosed)
    body = [text, begin(comparison, diagnosed)]
    if diagnosed.blocks < TRUSTED:
        body.append(f"<p>Bands come from {diagnosed.blocks} blocks of weather, too few to be trusted.</p>")
    body += ["<h3>By scale</h3>", grid(by_scale, "18rem"), f"<h3>Smallest useful window, {lead} min ahead</h3>", useful]
    body += ["<h3>By lead time</h3>", grid(by_lead, "18rem")]
    body += ["<h3>CSI after max pooling, mean over the lead times</h3>", pooled]
    tables = (("Smallest useful window as CSV", useful_csv), ("CSI after max pooling as CSV, by lead time", pooled_csv))
    everything = _all_scales(comparison, diagnosed, value)
    return Section(
        "fss", "Displacement", "".join(body), (*tables, ("FSS as CSV, all scales and lead times", everything))
    )


def _fss(diagnosed: Diagnosed) -> tuple[Values, Values, Values]:
    """FSS and the ends of its 95 % intervals from blocks, each (S, K, 6, 5); NaN ends with one block only."""
    value = np.stack([total.fss for total in diagnosed.totals])
    if diagnosed.blocks < 2:
        nothing = np.full(value.shape, np.nan)
        return value, nothing, nothing
    drawn = diagnosed.draws()
    ends = []
    for shares in diagnosed.shares:
        low, high = interval(np.moveaxis(fss(np.tensordot(drawn, shares, 1)), 0, -1), diagnosed.blocks)
        ends.append(np.where(np.isfinite(low) & np.isfinite(high), [low, high], np.nan))
    return value, *np.stack(ends, axis=1)


def _useful(comparison: Comparison, diagnosed: Diagnosed, value: Values, lead: int) -> tuple[str, str]:
    """The smallest window whose FSS is at least 0.5 + half the share of rain, as a table and as CSV."""
    first = diagnosed.totals[0].counts(diagnosed.zr)[:, lead]
    share = (first[0] + first[1]) / np.maximum(first.sum(axis=0), 1)
    rows: list[list[Any]] = []
    for position, i in enumerate(diagnosed.runs):
        enough = value[position, lead] >= 0.5 + share / 2
        cells = [
            UNDEFINED if np.isnan(value[position, lead, 0, j]) else
            f"{SCALES[int(enough[:, j].argmax())]} px" if enough[:, j].any() else f"above {SCALES[-1]} px"
            for j in range(len(THRESHOLDS))
        ]  # fmt: skip
        rows.append([comparison.runs[i].name, *cells])
    header = ["run", *(f"≥{t:g} mm/h" for t in THRESHOLDS)]
    note = (
        "<p>A window is useful where FSS is at least 0.5 + f / 2, f the observed share of rainy pixels, midway between "
        "a random forecast and a perfect one (Roberts and Lean 2008).</p>"
    )
    return note + table(header, rows), numbers(header, rows)


def _pooled(comparison: Comparison, diagnosed: Diagnosed) -> tuple[str, str]:
    """CSI of pixels and of the highest levels in cells, as a table and by lead time as CSV."""
    rows, by_lead = [], []
    for position, i in enumerate(diagnosed.runs):
        total, name = diagnosed.totals[position], comparison.runs[i].name
        counts = {1: total.counts(diagnosed.zr)}
        counts |= {pool: np.moveaxis(total.pooled[:, :, p], 1, 0) for p, pool in enumerate(POOLS)}
        for pool, (hits, misses, false_alarms, _) in counts.items():
            with np.errstate(invalid="ignore"):
                csi = hits / (hits + misses + false_alarms)
            rows.append([name, f"{pool} px", *(_cell(v) for v in csi.mean(axis=0))])
            by_lead += [
                [name, pool, minute, *map(float, csi[k])] for k, minute in enumerate(comparison.minutes.tolist())
            ]
    header = [f"≥{t:g} mm/h" for t in THRESHOLDS]
    note = "<p>The highest level in each square cell of 4 or 16 px counts, as recent papers print CSI.</p>"
    return (
        note + table(["run", "cell", *header], rows),
        numbers(["run", "cell_px", "minutes", *(f"csi_{t:g}" for t in THRESHOLDS)], by_lead),
    )


def _all_scales(comparison: Comparison, diagnosed: Diagnosed, value: Values) -> str:
    rows = [
        [comparison.runs[i].name, minute, scale, *map(float, value[position, k, s])]
        for position, i in enumerate(diagnosed.runs)
        for k, minute in enumerate(comparison.minutes.tolist())
        for s, scale in enumerate(SCALES)
    ]
    return numbers(["run", "minutes", "window_px", *(f"fss_{t:g}" for t in THRESHOLDS)], rows)


def _cell(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.4f}"
