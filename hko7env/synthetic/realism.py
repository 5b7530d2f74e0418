"""Whether a synthetic archive is as wet, as rough and as hard to nowcast as HKO-7: measured values beside targets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive, absolute_name
from hko7env.archive.hko7_facts import CADENCE, TABLE_2
from hko7env.archive.statistics import summarise
from hko7env.contract import Agent, Observation, Task
from hko7env.parallel import parts_of, sum_over
from hko7env.schedule import INPUTS, LEADS, evenly
from hko7env.scores import Tally, scores
from hko7env.split_view import ALL, SplitView
from hko7env.synthetic.spectra import BAND_KM, measure_spectra, slope_of
from hko7env.synthetic.truth import Truth
from hko7env.units import THRESHOLDS

SHARE_TOLERANCE, CSI_TOLERANCE = 0.05, 0.05  # relative; absolute
SLOPE, DRIFT = (-3.0, -2.0), 0.15  # exponent of the spectrum, and its largest change within episodes
MINUTES = (6, 30, 60, 120)  # lead times
# CSI on HKO-7's test set at MINUTES, from the counts of the published evaluations: agent -> threshold in mm/h -> CSI
HKO7_CSI: dict[str, dict[float, tuple[float, ...]]] = {
    "last frame": {0.5: (.686, .463, .375, .294), 5: (.536, .287, .210, .147), 30: (.303, .082, .044, .025)},
    "flow": {0.5: (.740, .547, .445, .329), 5: (.631, .406, .294, .188), 30: (.406, .139, .054, .015)},
}  # fmt: skip
SEQUENCES = 200  # at most, evenly spaced over the archive

_PART = 10  # sequences forecast by a worker at once

AgentFactory = Callable[[Task], Agent]


class Comparison(NamedTuple):
    """One line of the table: what is measured, its target, its value, and whether it meets the target."""

    what: str
    target: str
    value: str
    passed: bool


@dataclass(frozen=True, eq=False)
class Skill:
    """Agent -> tally of its forecasts, all of the same sequences; skills can be added."""

    tallies: dict[str, Tally]

    def __add__(self, other: "Skill") -> "Skill":
        return Skill({name: tally + other.tallies[name] for name, tally in self.tallies.items()})


def check(
    path: str,
    agents: Mapping[str, AgentFactory],
    *,
    sequences: int = SEQUENCES,
    workers: int = 1,
    step: Callable[[int], Any] | None = None,
) -> Iterator[Comparison]:
    """Compare a synthetic archive with HKO-7.

    Args:
        path: Path of the archive.
        agents: Name -> function that makes the agent for a task, from the least to the most skilful: each one should
            score above the one before at every lead time. Those named in HKO7_CSI are compared with its curves. With
            several workers the functions must be picklable.
        sequences: Number of sequences to forecast, at most.
        workers: Processes; 1 means this one.
        step: Called with the number of frames or sequences just done, see :func:`count_steps`.

    Yields:
        The lines of the table.

    Raises:
        ValueError: The archive has no truth, or another cadence than HKO-7.
    """
    archive = Archive(path)
    Truth(path)  # raises at once if there is none
    if archive.cadence != CADENCE:
        raise ValueError(f"{path} has a frame every {archive.cadence} min: HKO-7's curves are for {CADENCE}")
    work: dict[str, Any] = {"workers": workers, "step": step}
    yield from _compare_shares(archive, path, work)
    yield from _compare_spectra(path, work)
    schedule = SplitView(archive, ALL).schedule
    windows = [schedule.slots(i) for i in evenly(len(schedule), sequences)]
    skill = sum_over(partial(_forecast, absolute_name(path), dict(agents)), parts_of(windows, _PART), **work)
    yield from _compare_skill(skill, len(windows))


def count_steps(archive: Archive, sequences: int = SEQUENCES) -> int:
    """Total of the numbers with which :func:`check` calls ``step``."""
    view = SplitView(archive, ALL)
    return len(view.times) + len(archive) + min(sequences, len(view.schedule))


def _compare_shares(archive: Archive, path: str, work: dict[str, Any]) -> Iterator[Comparison]:
    found = summarise(path, archive.select(), **work).shares(archive.zr)
    names = ["below 0.5", *(f"from {t:g}" for t in THRESHOLDS)]
    for name, paper, share in zip(names, TABLE_2, found, strict=True):
        close = abs(share / paper - 1) <= SHARE_TOLERANCE
        yield Comparison(f"share of rain {name} mm/h", f"{paper:.2%} ± 5 %", f"{share:.2%}", bool(close))


def _compare_spectra(path: str, work: dict[str, Any]) -> Iterator[Comparison]:
    found = measure_spectra(path, **work)
    early, late = slope_of(found.early), slope_of(found.late)
    both = slope_of(found.early + found.late)
    what = f"spectral slope, {BAND_KM[0]:g} to {BAND_KM[1]:g} km"
    value = f"{both:.2f} ({found.frames} frames)"
    yield Comparison(what, f"{SLOPE[0]} to {SLOPE[1]}", value, SLOPE[0] <= both <= SLOPE[1])
    what, value = "the same in first and second half of episodes", f"{early:.2f}, {late:.2f}"
    yield Comparison(what, f"within {DRIFT}", value, abs(early - late) <= DRIFT)


def _forecast(path: str, factories: Mapping[str, AgentFactory], windows: list[npt.NDArray[np.int64]]) -> Skill:
    """Let every agent forecast the sequences with these (J + K,) slots, and score it."""
    archive = Archive(path)
    view = SplitView(archive, ALL)
    task = Task(INPUTS, LEADS, *archive.shape, archive.cadence, archive.scored, archive.zr)
    agents = {name: make(task) for name, make in factories.items()}
    total = Skill({name: Tally.zero(LEADS) for name in agents})
    for slots in windows:
        frames, present = view.frames_at(slots[:INPUTS])
        seen = Observation(frames=np.stack(frames), present=present.astype(np.int8), time=slots[:INPUTS], new_episode=1)
        total += Skill({name: view.score(slots[INPUTS:], _ask(agent, seen)) for name, agent in agents.items()})
    return total


def _ask(agent: Agent, seen: Observation) -> npt.NDArray[np.float32]:
    agent.store(seen)
    return agent.predict()


def _compare_skill(skill: Skill, sequences: int) -> Iterator[Comparison]:
    found = {name: scores(tally)["csi"] for name, tally in skill.tallies.items()}
    leads = [m // CADENCE - 1 for m in MINUTES]
    for name in (name for name in HKO7_CSI if name in found):
        for threshold, target in HKO7_CSI[name].items():
            csi = found[name][leads, THRESHOLDS.index(threshold)]
            close = bool((np.abs(csi - target) <= CSI_TOLERANCE).all())
            what = f"CSI of {name}, ≥ {threshold:g} mm/h, at {', '.join(map(str, MINUTES))} min"
            yield Comparison(what, _numbers(target) + " ± .05", _numbers(csi), close)
    for worse, better in pairwise(found):
        one, other = (found[name].mean(axis=1) for name in (worse, better))
        ahead = int((other > one).sum())
        what = f"mean CSI of {better} above {worse}"
        yield Comparison(what, f"all {len(one)} leads", f"{ahead} leads, {sequences} sequences", ahead == len(one))


def _numbers(values: Sequence[float] | npt.NDArray[np.float64]) -> str:
    return " ".join(f"{v:.3f}".lstrip("0") for v in values)
