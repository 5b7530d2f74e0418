"""Makes synthetic archives: episode by episode, over threads or processes, to be stopped and gone on with."""

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.archive.format import OUT_OF_RANGE, check_shard, iso, minutes
from hko7env.locking import sole_writer
from hko7env.parallel import WorkerMap, worker_map
from hko7env.synthetic import weather as weathers
from hko7env.synthetic.field import COARSE, KM
from hko7env.synthetic.radar import radar_mask, site
from hko7env.synthetic.rain import Marginal, histogram, latent, place, short_waves, solve
from hko7env.synthetic.truth import Truth, create_truth
from hko7env.synthetic.weather import Weather

GENERATOR_VERSION = 2  # part of the default archive's name: a change of any byte below needs a new one
SEED = 7
SMALLEST = 8  # px a side
BLOCK = 40  # frames written, read and appended at once: what is held in memory does not grow with an episode

_ZEROS = 1 << 24  # bytes written at once
_NOISE = 1 << 80  # random streams of the radar, one a slot


@dataclass(frozen=True)
class Episode:
    """What fixes every byte of one episode, whoever makes it."""

    number: int
    weather: Weather
    shape: tuple[int, int]
    seed: int
    mean: float
    cadence: int


def make(
    path: str | Path,
    *,
    shape: tuple[int, int] = (480, 480),
    seed: int = SEED,
    weather: Sequence[Weather] = weathers.DEMO,
    cadence: int = 6,
    workers: int = 1,
    shard: int | None = None,
    visible: bool = False,
) -> Archive:
    """Make a synthetic archive at ``path``, or finish one that was begun there with the same arguments.

    The same arguments give the same frames, whatever ``workers`` (processes; with 1, this process with a thread a
    core) and ``shard``. Raises ValueError if something else lies at ``path``, for episodes that are not one after the
    other, for a seed or shard that cannot be, and if another process is making it (LockedError); OSError if the disk
    is full, before anything of an episode is computed.
    """
    path = Path(path)
    _check(shape, weather, seed, cadence, shard)
    episodes = [
        Episode(i, w, shape, seed, float(mean), cadence)
        for i, (w, mean) in enumerate(zip(weather, weathers.means(weather, seed), strict=True))
    ]
    total = sum(w.frames for w in weather)
    identity = {"generator": GENERATOR_VERSION, "seed": seed, "weather": _digest(weather, cadence)}
    with sole_writer(path), _working(workers) as (spread, stop):
        archive = _begun(path, shape, identity) if path.exists() else None
        if archive is None:
            shutil.rmtree(_parts(path), ignore_errors=True)  # of an archive of this name that is gone
            with progress.bar(total, "measuring the weather", "frame") if visible else nullcontext() as bar:
                identity["quantiles"] = _calibrate(episodes, spread, stop, bar.update if bar else _ignore).quantiles
            described = _describe(episodes[0], weather) | {"attributes": {"synthetic": identity}}
            archive = create(str(path), shape=shape, cadence=cadence, shard=shard, **described)
        if not len(archive):
            nodes = next(latent(shape, 1, cadence=cadence, start=0, key=(seed, 0), mean=0)).motion.shape[1:]
            create_truth(archive, total, (nodes[0], nodes[1]), place(shape, seed))
            archive = Archive(str(path), writable=True)
        marginal = Marginal(tuple(archive.attributes["synthetic"]["quantiles"]))
        with progress.bar(total, f"making {path.stem}", "frame") if visible else nullcontext() as bar:
            _fill(archive, episodes, marginal, spread, stop, bar)
    shutil.rmtree(_parts(path), ignore_errors=True)
    return archive


