"""The default archive: many short episodes in weather that differs as much as the climate does, whatever the seed.

Days, hours, wetness and wind of a split are stratified: each episode takes its value from another part of the climate's
distribution, and it rains in it as much and as hard as its wetness says. So a test split of twenty-four episodes holds
as much heavy rain and as much wind with any seed, and the differences between agents, which vary with the weather, can
be decided by few sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Unpack

import numpy as np
import numpy.typing as npt
from scipy import special

from hko7env.archive import Archive
from hko7env.archive.format import DAY, iso
from hko7env.archive.hko7_facts import CADENCE, EXCEEDANCE
from hko7env.synthetic.episode import Episode
from hko7env.synthetic.field import random_stream
from hko7env.synthetic.process import Process
from hko7env.synthetic.rain import shift, wet_quantile
from hko7env.synthetic.weather import YEARS, EpisodeSpec, rainy_day_chances, seasonal_rank
from hko7env.synthetic.writer import SEED, Count, Counts, Writing, check_arguments, check_seed, make_episodes

DEMO_VERSION = 4  # of these archives, after generators 1 and 2 of the others: a change of any byte needs a new one
SHAPE = (240, 240)  # px of a frame, unless told otherwise
EPISODES: Mapping[str, int] = MappingProxyType({"train": 28, "valid": 8, "test": 24})  # in each split
FRAMES = 50  # of an episode: six sequences
# Fitted with what follows to the CSI of last frame and ROVER on HKO-7, on seeds 100, 101, 102 and 104, then 1, 2, 7 and
# 11. Means are drawn with WETNESS, so ``between`` only sets the variance of the waves.
PROCESS = Process(
    slope=2.78, longest=320.0, lifetime=10.0, between=0.55, speed=(10.5, 27.0),
    cell_km=(6.0, 24.0), cell_minutes=48.0, cells_from=1.74, cells_full=2.29, cells=0.53, floor=0.2,
)  # fmt: skip
WET = 1.35  # latent value of 0.5 mm/h, about
WETNESS = 1.12  # standard deviation of the wetness of episodes
DRY = 1.98  # minus the wetness of an episode with rain half the time: on average it rains a tenth of the time
HEAVY = 1.0  # above DRY: where heavy rain is settled, on a third of the rain of the wettest episode
SPREAD = 0.75  # standard deviation of latent values within an episode, about
SEEN = 2e-3  # share of heavy rain from which it is settled
GAINS = (0.5, 1.5)  # least and greatest factor of the amplitude of waves
# Shares of rain at or above THRESHOLDS before the radar, of which blocked beams and rounding take away a few percent
BEFORE = tuple(share * more for share, more in zip(EXCEEDANCE, (1.024, 1.023, 1.025, 1.03, 1.04), strict=True))
WIND_BANDS = (1, 3, 0, 2)  # quarter of the range of wind speed of four episodes of similar wetness, wettest first

_APART = 1 << 41  # above the episode numbers of all other archives of a seed, so that none has the same noise
_DAYS, _WEATHER = 1 << 105, 1 << 106  # random streams of an archive


class DemoEpisode(Episode):
    """An episode whose random streams are those of no other archive."""

    apart = _APART


def demo(seed: int, episodes: Mapping[str, int] | None = None, frames: int = FRAMES) -> tuple[EpisodeSpec, ...]:
    """Dates of the episodes: days spread over the rainy days of a year, hours spread over the day.

    Args:
        seed: The dates differ by seed.
        episodes: Number of episodes in each split; default: EPISODES.
        frames: Number of frames of an episode.
    """
    draw = random_stream((seed, _APART), _DAYS)
    found: list[EpisodeSpec] = []
    for split, count in (episodes or EPISODES).items():
        days = _spread_days(YEARS[split], count, draw)
        hours = draw.permutation(count)
        gaps = draw.permutation(count) < 0.3 * count  # episodes with one or two missing frames, as in HKO-7's list
        for day, hour, gap in zip(days, hours, gaps, strict=True):
            first, length = int(draw.integers(1, frames - 2)), int(draw.integers(1, 3))
            missing = tuple(range(first, first + length)) if gap else ()
            start = day + CADENCE * int((hour + draw.random()) / count * (DAY // CADENCE))
            found.append(EpisodeSpec(split, iso(start), frames, missing))
    return tuple(found)


def _spread_days(years: Sequence[int], count: int, draw: np.random.Generator) -> list[int]:
    """First minutes of ``count`` days in the order of time, one from each of as many parts of the rainy season."""
    chance = np.cumsum(rainy_day_chances())
    of_year = np.searchsorted(chance / chance[-1], (np.arange(count) + draw.uniform(0.2, 0.8, count)) / count)
    year = np.array(years)[draw.permutation(count) % len(years)]
    first = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)
    return [int(day) * DAY for day in np.sort(first + of_year)]


def draw_episodes(weather: Sequence[EpisodeSpec], shape: tuple[int, int], seed: int, cadence: int) -> list[DemoEpisode]:
    """Give each episode its wetness, as its mean, and its wind, such that each split has as much of each.

    Wetness is spread evenly, so that the heavy rain is not that of one or two episodes; higher values tend to fall into
    the rainy season. :func:`settle` makes means of it. Each four episodes of similar wetness have one wind speed from
    each quarter of its range.
    """
    draw = random_stream((seed, _APART), _WEATHER)
    mean, speed = np.zeros(len(weather)), np.zeros(len(weather))
    for split in dict.fromkeys(spec.split for spec in weather):
        of_split = np.flatnonzero([spec.split == split for spec in weather])
        rank = seasonal_rank([spec for spec in weather if spec.split == split], draw)
        count = len(of_split)
        mean[of_split] = WETNESS * np.sqrt(3) * ((2 * rank + 1) / count - 1)
        speed[of_split] = _speeds(count, draw)[count - 1 - rank]
    return [
        DemoEpisode(i, spec, shape, seed, float(m), cadence, process=replace(PROCESS, speed=(float(v), float(v))))
        for i, (spec, m, v) in enumerate(zip(weather, mean, speed, strict=True))
    ]


def settle(episodes: Sequence[Episode], count: Count) -> tuple[list[Episode], Counts]:
    """Choose waves and means such that it rains as much and as hard in each episode as its wetness says.

    Args:
        episodes: Of :func:`draw_episodes`, with their wetness as mean.
        count: Counts (1600,) latent values of each episode, see :func:`hko7env.synthetic.rain.histogram`.

    Returns:
        The episodes, and their counts. In an episode of wetness w it then rains on the share of the map and the time
        that a normal distribution with mean w and variance 1 has above DRY. Its latent values exceed WET by
        HEAVY * SPREAD on the share that this distribution has above DRY + HEAVY, about, if that is SEEN or more.
    """
    counted = count(episodes)
    drawn = [_amplify(episode, of_episode) for episode, of_episode in zip(episodes, counted, strict=True)]
    amplified = [i for i, (before, after) in enumerate(zip(episodes, drawn, strict=True)) if after is not before]
    for i, of_episode in zip(amplified, count([drawn[i] for i in amplified]), strict=True):
        counted[i] = of_episode
    settled: list[Episode] = []
    counts: Counts = []
    for episode, of_episode in zip(drawn, counted, strict=True):
        change = round(WET - _reached(episode, of_episode), 2)
        settled.append(replace(episode, mean=episode.mean + change))
        counts.append(shift(of_episode, change))
    return settled, counts


def _amplify(episode: Episode, counts: npt.NDArray[np.float64]) -> Episode:
    """The episode with waves as large as its heavy rain needs."""
    if special.ndtr(episode.mean - DRY - HEAVY) < SEEN:
        return episode
    span = _reached(episode, counts, HEAVY) - _reached(episode, counts)
    gain = round(float(np.clip(HEAVY * SPREAD / max(span, 0.01), *GAINS)), 2)
    return replace(episode, gain=gain)


def _reached(episode: Episode, counts: npt.NDArray[np.float64], above: float = 0.0) -> float:
    """The latent value exceeded on the share that a normal distribution of the episode's wetness has above DRY."""
    return wet_quantile(counts, special.ndtr(episode.mean - DRY - above))


