"""Synthetic archives to train on: every episode has its own type of rain, radar faults and pace.

Unlike the other synthetic archives these follow no climate, so a score on them says nothing; they have no test split
and no truth. The attributes of the archive list what was drawn for each episode.
"""

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from hko7env.archive import Archive, create
from hko7env.archive.format import iso, minutes
from hko7env.archive.hko7_facts import CADENCE
from hko7env.locking import sole_writer
from hko7env.synthetic.coverage import Observer, coverage
from hko7env.synthetic.episode import Episode
from hko7env.synthetic.field import random_stream
from hko7env.synthetic.rain_types import TYPES, Conditions, draw_conditions
from hko7env.synthetic.weather import YEARS, EpisodeSpec, draw_rainy_days
from hko7env.synthetic.writer import (
    SEED,
    check_arguments,
    check_seed,
    describe,
    digest,
    fill,
    open_unfinished,
    open_workers,
    parts_folder,
)

VARIED_VERSION = 1  # of these archives: a change of any byte needs a new one
SHAPE = (240, 240)  # px of a frame, unless told otherwise
EPISODES: Mapping[str, int] = MappingProxyType({"train": 50, "valid": 10})  # in each split
FRAMES = 60  # of an episode

_APART = 1 << 40  # above the episode numbers of all other archives of a seed, so that no test split has the same noise
_TYPES, _DAYS = 1 << 105, 1 << 108  # random streams of an archive
_CONDITIONS, _SITE, _NOISE = 1 << 105, 1 << 106, 1 << 80  # random streams of an episode


@dataclass(frozen=True)
class VariedEpisode(Episode):
    """An episode with conditions of its own.

    Attributes:
        conditions: What was drawn for it.
    """

    apart = _APART

    conditions: Conditions

    @property
    def step(self) -> float:
        """Minutes by which the rain changes from slot to slot: faster or slower than the clock."""
        return self.cadence * self.conditions.pace


def varied(seed: int, episodes: Mapping[str, int] | None = None, frames: int = FRAMES) -> tuple[EpisodeSpec, ...]:
    """Dates of the episodes: days drawn by season, train in other years than valid.

    Args:
        seed: The dates differ by seed.
        episodes: Number of episodes in train and valid; default: EPISODES.
        frames: Number of frames of an episode.
    """
    draw = random_stream((seed, _APART), _DAYS)
    return tuple(
        EpisodeSpec(split, iso(day + 60 * int(draw.integers(0, 9))), frames)
        for split, count in (episodes or EPISODES).items()
        for day in draw_rainy_days(YEARS[split], count, draw)
    )


def make_varied(
    path: str | Path,
    *,
    shape: tuple[int, int] = SHAPE,
    seed: int = SEED,
    weather: Sequence[EpisodeSpec] | None = None,
    cadence: int = CADENCE,
    workers: int = 1,
    shard: int | None = None,
    visible: bool = False,
) -> Archive:
    """Make a varied archive, or complete one that an interrupted call with the same arguments left.

    The frames depend neither on ``workers`` nor on ``shard``.

    Args:
        path: Path of the archive.
        shape: (H, W) of a frame, at least 8 x 8.
        seed: 0 to 2^63 - 1; seeds 0, 1, 2 see a circle, a composite, a rectangle, and so on.
        weather: The episodes, in the order of time; None: those of :func:`varied`.
        cadence: Minutes between frames.
        workers: Processes; 1 means this process, with a thread for each core.
        shard: Frames in a file, a multiple of 5; None: 5.
        visible: Show a progress bar.

    Returns:
        The archive; its attribute ``synthetic`` lists under ``episodes`` what each episode is.

    Raises:
        ValueError: Arguments are out of range, or another archive lies at ``path``.
        LockedError: Another process is making this archive; a ValueError.
        OSError: There is no room on the disk for an episode; raised before any of it is computed.
    """
    path = Path(path)
    check_seed(seed)
    if weather is None:
        weather = varied(seed)
    check_arguments(shape, weather, seed, cadence, shard)
    episodes = draw_episodes(weather, shape, seed, cadence)
    identity = {"preset": "varied", "generator": VARIED_VERSION, "seed": seed, "weather": digest(weather, cadence)}
    with sole_writer(path), open_workers(workers) as (mapped, stop):
        if path.exists():
            archive = open_unfinished(path, shape, identity)
        else:
            shutil.rmtree(parts_folder(path), ignore_errors=True)  # of a former archive of this name
            view = coverage(shape, seed)
            told = identity | {"coverage": view.kind, "episodes": [_describe_episode(e) for e in episodes]}
            described = describe(episodes[0], weather, view.mask)
            described["source"] = f"hko7env synthetic rain, preset varied {VARIED_VERSION}, seed {seed}"
            archive = create(
                str(path), shape=shape, cadence=cadence, shard=shard, attributes={"synthetic": told}, **described
            )
        fill(archive, episodes, record, mapped, stop, visible=visible)
    shutil.rmtree(parts_folder(path), ignore_errors=True)
    return archive


def draw_episodes(
    weather: Sequence[EpisodeSpec], shape: tuple[int, int], seed: int, cadence: int
) -> list[VariedEpisode]:
    """Draw the conditions of all episodes; in each split the types are equally frequent, as far as possible."""
    draw = random_stream((seed, _APART), _TYPES)
    deck: dict[str, list[str]] = {}
    episodes = []
    for number, spec in enumerate(weather):
        if not deck.get(spec.split):
            deck[spec.split] = [str(name) for name in draw.permutation(list(TYPES))]
        conditions = draw_conditions(deck[spec.split].pop(), random_stream((seed, _APART + number), _CONDITIONS))
        episode = VariedEpisode(number, spec, shape, seed, 0.0, cadence, conditions, process=conditions.process)
        episodes.append(episode)
    return episodes


def record(episode: VariedEpisode, stop: threading.Event | None) -> Iterator[dict[str, Any]]:
    """Yield the frames (H, W) uint8 of all slots. Raises KeyboardInterrupt once ``stop`` is set."""
    marginal = episode.conditions.marginal()
    view = coverage(episode.shape, episode.seed)
    observer = Observer(view, episode.conditions.faults, random_stream(episode.key, _SITE))
    for i, moment in enumerate(episode.generate(stop)):
        clean = marginal.levels(moment.latent)
        yield {"frames": observer.observe(clean, random_stream(episode.key, _NOISE + i))}


def times_by_type(archive: Archive) -> dict[str, Any]:
    """The times of an archive's frames by type of rain, each (n,) int64; empty if the archive lists no episodes."""
    found: dict[str, list[Any]] = {}
    for episode in archive.attributes.get("synthetic", {}).get("episodes", []):
        start = minutes(episode["start"])
        times = archive.times[(archive.times >= start) & (archive.times < start + episode["minutes"])]
        found.setdefault(episode["type"], []).append(times)
    return {name: np.concatenate(found[name]) for name in TYPES if name in found}


def _describe_episode(episode: VariedEpisode) -> dict[str, Any]:
    spec = episode.spec
    period = {"split": spec.split, "start": spec.start, "minutes": spec.frames * episode.cadence}
    return period | asdict(episode.conditions)