def _begun(path: Path, shape: tuple[int, int], identity: dict[str, Any]) -> Archive:
    """The archive at ``path``, to go on with. Raises ValueError if it is something else."""
    if not (path / "zarr.json").exists():
        raise ValueError(f"{path} exists and is no archive: choose another name")
    archive = Archive(str(path), writable=True)
    made = archive.attributes.get("synthetic", {})
    if {name: made.get(name) for name in identity} != identity or archive.shape != shape:
        raise ValueError(f"{path} was begun with other arguments or another generator: choose another name")
    return archive


def _fill(
    archive: Archive,
    episodes: list[Episode],
    marginal: Marginal,
    spread: WorkerMap,
    stop: threading.Event | None,
    bar: Any,
) -> None:
    """Append the episodes that ``archive`` lacks, in order, each after its truth."""
    last = int(archive.times[-1]) if len(archive) else None
    left = [e for e in episodes if last is None or e.weather.times(e.cadence)[-1] > last]
    steps = sum(e.weather.frames for e in episodes[: len(episodes) - len(left)])
    if bar:
        bar.update(steps)
    truth = Truth(archive.name, writable=True)
    folder = _parts(Path(archive.name))
    folder.mkdir(exist_ok=True)
    tell = bar.update if bar and stop else None  # threads tell of every frame, processes of every episode
    for episode, part in zip(left, spread(partial(_make_part, folder, marginal, stop, tell), left), strict=True):
        w = episode.weather
        for name in ("motion", "growth"):
            truth.write(name, steps, np.load(part / f"{name}.npy"))
        truth.write("step", steps, minutes(w.start) + episode.cadence * np.arange(w.frames))
        times, slots = w.times(episode.cadence), w.slots
        done = int(np.searchsorted(times, archive.times[-1], "right")) if len(archive) else 0
        while done < len(times):
            upto = min(done + BLOCK - len(archive) % BLOCK, len(times))
            clean, frames = (np.load(part / f"{name}.npy", mmap_mode="r") for name in ("clean", "frames"))
            truth.write("clean", len(archive), clean[slots[done:upto]])
            archive.append(times[done:upto], frames[slots[done:upto]])
            done = upto
        steps += w.frames
        if bar and not tell:
            bar.update(w.frames)
        shutil.rmtree(part)


def _make_part(
    folder: Path, marginal: Marginal, stop: threading.Event | None, tell: Callable[[int], Any] | None, episode: Episode
) -> Path:
    """Write one episode's frames and truth, all slots, beside the archive; a whole one that is there already stays."""
    part, partial_ = folder / f"{episode.number:04}", folder / f"{episode.number:04}.partial"
    if part.exists():
        return part
    partial_.mkdir(exist_ok=True)
    n, shape, start = episode.weather.frames, episode.shape, minutes(episode.weather.start)
    key = (episode.seed, episode.number)
    radar = site(shape, episode.seed)
    arrays: dict[str, Any] = {}
    for i, moment in enumerate(latent(shape, n, cadence=episode.cadence, start=start, key=key, mean=episode.mean)):
        if stop and stop.is_set():
            raise KeyboardInterrupt
        clean = marginal.levels(moment.latent)
        values: dict[str, Any] = {
            "frames": radar.observe(clean, start + episode.cadence * i, key, _NOISE + i),
            "clean": np.where(radar.mask == OUT_OF_RANGE, np.uint8(0), clean),
            "motion": moment.motion,
            "growth": np.float32(moment.growth),
        }
        for name, value in values.items():
            if name not in arrays:
                arrays[name] = _new_array(partial_ / f"{name}.npy", value.dtype, (n, *np.shape(value)))
            elif i % BLOCK == 0:  # a new map, so that the written part leaves the memory
                arrays[name] = np.load(partial_ / f"{name}.npy", mmap_mode="r+")
            arrays[name][i] = value
        if tell:
            tell(1)
    for array in arrays.values():
        array.flush()
    partial_.rename(part)
    return part