def _speeds(count: int, draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """(count,) wind speeds in km/h, from the wettest to the driest episode.

    Of four episodes the wettest and the driest get a middle band, so that heavy rain has the wind of the climate.
    """
    order = np.array(WIND_BANDS)
    bands = np.concatenate([order if draw.random() < 0.5 else order[::-1] for _ in range(-(-count // len(order)))])
    slowest, fastest = PROCESS.speed
    return np.asarray(slowest + (fastest - slowest) * (bands[:count] + draw.uniform(0.25, 0.75, count)) / len(order))


def make_demo(
    path: str | Path,
    *,
    shape: tuple[int, int] = SHAPE,
    seed: int = SEED,
    weather: Sequence[EpisodeSpec] | None = None,
    cadence: int = CADENCE,
    **writing: Unpack[Writing],
) -> Archive:
    """Make the default archive, or complete one that an interrupted call with the same arguments left.

    Args:
        path: Path of the archive.
        shape: (H, W) of a frame, at least 8 x 8.
        seed: 0 to 2^63 - 1.
        weather: The episodes, in the order of time; None: those of :func:`demo`.
        cadence: Minutes between frames.
        **writing: How it is written.

    Returns:
        The archive, with its group ``truth``.

    Raises:
        ValueError: Arguments are out of range, or another archive lies at ``path``.
        LockedError: Another process is making this archive; a ValueError.
        OSError: There is no room on the disk for an episode; raised before any of it is computed.
    """
    check_seed(seed)
    if weather is None:
        weather = demo(seed)
    check_arguments(shape, weather, seed, cadence, writing.get("shard"))
    episodes = draw_episodes(weather, shape, seed, cadence)
    return make_episodes(Path(path), episodes, DEMO_VERSION, settle=settle, exceedance=BEFORE, **writing)
