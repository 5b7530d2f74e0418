"""Blur: power spectra of forecasts beside the truth's, and effective resolution by lead time."""

import numpy as np

from hko7env.diagnostics.spectra import resolution, side_of
from hko7env.report.comparison import Comparison
from hko7env.report.diagnosed import Diagnosed, Values
from hko7env.report.diagnosed_figures import Axis, Lines, begin, draw_lines
from hko7env.report.html import escape, grid, table
from hko7env.report.section import Section, numbers

_RATIOS = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
_WAVELENGTH = Axis("wavelength, px", "wavelength_px", log=True, ticks=(2, 4, 8, 16, 32, 64, 128, 256))


def make(comparison: Comparison) -> Section | None:
    """The section, or None without diagnostics, or without a sequence whose truth was present at all leads."""
    diagnosed = comparison.diagnosed
    if diagnosed is None or not diagnosed.totals[0].spectra_sequences or not diagnosed.totals[0].spectra.size:
        return None
    count, rings = diagnosed.totals[0].spectra_sequences, diagnosed.totals[0].spectra.shape[2]
    side = side_of(rings)
    wavelength = side / np.arange(1, rings)
    truth = diagnosed.totals[0].spectra[:, 0, 1:] / count
    forecast = np.stack([total.spectra[:, 1, 1:] / count for total in diagnosed.totals])
    sharp = np.array([[resolution(*total.spectra[k]) for k in range(len(truth))] for total in diagnosed.totals])
    last = len(comparison.minutes) - 1
    panels = []
    for k in sorted({last // 2, last}):
        ratio = forecast[:, k] / np.where(truth[k] > 0, truth[k], np.nan)
        half = np.full(len(wavelength), 0.5)
        lines = Lines(wavelength, ratio, reference=half, reference_name="half the power of the truth")
        caption = f"Power relative to the truth, {comparison.minutes[k]} min ahead; the dotted line is half"
        axes = (_WAVELENGTH, Axis("power / that of the truth", "relative_power", True, _RATIOS))
        panels.append(draw_lines(comparison, diagnosed, lines, axes, caption, _places(wavelength)))
    lines = Lines(comparison.minutes.astype(float), sharp)
    axes = (Axis("lead time, min", "minutes"), Axis("resolution, px", "resolution_px", True, _WAVELENGTH.ticks))
    resolved = draw_lines(
        comparison, diagnosed, lines, axes, "Effective resolution by lead time: lower is sharper", (0, last // 2, last)
    )
    text = (
        "<p>A forecast that hedges against displacement is smooth: it lacks power at short wavelengths. Its effective "
        "resolution is the wavelength below which it has less than half the power of the truth; 2 px is the best that "
        "pixels can show.</p>"
    )
    where = f"Spectra of a square of {side} px, of the {count} of these whose truth was present at all lead times."
    body = [text, begin(comparison, diagnosed), f"<p>{escape(where)}</p>"]
    body += [grid([resolved, *panels], "18rem"), _resolutions(comparison, diagnosed, sharp)]
    spectra = ("Spectra as CSV, all lead times", _csv(comparison, diagnosed, wavelength, truth, forecast))
    return Section("spectrum", "Blur", "".join(body), (spectra,))


def _places(wavelength: Values) -> tuple[int, ...]:
    """Indices of about 4, 16 and 64 px."""
    return tuple(int(np.abs(np.log(wavelength / px)).argmin()) for px in (64, 16, 4))


def _resolutions(comparison: Comparison, diagnosed: Diagnosed, sharp: Values) -> str:
    """Effective resolution at the first, middle and last lead time."""
    last = len(comparison.minutes) - 1
    chosen = sorted({0, last // 2, last})
    rows = [
        [comparison.runs[i].name, *("–" if np.isnan(sharp[p, k]) else f"{sharp[p, k]:.3g} px" for k in chosen)]  # noqa: RUF001
        for p, i in enumerate(diagnosed.runs)
    ]
    return table(["effective resolution", *(f"{comparison.minutes[k]} min" for k in chosen)], rows)


def _csv(comparison: Comparison, diagnosed: Diagnosed, wavelength: Values, truth: Values, forecast: Values) -> str:
    names = ["truth", *(comparison.runs[i].name for i in diagnosed.runs)]
    rows = [
        [minute, float(wavelength[r]), *(float(power[k, r]) for power in (truth, *forecast))]
        for k, minute in enumerate(comparison.minutes.tolist())
        for r in range(len(wavelength))
    ]
    return numbers(["minutes", "wavelength_px", *names], rows)
