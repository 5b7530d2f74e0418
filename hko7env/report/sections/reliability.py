"""Intensities: what is observed where an intensity is forecast, every threshold, and the best recalibration."""

from typing import Any

import numpy as np

from hko7env.diagnostics.intensities import (
    best_csi,
    csi_at_levels,
    quantiles,
    rain_rates,
    recalibrated,
    reliability,
)
from hko7env.report.comparison import Comparison
from hko7env.report.diagnosed import Diagnosed, Values
from hko7env.report.diagnosed_figures import Axis, Lines, begin, draw_lines
from hko7env.report.html import grid, table
from hko7env.report.section import Section, numbers
from hko7env.units import THRESHOLDS

_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
_LEAST = 100  # locations of a class whose mean is shown
_SHARES = 1 - np.geomspace(0.2, 1e-5, 40)  # of the locations, for quantiles
_SHOWN = (0.1, 100.0)  # mm/h: range of thresholds and quantiles that are shown


def make(comparison: Comparison) -> Section | None:
    """The section, or None without diagnostics."""
    diagnosed = comparison.diagnosed
    if diagnosed is None:
        return None
    figures = [
        _reliability(comparison, diagnosed),
        _quantiles(comparison, diagnosed),
        _every_threshold(comparison, diagnosed),
    ]
    text = (
        "<p>All lead times together, from the joint histogram of observed and forecast levels. Reliable: where a rain "
        "rate is forecast, it is observed in the mean. Quantiles: whether it rains as hard as in the observations, "
        "wherever that may be. Every threshold: CSI, mean over the lead times, not at the five of the table only.</p>"
    )
    body = [text, begin(comparison, diagnosed), grid(figures, "18rem")]
    shown, csv_text = _recalibration(comparison, diagnosed)
    body += ["<h3>What a recalibration could gain</h3>", shown]
    return Section("reliability", "Intensities", "".join(body), (("Recalibration as CSV, by lead time", csv_text),))


def _reliability(comparison: Comparison, diagnosed: Diagnosed) -> str:
    """Mean observed rain by forecast rain."""
    found = [reliability(total.joint.sum(axis=0), diagnosed.zr) for total in diagnosed.totals]
    enough = np.stack([one.locations >= _LEAST for one in found])
    x = np.where(enough.any(axis=0), np.nanmean(_masked([one.forecast for one in found], enough), axis=0), np.nan)
    shown = np.isfinite(x)
    y = _masked([one.observed for one in found], enough)[:, shown]
    lines = Lines(x[shown], y, reference=x[shown], reference_name="reliable")
    axes = (
        Axis("forecast, mm/h", "forecast_mm_h", True, _TICKS),
        Axis("observed, mm/h", "observed_mm_h", True, _TICKS),
    )
    caption = "Mean observed rain where rain of a class was forecast; on the dotted line forecasts are reliable"
    return draw_lines(comparison, diagnosed, lines, axes, caption, range(int(shown.sum())))


def _masked(parts: list[Values], there: Any) -> Values:
    """Values where ``there`` is True, NaN elsewhere; a column without any is 0, so that its mean is defined."""
    values = np.where(there, np.stack(parts), np.nan)
    values[:, ~there.any(axis=0)] = 0
    return values


def _quantiles(comparison: Comparison, diagnosed: Diagnosed) -> str:
    """Quantiles of the forecasts against those of the observations."""
    joints = [total.joint.sum(axis=0) for total in diagnosed.totals]
    observed = quantiles(joints[0].sum(axis=1), _SHARES, diagnosed.zr)
    forecast = np.stack([quantiles(joint.sum(axis=0), _SHARES, diagnosed.zr) for joint in joints])
    shown = (observed >= _SHOWN[0]) & (observed <= _SHOWN[1])
    lines = Lines(
        observed[shown],
        np.where(forecast > 0, forecast, np.nan)[:, shown],
        reference=observed[shown],
        reference_name="equal",
    )
    axes = (
        Axis("quantile observed, mm/h", "observed_mm_h", True, _TICKS),
        Axis("quantile forecast, mm/h", "forecast_mm_h", True, _TICKS),
    )
    caption = "Quantiles of forecast and observed rain; below the dotted line it rains too little"
    count = int(shown.sum())
    return draw_lines(comparison, diagnosed, lines, axes, caption, sorted({0, count // 2, count - 1} - {-1}))


def _every_threshold(comparison: Comparison, diagnosed: Diagnosed) -> str:
    """CSI at every level, mean over the lead times."""
    rates = rain_rates(diagnosed.zr)
    levels = np.flatnonzero((rates >= _SHOWN[0]) & (rates <= _SHOWN[1]))[::4]
    csi = np.stack([csi_at_levels(total.joint, levels).mean(axis=0) for total in diagnosed.totals])
    axes = (Axis("threshold, mm/h", "threshold_mm_h", True, _TICKS), Axis("CSI", "csi"))
    at = [int(np.abs(np.log(rates[levels] / t)).argmin()) for t in THRESHOLDS]
    return draw_lines(comparison, diagnosed, Lines(rates[levels], csi), axes, "CSI at every threshold", at)


def _recalibration(comparison: Comparison, diagnosed: Diagnosed) -> tuple[str, str]:
    """B-MSE and CSI as they are and after the best change of levels, as a table and by lead time as CSV."""
    rows, by_lead = [], []
    levels = diagnosed.zr.threshold_levels.tolist()
    for position, i in enumerate(diagnosed.runs):
        total, name = diagnosed.totals[position], comparison.runs[i].name
        errors = np.array([recalibrated(joint, diagnosed.zr) for joint in total.joint]) / total.sequences
        before = csi_at_levels(total.joint, diagnosed.zr.threshold_levels)
        after = np.array([[best_csi(joint, level)[0] for level in levels] for joint in total.joint])
        mean = errors.mean(axis=0)
        change = (mean[1] / mean[0] - 1) if mean[0] else 0.0
        cells = [_change(b, a) for b, a in zip(before.mean(axis=0), after.mean(axis=0), strict=True)]
        rows.append([name, f"{mean[0]:.0f} → {mean[1]:.0f} ({change:+.0%})", *cells])
        by_lead += [
            [name, minute, *map(float, (*errors[k], *before[k], *after[k]))]
            for k, minute in enumerate(comparison.minutes.tolist())
        ]
    note = (
        "<p>As it is → with the best change of forecast levels, chosen in hindsight for each lead time, so a bound: "
        "the error that remains is one of place or time, not of intensity. B-MSE is that of forecasts rounded to "
        "levels; for CSI the threshold of the forecast is changed.</p>"
    )
    header = ["run", "B-MSE", *(f"CSI ≥{t:g}" for t in THRESHOLDS)]
    names = [f"csi_{t:g}" for t in THRESHOLDS]
    columns = ["run", "minutes", "b_mse", "b_mse_best", *names, *(f"{name}_best" for name in names)]
    return note + table(header, rows), numbers(columns, by_lead)


def _change(before: float, after: float) -> str:
    return "–" if np.isnan(before + after) else f"{before:.3f} → {after:.3f}"  # noqa: RUF001 - a dash
