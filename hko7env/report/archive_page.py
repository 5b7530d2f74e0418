"""One HTML page about an archive: frames, rain rates, splits, months, mask, clutter; for synthetic rain the truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive, absolute_name
from hko7env.archive.clutter import Outliers, count_archive, find_outliers
from hko7env.archive.format import OUT_OF_RANGE, OUTLIER, iso
from hko7env.archive.statistics import MONTHS, Summary, rate_classes, split_sizes, summarise
from hko7env.parallel import parts_of, sum_over
from hko7env.rendering import colour, palette
from hko7env.report.charts import draw_chart, draw_map
from hko7env.report.html import colour_key, data_url, escape, grid, image_figure, page, svg_figure, table
from hko7env.scores import scored
from hko7env.synthetic.spectra import band_wavenumbers, measure_spectra, slope_of
from hko7env.synthetic.truth import Truth, truth_of
from hko7env.synthetic.wind import NODE
from hko7env.units import NOISE_LEVEL, THRESHOLDS

FRAMES, APART = 6, 5  # frames shown, and the steps between them
DRY = 0.02  # share of echo in the scored locations below which a frame is dry: its echo is clutter
WETTER_THAN = 0.92  # of all stretches of time: the frames shown have much rain, but not the most

_PART = 250  # frames read by a worker at once
_ARROWS = 2  # nodes between arrows of motion
_LONGER = 6  # factor by which arrows are longer than the displacement of one step
_MASK_COLOURS = ((245, 245, 245), (225, 120, 30), (150, 150, 150))  # scored, outlier, out of range


@dataclass(frozen=True, eq=False)
class Survey:
    """Where and how often there is echo in an archive; surveys of consecutive frames can be added.

    Attributes:
        wetness: (n,) share of each frame's scored locations with echo.
        dry_echo: (H, W) number of dry frames in which each location shows echo.
    """

    wetness: npt.NDArray[np.float64]
    dry_echo: npt.NDArray[np.int64]

    def __add__(self, other: "Survey") -> "Survey":
        return Survey(np.concatenate([self.wetness, other.wetness]), self.dry_echo + other.dry_echo)

    @property
    def dry_share(self) -> npt.NDArray[np.float64]:
        """(H, W) share of dry frames in which each location shows echo."""
        return np.asarray(self.dry_echo / max(int(np.count_nonzero(self.wetness < DRY)), 1))


def make_page(
    archive: Archive, *, workers: int = 1, scheduler: str | None = None, step: Callable[[int], Any] | None = None
) -> str:
    """Make the page of an archive.

    Args:
        archive: An open archive with at least one good frame.
        workers: Processes; 1 means this one.
        scheduler: Address of a dask scheduler, whose workers are used instead.
        step: Called with the number of frames just read, see :func:`count_steps`.

    Returns:
        HTML that needs no other file.

    Raises:
        ValueError: matplotlib is not installed, or the archive has no good frame.
    """
    work: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "step": step}
    times, truth = archive.select(), truth_of(archive.name)
    summary = summarise(archive.name, times, **work)
    survey = _survey(archive.name, times, work)
    outliers = find_outliers(count_archive(archive.name, times, **work), archive.mask != OUT_OF_RANGE)
    parts = [*_facts(archive), *_frames(archive, _choose_times(times, survey.wetness), truth)]
    parts += [*_rain(archive, summary), *_clutter(archive, survey, outliers)]
    if truth:
        parts += _spectrum(archive.name)
    return page(str(archive.attributes.get("source") or archive.name), parts)


def count_steps(archive: Archive) -> int:
    """Total of the numbers with which :func:`make_page` calls ``step``."""
    return 3 * len(archive.select())


def _survey(path: str, times: npt.NDArray[np.int64], work: dict[str, Any]) -> Survey:
    return sum_over(partial(_survey_part, absolute_name(path)), parts_of(times.tolist(), _PART), **work)


def _survey_part(path: str, times: list[int]) -> Survey:
    archive = Archive(path)
    wetness, echo = np.zeros(len(times)), np.zeros(archive.shape, np.int64)
    for i, time in enumerate(times):
        frame = archive.at([time])[0][0]
        wetness[i] = (scored(frame, archive.scored) & (frame >= NOISE_LEVEL)).mean()
        if wetness[i] < DRY:
            echo += frame > 0
    return Survey(wetness, echo)


def _choose_times(times: npt.NDArray[np.int64], wetness: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Times of the frames to show: a stretch with much rain."""
    length = FRAMES * APART
    stretch = np.convolve(wetness, np.ones(length), "valid" if len(times) > length else "same")
    first = int(np.argsort(stretch)[int(WETTER_THAN * (len(stretch) - 1))])
    return times[first : first + length : APART]


