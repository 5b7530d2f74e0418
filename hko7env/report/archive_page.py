"""An archive at a glance: frames, their motion, mask, clutter, spectrum, rain rates and months on one page."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import OUT_OF_RANGE, iso
from hko7env.archive.statistics import as_page, as_svg, draw_months, draw_shares, new_figure, summarise, tables
from hko7env.rendering import colour
from hko7env.scores import scored
from hko7env.synthetic import Truth
from hko7env.synthetic.realism import bands, slope, spectra
from hko7env.synthetic.truth import truth_of
from hko7env.synthetic.wind import NODE
from hko7env.units import NOISE_LEVEL

FRAMES, APART = 6, 5  # pictures of one stretch of rain, and the steps between them
DRY = 0.02  # share of rain below which a frame is dry: what is seen then is clutter
WETTER_THAN = 0.92  # of all stretches: rain enough to see, not a flood
_SIDE = 64  # of the picture whose bands name the wavelengths: they are the same for every side


def gallery(archive: Archive, *, step: Callable[[int], Any] | None = None) -> str:
    """The page as HTML, figures inside. ``step`` is told of frames read.

    Raises ValueError if matplotlib is not installed or no frame is there.
    """
    times = archive.select()
    summary = summarise(archive.name, times, step=step)
    echo, wetness = _look(archive, times, step)
    stretch = np.convolve(wetness, np.ones(FRAMES * APART), "valid" if len(times) > FRAMES * APART else "same")
    first = int(np.argsort(stretch)[int(WETTER_THAN * (len(stretch) - 1))])
    shown = times[first : first + FRAMES * APART : APART]
    truth = truth_of(archive.name)
    figures = [_frames(archive, shown, truth), _statistics(archive, summary, echo, truth)]
    return as_page(archive, tables(archive, summary), figures)


def _look(
    archive: Archive, times: npt.NDArray[np.int64], step: Callable[[int], Any] | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(H, W) how often each location shows echo in dry frames, and the wet share of each frame."""
    wetness, echo = np.zeros(len(times)), np.zeros(archive.shape)
    for i, time in enumerate(times):
        frame = archive.at([time])[0][0]
        wetness[i] = (scored(frame, archive.scored) & (frame >= NOISE_LEVEL)).mean()
        if wetness[i] < DRY:
            echo += frame > 0
        if step:
            step(1)
    return echo / max(int(np.count_nonzero(wetness < DRY)), 1), wetness


def _frames(archive: Archive, times: npt.NDArray[np.int64], truth: Truth | None) -> str:
    figure = new_figure(3 * FRAMES, 6.4 if truth else 3.4)
    panels = figure.subplots(2 if truth else 1, FRAMES, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for panel, time in zip(panels[0], times, strict=False):
        panel.imshow(colour(archive.at([time])[0][0], archive.scored, archive.zr))
        panel.set_title(f"{iso(time)} recorded", fontsize=9)
    if truth:
        for panel, time in zip(panels[1], times, strict=False):
            panel.imshow(colour(truth.clean(int(time)), archive.scored, archive.zr))
            motion = next(truth.ahead(int(time), 1))[0][:, ::2, ::2]
            y, x = np.indices(motion.shape[1:]) * 2 * NODE
            panel.quiver(x, y, motion[1], -motion[0], scale_units="xy", scale=0.15, width=0.004)
            panel.set(xlim=(0, archive.shape[1]), ylim=(archive.shape[0], 0))
            panel.set_title("rain and its motion", fontsize=9)
    return as_svg(figure)


def _statistics(archive: Archive, summary: Any, echo: npt.NDArray[np.float64], truth: Truth | None) -> str:
    figure = new_figure(16, 9)
    share, month, mask, clutter, spectrum, unused = figure.subplots(2, 3).reshape(-1)
    draw_shares(share, summary, archive.zr)
    draw_months(month, summary, archive.zr)
    mask.imshow(archive.mask, cmap="gray_r", vmax=2.5)
    mask.set(title="Static mask: scored, outlier, out of range", xlabel="column", ylabel="row")
    clutter.imshow(np.where(archive.mask == OUT_OF_RANGE, np.nan, echo), vmax=1)
    clutter.set(title="How often there is echo in dry frames", xlabel="column", ylabel="row")
    unused.set_axis_off()
    if not truth:
        spectrum.set_axis_off()
        return as_svg(figure)
    found = spectra(archive.name, list(range(len(archive))))
    _, wavenumbers = bands(_SIDE)
    for power, name in ((found.early, "first half of episodes"), (found.late, "second half")):
        if power.any():
            spectrum.loglog(1 / wavenumbers, power / power.sum(), label=f"{name}, slope {slope(power):.2f}")
    spectrum.set(xlabel="wavelength, km", ylabel="power", title=f"Spectrum of {found.frames} wet frames")
    spectrum.invert_xaxis()
    spectrum.legend()
    return as_svg(figure)
