"""Whether a synthetic archive is as wet, as rough and as hard to nowcast as HKO-7, measured: target beside value."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive, absolute_name
from hko7env.archive.statistics import TABLE_2, summarise
from hko7env.contract import Agent, Observation, Task
from hko7env.loading import load
from hko7env.parallel import chunked, sum_over
from hko7env.schedule import INPUTS, LEADS, evenly, schedule
from hko7env.scores import Tally, scored, scores, tally
from hko7env.synthetic import Truth
from hko7env.synthetic.field import wavenumbers
from hko7env.units import THRESHOLDS

SHARE_TOLERANCE, CSI_TOLERANCE = 0.05, 0.05  # relative; absolute
SLOPE, SLOPE_KM, DRIFT = (-3.0, -2.0), (4.0, 100.0), 0.15  # of the spectrum of wet frames; how far it may drift
BANDS = 12
WET = 0.1  # share of echo above which a frame is wet
CADENCE, MINUTES = 6, (6, 30, 60, 120)
# CSI on HKO-7's test set at MINUTES, from the counts of the published evaluations
REAL: dict[str, dict[float, tuple[float, ...]]] = {
    "last frame": {0.5: (.686, .463, .375, .294), 5: (.536, .287, .210, .147), 30: (.303, .082, .044, .025)},
    "flow": {0.5: (.740, .547, .445, .329), 5: (.631, .406, .294, .188), 30: (.406, .139, .054, .015)},
}  # fmt: skip
RANKING = ("last frame", "flow", "true motion", "true motion and growth")
SEQUENCES = 200  # at most, evenly spread over the archive


class Row(NamedTuple):
    """One line of the table: what, its target, its value, and whether the one meets the other."""

    what: str
    target: str
    value: str
    passed: bool


@dataclass(frozen=True, eq=False)
class Skill:
    """Tallies of RANKING's forecasts over the same sequences; it adds."""

    tallies: tuple[Tally, ...]

    def __add__(self, other: "Skill") -> "Skill":
        return Skill(tuple(a + b for a, b in zip(self.tallies, other.tallies, strict=True)))


