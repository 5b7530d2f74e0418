"""Sequences to look at: where a run did best, in the middle and worst against a reference, chosen by a rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import iso
from hko7env.evaluation.kept_forecasts import KeptForecasts
from hko7env.rendering import COLOURS
from hko7env.report.comparison import Comparison, Run
from hko7env.report.example_frames import OUTSIDE, Levels, animation, draw_frames, still, url
from hko7env.report.html import colour_key, escape, grid
from hko7env.report.section import Section, numbers
from hko7env.schedule import INPUTS
from hko7env.scores import COUNTS, ERRORS, scored
from hko7env.split_view import SplitView
from hko7env.units import THRESHOLDS

REFERENCES = ("rover", "last_frame")  # names of agents in the order of preference
PANEL_SIZES = (200, 150, 110, 80)  # px; the largest with which all animations stay within the limit
MOST_BYTES = 1_500_000  # of all animations of a comparison, as text of the page: three archives fit in 5 MB
STEP = 2  # of the lead times every second one is drawn

_B_SQUARED = ERRORS.index("balanced_squared")
_STILL = 4  # of the pictures of an animation the one for readers who prefer no motion: an hour ahead

_RULE = (
    "Of the sequences whose forecasts were kept, evenly spread over the split, the half with the most observed rain "
    f"(pixels of at least {THRESHOLDS[0]:g} mm/h, all lead times) is ranked by the B-MSE of the run against that of "
    "the reference, (run - reference) / (run + reference): -1 is a perfect forecast, 0 one as good as the reference. "
    "Shown are the best, the middle and the worst of them, whatever they look like."
)


class Kept(NamedTuple):
    """A run and the forecasts that its folder keeps."""

    run: Run
    forecasts: KeptForecasts


@dataclass(frozen=True)
class Ranked:
    """A kept sequence: its index, B-MSE of run and reference, and the relative difference that ranks it."""

    index: int
    run: float
    reference: float
    difference: float


def make(comparison: Comparison) -> Section | None:
    """The section; None unless a reference and another run keep forecasts of the same sequences."""
    kept = [found for run in comparison.runs if (found := _kept(run))]
    reference = next((one for name in REFERENCES for one in kept if one.run.package_agent == name), None)
    if reference is None:
        return None
    others = [one for one in kept if one is not reference and _in_common(one, reference)]
    if not others:
        return None
    ranked = {one.run.name: rank(comparison, one, reference) for one in others}
    table = _table(comparison, ranked)
    view = _open_view(comparison)
    if view is None:
        archive = escape(str(comparison.runs[0].folder.context.get("archive")))
        text = (
            f"<p class='note'>Forecasts were kept, but the archive of these runs is not at hand ({archive}): "
            "they cannot be shown beside what was observed. Make the page where the archive is.</p>"
        )
        return Section("examples", "Examples", text, (("Kept sequences as CSV", table),))
    body = f"<p>{escape(_RULE)} The reference is {escape(reference.run.name)}.</p>{_key()}"
    return Section(
        "examples", "Examples", body + _examples(others, reference, ranked, view), (("Kept sequences as CSV", table),)
    )


def rank(comparison: Comparison, one: Kept, reference: Kept) -> list[Ranked]:
    """Rank the kept sequences with the most observed rain, the best first, see the rule on the page."""
    both = sorted(
        set(one.forecasts.sequences()) & set(reference.forecasts.sequences()) & set(comparison.index.tolist())
    )
    places = np.searchsorted(comparison.index, both)
    hits, misses = (one.run.counts[places, COUNTS.index(name), :, 0].sum(axis=1) for name in ("hits", "misses"))
    most = np.argsort(-(hits + misses), kind="stable")[: max(3, -(-len(both) // 2))]
    found = []
    for place, index in sorted((int(places[i]), both[i]) for i in most):
        a, b = (float(run.sums[place, _B_SQUARED].mean()) for run in (one.run, reference.run))
        found.append(Ranked(index, a, b, (a - b) / (a + b) if a + b else 0.0))
    return sorted(found, key=lambda r: (r.difference, r.index))


def choose(ranked: list[Ranked]) -> list[tuple[str, Ranked]]:
    """The best, the middle and the worst of ranked sequences, each sequence once."""
    if not ranked:
        return []
    named = [("best", ranked[0]), ("middle", ranked[(len(ranked) - 1) // 2]), ("worst", ranked[-1])]
    return [pair for i, pair in enumerate(named) if pair[1] not in [other for _, other in named[:i]]]


def _kept(run: Run) -> Kept | None:
    """The run with the forecasts that it keeps, or those of an equal run."""
    for one in (run, *run.same):
        forecasts = KeptForecasts(one.path, one.folder.run)
        if forecasts.sequences():
            return Kept(run, forecasts)
    return None


def _in_common(one: Kept, other: Kept) -> set[int]:
    return set(one.forecasts.sequences()) & set(other.forecasts.sequences())


def _open_view(comparison: Comparison) -> SplitView | None:
    """The split of the archive that one of the runs names, if it is there and the same archive."""
    for run in comparison.runs:
        named = run.folder.context.get("archive")
        path = _default_path() if named == "default" else named
        if not isinstance(path, str | Path) or not ("://" in str(path) or Path(path).exists()):
            continue
        try:
            archive = Archive(str(path))
        except (ValueError, OSError):  # damaged, or another thing of this name
            continue
        if archive.fingerprint == comparison.fingerprint:
            return SplitView(archive, comparison.split)
    return None


def _default_path() -> Path:
    from hko7env.synthetic import default_path

    return default_path()


def _key() -> str:
    entries = [(rgb, f"{rate:g} mm/h") for rate, rgb in COLOURS]
    return colour_key([*entries, (OUTSIDE, "never scored, or frame missing")])


def _table(comparison: Comparison, ranked: dict[str, list[Ranked]]) -> str:
    rows = []
    for name, sequences in ranked.items():
        shown = {one.index: role for role, one in choose(sequences)}
        for one in sequences:
            issued = iso(int(comparison.schedule.slots(one.index)[INPUTS - 1]))
            rows.append([name, one.index, issued, one.run, one.reference, one.difference, shown.get(one.index, "")])
    header = ["run", "sequence", "issued", "b_mse", "b_mse of the reference", "relative difference", "shown as"]
    return numbers(header, rows)


def _examples(others: list[Kept], reference: Kept, ranked: dict[str, list[Ranked]], view: SplitView) -> str:
    """The animations of all runs, as large as fits."""
    for size in PANEL_SIZES:
        parts: list[str] = []
        for one in others:
            figures = grid(_figures(one, reference, ranked[one.run.name], view, size), "26rem")
            parts.append(f"<h3>{escape(one.run.name)}</h3>{figures}")
            if sum(map(len, parts)) > MOST_BYTES:
                break
        else:
            return "".join(parts)
    left_out = ", ".join(escape(one.run.name) for one in others[len(parts) - 1 :])
    return "".join([*parts[:-1], f"<p class='note'>Left out, as the page would be too large: {left_out}.</p>"])


def _figures(one: Kept, reference: Kept, ranked: list[Ranked], view: SplitView, size: int) -> Iterator[str]:
    for role, sequence in choose(ranked):
        forecast, other = (kept.forecasts.load(sequence.index) for kept in (one, reference))
        if (
            forecast is None
            or other is None
            or forecast.shape[1:] != view.archive.shape
            or other.shape != forecast.shape
        ):
            yield _absent(role, one, sequence)
            continue
        yield _figure(role, (one.run.name, forecast), (reference.run.name, other), sequence, view, size)


def _absent(role: str, one: Kept, sequence: Ranked) -> str:
    command = f"{one.run.shown_command} --keep-forecasts {len(one.forecasts.sequences())}"
    return (
        f"<p class='note'>{role.capitalize()}: the kept forecast of sequence {sequence.index} is damaged or missing; "
        f"<code>{escape(command)}</code> writes it again.</p>"
    )


def _figure(
    role: str, run: tuple[str, Levels], reference: tuple[str, Levels], sequence: Ranked, view: SplitView, size: int
) -> str:
    """An animation of one sequence with its description."""
    slots = view.schedule.slots(sequence.index)
    truth, present = view.frames_at(slots[INPUTS:])
    leads = range(STEP - 1, len(truth), STEP)
    panels = [
        ("observed", [truth[k] if present[k] else None for k in leads]),
        *((name, [levels[k] for k in leads]) for name, levels in (run, reference)),
    ]
    minutes = [(k + 1) * view.schedule.cadence for k in leads]
    pictures = draw_frames(panels, minutes, view.scored, view.archive.zr, size)
    issued = iso(int(slots[INPUTS - 1])).replace("T", " ")
    caption = (
        f"{role.capitalize()}: sequence {sequence.index}, issued {issued}. B-MSE {sequence.run:.0f} "
        f"({reference[0]} {sequence.reference:.0f}), relative difference {sequence.difference:+.2f}."
    )
    text = f"{caption} {_describe(leads[_STILL], truth, present, (run, reference), view)}"
    moving, fixed = url(animation(pictures), "webp"), url(still(pictures[_STILL]), "png")
    return (
        f'<figure><picture><source media="(prefers-reduced-motion: reduce), print" srcset="{fixed}">'
        f'<img src="{moving}" style="image-rendering: auto" alt="{escape(text)}"></picture>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _describe(
    k: int,
    truth: list[Levels],
    present: npt.NDArray[np.bool_],
    forecasts: tuple[tuple[str, Levels], ...],
    view: SplitView,
) -> str:
    """How much of the scored area has rain at the lead time of index ``k``, in words."""
    minutes = (k + 1) * view.schedule.cadence
    if not present[k]:
        return f"{minutes} min ahead the observed frame is missing."
    where, least = scored(truth[k], view.scored), int(view.archive.zr.threshold_levels[0])
    area = max(int(np.count_nonzero(where)), 1)
    shares = [np.count_nonzero((frame >= least) & where) / area for frame in (truth[k], *(f[k] for _, f in forecasts))]
    named = ["observed", *(name for name, _ in forecasts)]
    listed = ", ".join(f"{share:.1%} {name}" for share, name in zip(shares, named, strict=True))
    return f"{minutes} min ahead rain of at least {THRESHOLDS[0]:g} mm/h covers of the scored area: {listed}."
