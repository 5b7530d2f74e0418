"""Making synthetic archives episode by episode on several threads or processes; interrupted calls can be continued."""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.archive.format import check_shard, iso, minutes
from hko7env.archive.georeference import METRES_PER_KM
from hko7env.archive.hko7_facts import CADENCE, CRS, EXCEEDANCE, PIXEL_KM
from hko7env.locking import sole_writer
from hko7env.parallel import WorkerMap, worker_map
from hko7env.synthetic.episode import BLOCK, Episode, Values, compute_episode, count_latents, observed
from hko7env.synthetic.radar import radar_mask
from hko7env.synthetic.rain import Levels, Marginal, latent, short_waves, solve, terrain_bias
from hko7env.synthetic.truth import Truth, create_truth
from hko7env.synthetic.weather import EpisodeSpec, means

GENERATOR_VERSION = 2  # of the archives of :func:`make`: a change of any byte of an archive needs a new one
SEED = 7
SMALLEST = 8  # pixels a side

Stop = threading.Event | None  # ends the threads of an interrupted call
Counts = list[npt.NDArray[np.float64]]  # of latent values, see count_latents, of each episode
Count = Callable[[Sequence[Episode]], Counts]  # of several episodes
Settle = Callable[[Sequence[Episode], Count], tuple[list[Episode], Counts]]  # other means and gains, and their counts


class Writing(TypedDict, total=False):
    """How an archive is written; its frames do not depend on it.

    Attributes:
        workers: Processes; 1 means this process, with a thread for each core.
        shard: Frames in a file, a multiple of 5; None: 5.
        visible: Show a progress bar.
    """

    workers: int
    shard: int | None
    visible: bool


def make(
    path: str | Path,
    *,
    weather: Sequence[EpisodeSpec],
    shape: tuple[int, int] = (480, 480),
    seed: int = SEED,
    cadence: int = CADENCE,
    **writing: Unpack[Writing],
) -> Archive:
    """Make a synthetic archive, or complete one that an interrupted call with the same arguments left.

    The frames depend neither on ``workers`` nor on ``shard``.

    Args:
        path: Path of the archive.
        weather: The episodes, in the order of time.
        shape: (H, W) of a frame, at least 8 x 8.
        seed: 0 to 2^63 - 1.
        cadence: Minutes between frames.
        **writing: How it is written.

    Returns:
        The archive, with its group ``truth``.

    Raises:
        ValueError: Arguments are out of range, or another archive lies at ``path``.
        LockedError: Another process is making this archive; a ValueError.
        OSError: There is no room on the disk for an episode; raised before any of it is computed.
    """
    check_arguments(shape, weather, seed, cadence, writing.get("shard"))
    episodes = [
        Episode(i, spec, shape, seed, float(mean), cadence)
        for i, (spec, mean) in enumerate(zip(weather, means(weather, seed), strict=True))
    ]
    return make_episodes(Path(path), episodes, GENERATOR_VERSION, **writing)


def make_episodes(
    path: Path,
    episodes: Sequence[Episode],
    version: int,
    *,
    workers: int = 1,
    shard: int | None = None,
    visible: bool = False,
    settle: Settle | None = None,
    exceedance: tuple[float, ...] = EXCEEDANCE,
) -> Archive:
    """Make an archive of episodes, or complete it, see :func:`make`.

    Args:
        path: Path of the archive.
        episodes: In the order of time, all of one seed, shape and cadence.
        version: Of the generator that drew them, which is stored.
        workers: Processes; 1 means this process, with a thread for each core.
        shard: Frames in a file, a multiple of 5; None: 5.
        visible: Show a progress bar.
        settle: Changes mean and gain of the episodes once their latent values are counted; the archive stores them.
        exceedance: Five shares of rain at or above THRESHOLDS, before the radar.
    """
    calibrate = partial(_calibrate, settle, exceedance)
    with sole_writer(path), open_workers(workers) as (mapped, stop):
        archive = _open_or_create(path, episodes, version, shard, partial(calibrate, mapped, stop, visible))
        stored = archive.attributes["synthetic"]
        if settle:
            episodes = [
                replace(e, mean=mean, gain=gain)
                for e, mean, gain in zip(episodes, stored["means"], stored["gains"], strict=True)
            ]
        marginal = Marginal(tuple(stored["quantiles"]))
        truth = Truth(archive.name, writable=True)
        fill(archive, episodes, partial(observed, marginal), mapped, stop, truth=truth, visible=visible)
    shutil.rmtree(parts_folder(path), ignore_errors=True)
    return archive