@dataclass(frozen=True, eq=False)
class Spectra:
    """Sums of the power spectra (BANDS,) of wet frames early and late in their episodes, and their number; it adds."""

    early: npt.NDArray[np.float64]
    late: npt.NDArray[np.float64]
    frames: int

    def __add__(self, other: "Spectra") -> "Spectra":
        return Spectra(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def check(
    path: str, *, sequences: int = SEQUENCES, workers: int = 1, step: Callable[[int], Any] | None = None
) -> Iterator[Row]:
    """The rows of the table for the synthetic archive at ``path``; ``step`` is told of frames and sequences done.

    Raises ValueError for an archive that keeps no truth, or of another cadence than HKO-7's.
    """
    archive = Archive(path)
    Truth(path)  # without one there is nothing to check, which is better said at once
    if archive.cadence != CADENCE:
        raise ValueError(f"{path} has a frame every {archive.cadence} min: HKO-7's curves are for {CADENCE}")
    spread: dict[str, Any] = {"workers": workers, "step": step}
    yield from _shares(archive, path, spread)
    yield from _spectrum(archive, path, spread)
    walk = schedule(archive.select(), cadence=archive.cadence)
    starts = [int(walk.starts[i]) for i in evenly(len(walk), sequences)]
    skill = sum_over(partial(_forecast, absolute_name(path)), chunked(starts, -(-len(starts) // 10)), **spread)
    yield from _skill(skill, len(starts))


def work(archive: Archive, sequences: int = SEQUENCES) -> int:
    """How many steps :func:`check` will tell of."""
    walk = schedule(archive.select(), cadence=archive.cadence)
    return len(archive.select()) + len(archive) + min(sequences, len(walk))


def _shares(archive: Archive, path: str, spread: dict[str, Any]) -> Iterator[Row]:
    found = summarise(path, archive.select(), **spread).shares(archive.zr)
    names = ["below 0.5", *(f"from {t:g}" for t in THRESHOLDS)]
    for name, paper, share in zip(names, TABLE_2, found, strict=True):
        close = abs(share / paper - 1) <= SHARE_TOLERANCE
        yield Row(f"share of rain {name} mm/h", f"{paper:.2%} ± 5 %", f"{share:.2%}", bool(close))


def spectra(path: str, frames: list[int], **spread: Any) -> Spectra:
    """Spectra of the wet ones of every fifth of ``frames`` of the archive at ``path``; options as of ``sum_over``."""
    return sum_over(partial(_measure_spectra, absolute_name(path)), chunked(frames, -(-len(frames) // 240)), **spread)


def _spectrum(archive: Archive, path: str, spread: dict[str, Any]) -> Iterator[Row]:
    found = spectra(path, list(range(len(archive))), **spread)
    early, late = (slope(power) for power in (found.early, found.late))
    both = slope(found.early + found.late)
    value = f"{both:.2f} ({found.frames} frames)"
    yield Row("spectral slope, 4 to 100 km", f"{SLOPE[0]} to {SLOPE[1]}", value, SLOPE[0] <= both <= SLOPE[1])
    value = f"{early:.2f}, {late:.2f}"
    yield Row("its first and second half of episodes", f"within {DRIFT}", value, abs(early - late) <= DRIFT)


def bands(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Band of every mode of a size x size picture, and the bands' wavenumbers in cycles a km."""
    k = np.hypot(*wavenumbers((size, size), 1))
    edges = np.geomspace(1 / SLOPE_KM[1], 1 / SLOPE_KM[0], BANDS + 1)
    return np.searchsorted(edges, k) - 1, np.sqrt(edges[1:] * edges[:-1])


def _measure_spectra(path: str, frames: list[int]) -> Spectra:
    """Of the rain in the square inside the radar's circle, in dBZ, tapered to its edge."""
    archive, truth = Archive(path), Truth(path)
    side = int(min(archive.shape) / np.sqrt(2)) // 2 * 2
    top, left = ((n - side) // 2 for n in archive.shape)
    window = np.hanning(side)[:, None] * np.hanning(side)
    band, middles = bands(side)
    inside = (band >= 0) & (band < len(middles))
    count = np.maximum(np.bincount(band[inside], minlength=len(middles)), 1)
    halves = [np.zeros(len(middles)), np.zeros(len(middles))]
    found, second = 0, _second_halves(archive.times)
    for i in frames[::5]:
        rain = truth.clean(int(archive.times[i]))[top : top + side, left : left + side]
        if (rain > 0).mean() < WET:
            continue
        field = rain * window - window * (rain * window).sum() / window.sum()
        power = np.abs(np.fft.rfft2(field)) ** 2
        halves[second[i]] += np.bincount(band[inside], power[inside], len(middles)) / count
        found += 1
    return Spectra(halves[0], halves[1], found)


def _second_halves(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(N,) 1 for each of ``times`` (N,) in the second half of its stretch without a gap of an hour, else 0."""
    breaks = np.flatnonzero(np.diff(times) >= 60) + 1
    halves = [(run >= (run[0] + run[-1]) / 2).astype(np.int64) for run in np.split(times, breaks)]
    return np.concatenate(halves)


def slope(power: npt.NDArray[np.float64]) -> float:
    """Of the log of a band's mean power a mode against the log of its wavenumber; NaN where fewer than three have any.

    A small picture has no mode in some bands.
    """
    there = power > 0
    if there.sum() < 3:
        return float("nan")
    _, middles = bands(64)
    return float(np.polyfit(np.log(middles[there]), np.log(power[there]), 1)[0])


def _forecast(path: str, starts: list[int]) -> Skill:
    archive = Archive(path)
    task = Task(INPUTS, LEADS, *archive.shape, archive.cadence, archive.scored, archive.zr)
    agents: list[Agent] = [
        load("agents.last_frame", task),
        load("agents.rover", task),
        load("agents.oracle", task, truth=path),
        load("agents.oracle", task, truth=path, growth=True),
    ]
    total = Skill(tuple(Tally.zero(LEADS) for _ in agents))
    for start in starts:
        times = start + archive.cadence * np.arange(INPUTS + LEADS)
        frames, present = archive.at(times)
        seen = Observation(
            frames=np.stack(frames[:INPUTS]),
            present=present[:INPUTS].astype(np.int8),
            time=times[:INPUTS],
            new_episode=1,
        )
        truth = frames[INPUTS:]
        masks = [scored(f, archive.scored) & ok for f, ok in zip(truth, present[INPUTS:], strict=True)]
        total += Skill(tuple(tally(truth, masks, _ask(agent, seen), zr=archive.zr) for agent in agents))
    return total


def _ask(agent: Agent, seen: Observation) -> npt.NDArray[np.float32]:
    agent.store(seen)
    return agent.predict()


def _skill(skill: Skill, count: int) -> Iterator[Row]:
    found = {name: scores(one) for name, one in zip(RANKING, skill.tallies, strict=True)}
    leads = [m // CADENCE - 1 for m in MINUTES]
    for name, targets in REAL.items():
        for threshold, target in targets.items():
            csi = found[name]["csi"][leads, THRESHOLDS.index(threshold)]
            close = bool((np.abs(csi - target) <= CSI_TOLERANCE).all())
            what = f"CSI of {name}, ≥ {threshold:g} mm/h, at 6, 30, 60, 120 min"
            yield Row(what, _numbers(target) + " ± .05", _numbers(csi), close)
    for worse, better in pairwise(RANKING):
        one, other = (found[name]["csi"].mean(axis=1) for name in (worse, better))
        ahead = int((other > one).sum())
        what = f"mean CSI of {better} above {worse}"
        yield Row(what, f"all {len(one)} leads", f"{ahead} leads, {count} sequences", ahead == len(one))


def _numbers(values: Sequence[float] | npt.NDArray[np.float64]) -> str:
    return " ".join(f"{v:.3f}".lstrip("0") for v in values)