def _new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
    """A memory-mapped .npy file whose space on the disk is reserved, so that writing to the map cannot fail later.

    A write to a sparse file on a full disk kills the process (SIGBUS). Raises OSError, naming the file, if there is no
    room.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # macOS: zeros take the space as well
                file.seek(array.offset)
                for start in range(array.offset, size, _ZEROS):
                    file.write(bytes(min(_ZEROS, size - start)))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {size} bytes for", str(path)) from error
    return array


def _calibrate(
    episodes: list[Episode], spread: WorkerMap, stop: threading.Event | None, step: Callable[[int], Any]
) -> Marginal:
    """The map that gives the shares of Table 2 to the whole of these episodes, measured on their coarse fields."""
    total: Any = 0.0
    for episode, counts in zip(episodes, spread(partial(_measure, stop), episodes), strict=True):
        total = total + counts
        step(episode.weather.frames)
    return solve(np.asarray(total), short_waves(episodes[0].shape, episodes[0].cadence))


def _measure(stop: threading.Event | None, episode: Episode) -> Any:
    seen = (radar_mask(episode.shape, episode.seed) != OUT_OF_RANGE)[::COARSE, ::COARSE]
    kept = set(episode.weather.slots.tolist())
    total: Any = 0.0
    for i, moment in enumerate(
        latent(
            episode.shape,
            episode.weather.frames,
            cadence=episode.cadence,
            start=minutes(episode.weather.start),
            key=(episode.seed, episode.number),
            mean=episode.mean,
            coarse=True,
        )
    ):
        if stop and stop.is_set():
            raise KeyboardInterrupt
        if i in kept:
            total = total + histogram(moment.latent, seen)
    return total


@contextmanager
def _working(workers: int) -> Iterator[tuple[WorkerMap, threading.Event | None]]:
    """A ``map`` over processes, or over a thread a core of this one together with what stops the threads."""
    if workers > 1:
        with worker_map(workers) as spread:
            yield spread, None
        return
    stop = threading.Event()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        try:
            yield pool.map, stop
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _describe(episode: Episode, weather: Sequence[Weather]) -> dict[str, Any]:
    splits: dict[str, list[tuple[str, str]]] = {}
    for w in weather:
        times = w.times(episode.cadence)
        splits.setdefault(w.split, []).append((iso(times[0]), iso(times[-1] + 1)))
    metres, (height, width) = 1000 * KM, episode.shape
    return {
        "mask": radar_mask(episode.shape, episode.seed),
        "x": metres * (np.arange(width) - (width - 1) / 2),
        "y": metres * ((height - 1) / 2 - np.arange(height)),
        "crs": "+proj=aeqd +lat_0=22.3 +lon_0=114.2 +units=m",
        "source": f"hko7env synthetic rain, generator {GENERATOR_VERSION}, seed {episode.seed}",
        "licence": "CC0-1.0",
        "splits": splits,
    }


def _digest(weather: Sequence[Weather], cadence: int) -> str:
    return hashlib.sha256(repr([cadence, *(sorted(asdict(w).items()) for w in weather)]).encode()).hexdigest()


def _parts(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def _check(shape: tuple[int, int], weather: Sequence[Weather], seed: int, cadence: int, shard: int | None) -> None:
    """Raise ValueError for what cannot be made, before hours are spent on it."""
    if min(shape) < SMALLEST or cadence < 1:
        raise ValueError(
            f"a map has at least {SMALLEST} x {SMALLEST} px and frames are at least a minute apart, "
            f"got {shape[0]} x {shape[1]} and {cadence}"
        )
    if not 0 <= seed < 2**63:
        raise ValueError(f"a seed is a whole number from 0 to 2^63 - 1, got {seed}")
    check_shard(shard)
    if not weather:
        raise ValueError("an archive needs at least one episode of weather")
    for one, following in pairwise(weather):
        if one.times(cadence)[-1] + cadence > minutes(following.start):
            raise ValueError(
                f"episodes must follow one another: with {cadence} min a frame, that of {one.start} is not over "
                f"when that of {following.start} begins"
            )


def _ignore(_: int) -> None:
    pass