def _facts(archive: Archive) -> Iterator[str]:
    height, width = archive.shape
    span = f"{iso(int(archive.times[0]))} to {iso(int(archive.times[-1]))}"
    every = f"{len(archive)} frames of {height} x {width} px, every {archive.cadence} min, {span}."
    licence = archive.attributes.get("licence")
    yield f"<p>{escape(every)}{escape(f' Licence: {licence}.') if licence else ''}</p>"


def _frames(archive: Archive, times: npt.NDArray[np.int64], truth: Truth | None) -> Iterator[str]:
    yield "<h2>Frames</h2>"
    colours = palette(archive.zr)[np.minimum(archive.zr.threshold_levels, 255)]
    yield colour_key((rgb, f"from {t:g} mm/h") for rgb, t in zip(colours.tolist(), THRESHOLDS, strict=True))
    recorded = []
    for time, frame in zip(times.tolist(), archive.at(times)[0], strict=True):
        text = f"Radar frame of {iso(time)}: rain rate at each location"
        recorded.append(image_figure(colour(frame, archive.scored, archive.zr), text, f"{iso(time)}, recorded"))
    yield grid(recorded, "10rem")
    if truth:
        yield "<h2>True rain and its motion</h2>"
        yield f"<p>Arrows show the displacement in {_LONGER} steps of {archive.cadence} min.</p>"
        yield grid((_true_frame(archive, truth, time) for time in times.tolist()), "10rem")


def _true_frame(archive: Archive, truth: Truth, time: int) -> str:
    """The rain at minute ``time`` with arrows of its motion."""
    height, width = archive.shape
    motion = next(truth.ahead(time, 1))[0][:, ::_ARROWS, ::_ARROWS]
    rows, columns = np.indices(motion.shape[1:]).reshape(2, -1) * _ARROWS * NODE
    down, right = _LONGER * motion.reshape(2, -1)
    lines = "".join(f"M{x:g} {y:g}l{dx:.1f} {dy:.1f}" for y, x, dy, dx in zip(rows, columns, down, right, strict=True))
    dots = "".join(f"M{x:g} {y:g}h0" for y, x in zip(rows, columns, strict=True))
    picture = data_url(colour(truth.clean(time), archive.scored, archive.zr))
    unit = min(archive.shape) / 120
    svg = (
        f'<svg viewBox="0 0 {width} {height}" style="overflow: hidden"><image href="{picture}" width="{width}" '
        f'height="{height}" style="image-rendering: pixelated"/><g fill="none" stroke="#222" stroke-linecap="round">'
        f'<path d="{lines}" stroke-width="{0.5 * unit:g}"/><path d="{dots}" stroke-width="{1.5 * unit:g}"/></g></svg>'
    )
    return svg_figure(svg, f"True rain at {iso(time)} with its motion as lines from dots", f"{iso(time)}, true rain")