@contextmanager
def open_workers(workers: int) -> Iterator[tuple[WorkerMap, Stop]]:
    """A ``map`` over processes, or over the threads of this one together with the event that stops them."""
    if workers > 1:
        with worker_map(workers) as mapped:
            yield mapped, None
        return
    stop = threading.Event()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        try:
            yield pool.map, stop
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _open_or_create(
    path: Path,
    episodes: Sequence[Episode],
    version: int,
    shard: int | None,
    calibrate: Callable[[Sequence[Episode]], dict[str, list[float]]],
) -> Archive:
    """The archive at ``path``, open for appending, with its truth; empty if there was none."""
    first, specs = episodes[0], [episode.spec for episode in episodes]
    identity = {"generator": version, "seed": first.seed, "weather": digest(specs, first.cadence)}
    if path.exists():
        archive = open_unfinished(path, first.shape, identity)
    else:
        shutil.rmtree(parts_folder(path), ignore_errors=True)  # of a former archive of this name
        found = calibrate(episodes)
        described = describe(first, specs, radar_mask(first.shape, first.seed), version) | {
            "attributes": {"synthetic": identity | found}
        }
        archive = create(str(path), shape=first.shape, cadence=first.cadence, shard=shard, **described)
    if not len(archive):
        moment = next(latent(first.shape, 1, cadence=first.cadence, start=0, key=first.key, mean=0))
        rows, columns = moment.motion.shape[1:]
        steps = sum(spec.frames for spec in specs)
        create_truth(archive, steps, (rows, columns), terrain_bias(first.shape, first.seed))
        archive = Archive(str(path), writable=True)
    return archive


def open_unfinished(path: Path, shape: tuple[int, int], identity: dict[str, Any]) -> Archive:
    """The archive at ``path``. Raises ValueError if it is not one with this shape and identity."""
    if not (path / "zarr.json").exists():
        raise ValueError(f"{path} exists and is no archive: choose another name")
    archive = Archive(str(path), writable=True)
    stored = archive.attributes.get("synthetic", {})
    if {name: stored.get(name) for name in identity} != identity or archive.shape != shape:
        raise ValueError(f"{path} was made with other arguments or another generator: choose another name")
    return archive


def _calibrate(
    settle: Settle | None,
    exceedance: tuple[float, ...],
    mapped: WorkerMap,
    stop: Stop,
    visible: bool,
    episodes: Sequence[Episode],
) -> dict[str, list[float]]:
    """Quantiles of the map that gives these episodes together the shares wanted; with ``settle``, means and gains.

    They are found from the coarse fields.
    """
    count = partial(_count, mapped, stop, visible)
    first, found = episodes[0], {}
    if settle:
        settled, counts = settle(episodes, count)
        found = {"means": [e.mean for e in settled], "gains": [e.gain for e in settled]}
    else:
        counts = count(episodes)
    short = short_waves(first.shape, first.cadence, first.process)
    marginal = solve(np.sum(counts, axis=0), short, process=first.process, exceedance=exceedance)
    return {"quantiles": list(marginal.quantiles)} | found


def _count(mapped: WorkerMap, stop: Stop, visible: bool, episodes: Sequence[Episode]) -> Counts:
    """The latent values of each episode, see :func:`hko7env.synthetic.episode.count_latents`."""
    counts: Counts = []
    frames = sum(episode.spec.frames for episode in episodes)
    with progress.bar(frames, "calibrating", "frame") if visible else nullcontext() as bar:
        for episode, of_episode in zip(episodes, mapped(partial(count_latents, stop), episodes), strict=True):
            counts.append(of_episode)
            if bar:
                bar.update(episode.spec.frames)
    return counts