def _rain(archive: Archive, summary: Summary) -> Iterator[str]:
    classes = rate_classes(summary, archive.zr)
    means = summary.monthly_mean(archive.zr)

    def shares(axes: Any) -> None:
        x = np.arange(len(classes))
        axes.bar(x - 0.2, [c.share for c in classes], 0.4, label="this archive")
        axes.bar(x + 0.2, [c.hko7 for c in classes], 0.4, label="HKO-7")
        axes.set(yscale="log", xlabel="rain rate, mm/h", ylabel="share of scored locations")
        axes.set_xticks(x, [f"<{THRESHOLDS[0]:g}", *(f"≥{t:g}" for t in THRESHOLDS)])
        axes.legend(framealpha=0)

    def months(axes: Any) -> None:
        axes.bar(MONTHS, np.nan_to_num(means))
        axes.set(ylabel="mean rain rate, mm/h")

    yield f"<h2>Rain rates (Shi et al. 2017, Table 2)</h2><p>Scored locations of {summary.frames} frames.</p>"
    yield table(("mm/h", "this archive", "HKO-7"), [(c.name, f"{c.share:.2%}", f"{c.hko7:.2%}") for c in classes])
    text = "Bars: share of the scored locations in each rain-rate class of the table above, this archive beside HKO-7"
    drawn = [svg_figure(draw_chart(shares), text, "Shares of rain-rate classes")]
    known = [f"{month} {mean:.3f}" for month, mean in zip(MONTHS, means, strict=True) if not np.isnan(mean)]
    text = f"Bars: mean rain rate in mm/h by month: {', '.join(known)}"
    drawn.append(svg_figure(draw_chart(months), text, "Mean rain rate by month (Shi et al. 2017, Figure 5)"))
    yield grid(drawn, "20rem")
    sizes = split_sizes(archive)
    if sizes:
        yield "<h2>Splits (Shi et al. 2017, Table 12)</h2>"
        yield table(("split", "days with frames", "frames"), [(s.name, str(s.days), str(s.frames)) for s in sizes])


def _clutter(archive: Archive, survey: Survey, outliers: Outliers) -> Iterator[str]:
    found = outliers.mask == OUTLIER

    def distances(axes: Any) -> None:
        axes.hist(outliers.distance[np.isfinite(outliers.distance)], 100, log=True)
        axes.axvline(outliers.threshold, color="tab:red", label=f"threshold {outliers.threshold:.2f}")
        axes.set(xlabel="Mahalanobis distance", ylabel="locations")
        axes.legend(framealpha=0)

    yield "<h2>Static mask and clutter</h2>"
    meanings = [
        f"{name}: {np.count_nonzero(archive.mask == code)} locations"
        for code, name in enumerate(("scored", "outlier", "out of range"))
    ]
    yield colour_key(zip(_MASK_COLOURS, meanings, strict=True))
    colours = np.array(_MASK_COLOURS, np.uint8)
    dry = np.where(archive.mask == OUT_OF_RANGE, np.nan, survey.dry_share)
    count = f"{np.count_nonzero(found)} outliers found in these frames"
    yield grid(
        [
            image_figure(colours[archive.mask], f"Map of the static mask: {', '.join(meanings)}", "Static mask"),
            image_figure(colours[outliers.mask], f"Map of the {count}", f"{count} (appendix D.2)"),
        ],
        "15rem",
    )
    text = f"Histogram of the locations' Mahalanobis distances; those above {outliers.threshold:.2f} are outliers"
    drawn = [svg_figure(draw_chart(distances), text, "Mahalanobis distances (Shi et al. 2017, Figure 6)")]
    text = "Map of the share of dry frames in which each location shows echo"
    drawn.append(svg_figure(draw_map(dry, "share"), text, "How often there is echo in dry frames: clutter"))
    yield grid(drawn, "20rem")


def _spectrum(path: str) -> Iterator[str]:
    found = measure_spectra(path)
    slopes = f"slopes {slope_of(found.early):.2f} and {slope_of(found.late):.2f}"

    def spectrum(axes: Any) -> None:
        for power, name in ((found.early, "first half of episodes"), (found.late, "second half")):
            there = power > 0  # a small picture has no mode in some bands
            if there.any():
                label = f"{name}, slope {slope_of(power):.2f}"
                axes.loglog(1 / band_wavenumbers()[there], power[there] / power.sum(), label=label)
        axes.set(xlabel="wavelength, km", ylabel="power")
        axes.invert_xaxis()
        if axes.lines:
            axes.legend(framealpha=0)

    text = f"Power spectrum of the rain in the first and second half of episodes, with {slopes}"
    caption = f"Spectrum of {found.frames} wet frames of true rain"
    yield "<h2>Spectrum</h2>" + grid([svg_figure(draw_chart(spectrum), text, caption)], "20rem")