def fill(
    archive: Archive,
    episodes: Sequence[Episode],
    values: Values,
    mapped: WorkerMap,
    stop: Stop,
    *,
    truth: Truth | None = None,
    visible: bool = False,
) -> None:
    """Append the episodes that ``archive`` lacks, in order, each after its truth.

    Args:
        archive: The archive, open for appending.
        episodes: All its episodes.
        values: Computes them, see :func:`compute_episode`.
        mapped: As of :func:`open_workers`.
        stop: As of :func:`open_workers`.
        truth: Where their truth goes, if the archive has one.
        visible: Show a progress bar.
    """
    last = int(archive.times[-1]) if len(archive) else None
    left = [e for e in episodes if last is None or e.spec.times(e.cadence)[-1] > last]
    steps = sum(e.spec.frames for e in episodes[: len(episodes) - len(left)])
    total = sum(e.spec.frames for e in episodes)
    folder = parts_folder(Path(archive.name))
    folder.mkdir(exist_ok=True)
    with progress.bar(total, f"making {Path(archive.name).stem}", "frame") if visible else nullcontext() as bar:
        if bar:
            bar.update(steps)
        each_frame = bar.update if bar and stop else None  # processes report each episode instead
        compute = partial(compute_episode, folder, values, stop, each_frame)
        for episode, part in zip(left, mapped(compute, left), strict=True):
            _append_episode(archive, truth, episode, part, steps)
            steps += episode.spec.frames
            if bar and not each_frame:
                bar.update(episode.spec.frames)
            shutil.rmtree(part)


def _append_episode(archive: Archive, truth: Truth | None, episode: Episode, part: Path, first: int) -> None:
    """Append an episode from its files in ``part``; ``first`` is the number of steps of the episodes before it."""
    spec = episode.spec
    if truth:
        for name in ("motion", "growth"):
            truth.write(name, first, np.load(part / f"{name}.npy"))
        truth.write("step", first, episode.start + episode.cadence * np.arange(spec.frames))
    times, slots = spec.times(episode.cadence), spec.slots
    done = int(np.searchsorted(times, archive.times[-1], "right")) if len(archive) else 0
    while done < len(times):
        upto = min(done + BLOCK - len(archive) % BLOCK, len(times))
        if truth:
            truth.write("clean", len(archive), np.load(part / "clean.npy", mmap_mode="r")[slots[done:upto]])
        archive.append(times[done:upto], np.load(part / "frames.npy", mmap_mode="r")[slots[done:upto]])
        done = upto


def describe(
    episode: Episode, weather: Sequence[EpisodeSpec], mask: Levels, version: int = GENERATOR_VERSION
) -> dict[str, Any]:
    """Arguments of :func:`create` for an archive of these episodes, of which ``episode`` is one, with a static mask."""
    splits: dict[str, list[tuple[str, str]]] = {}
    for spec in weather:
        times = spec.times(episode.cadence)
        splits.setdefault(spec.split, []).append((iso(times[0]), iso(times[-1] + 1)))
    metres, (height, width) = METRES_PER_KM * PIXEL_KM, episode.shape
    return {
        "mask": mask,
        "x": metres * (np.arange(width) - (width - 1) / 2),
        "y": metres * ((height - 1) / 2 - np.arange(height)),
        "crs": CRS,
        "source": f"hko7env synthetic rain, generator {version}, seed {episode.seed}",
        "licence": "CC0-1.0",
        "splits": splits,
    }


def digest(weather: Sequence[EpisodeSpec], cadence: int) -> str:
    """Digest of the episodes' dates and of the minutes between frames."""
    return hashlib.sha256(repr([cadence, *(sorted(asdict(spec).items()) for spec in weather)]).encode()).hexdigest()


def parts_folder(path: Path) -> Path:
    """Folder of the episodes that have been computed but not appended."""
    return path.with_name(f"{path.name}.parts")


def check_arguments(
    shape: tuple[int, int], weather: Sequence[EpisodeSpec], seed: int, cadence: int, shard: int | None
) -> None:
    """Raise ValueError for arguments that are out of range, before hours are spent on them."""
    if min(shape) < SMALLEST or cadence < 1:
        raise ValueError(
            f"a map has at least {SMALLEST} x {SMALLEST} px and frames are at least a minute apart, "
            f"got {shape[0]} x {shape[1]} and {cadence}"
        )
    check_seed(seed)
    check_shard(shard)
    if not weather:
        raise ValueError("an archive needs at least one episode of weather")
    for one, following in pairwise(weather):
        if one.times(cadence)[-1] + cadence > minutes(following.start):
            raise ValueError(
                f"episodes must follow one another: with {cadence} min a frame, that of {one.start} is not over "
                f"when that of {following.start} begins"
            )


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed that is out of range."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"a seed is a whole number from 0 to 2^63 - 1, got {seed}")
