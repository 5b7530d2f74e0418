"""The embedded default archive: stochastic rain that drifts, turns, grows and dies, with clutter and missing frames.

Rain is a stationary Gaussian field in Fourier space. Each mode drifts with the wind and is renewed at the rate that
radar shows for its wavelength; a monotone map then gives the field the rain-rate shares of Shi et al. 2017, Table 2.
A table made on it ranks implementations and protocols; it does not prove skill on real rain.
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.layout import OUT_OF_RANGE, OUTLIER, SCORED, iso, minutes
from hko7env.units import HKO7, NOISE_LEVEL, THRESHOLDS, level, pixel

GENERATOR_VERSION = 1  # part of the default archive's name: a change of any byte below needs a new one
KM = 512 / 480  # km a pixel, as HKO-7
SPECTRAL_SLOPE = 2.7  # 2-D power spectrum ~ k^-slope
MEAN_SPREAD = 0.45  # standard deviation of an episode's mean, so that wet area varies between episodes
# Exceedance shares of THRESHOLDS (Shi et al. 2017, Table 2) as quantiles of a standard normal variable
QUANTILES = (1.296, 1.610, 1.894, 2.155, 2.636)
CLUTTER_DENSITY = ((20, 0.4), (40, 0.13), (60, 0.03), (480, 0.006))  # (radius in px, share), as HKO-7's outlier mask

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Weather:
    """One episode of ``frames`` frames from ``start`` (ISO minute), ``missing`` of them not recorded."""

    split: str
    start: str
    frames: int
    missing: tuple[int, ...] = ()


# Two test days apart, with single and double missing frames as in HKO-7's list; the other splits in other years.
DEMO = (
    Weather("train", "2013-06-10T00:00", 240),
    Weather("valid", "2014-05-08T06:00", 120, missing=(57,)),
    Weather("test", "2015-05-20T00:00", 240, missing=(33, 101, 102, 180)),
    Weather("test", "2015-07-09T00:00", 240, missing=(4, 150)),
)


def rain(
    shape: tuple[int, int], frames: int, *, cadence: int = 6, key: tuple[int, int] = (0, 0), mean: float = 0.0
) -> Iterator[Levels]:
    """Yield ``frames`` noise-free frames (H, W) uint8 of one episode.

    ``key`` (seed, episode) fixes every number, whatever else is drawn elsewhere; ``mean`` shifts the latent field, in
    standard deviations, and with it the wet area.
    """
    side = 2 ** int(
        np.ceil(np.log2(1.06 * max(shape)))
    )  # periodic, with room so that opposite edges do not meet at once
    ky, kx = np.fft.fftfreq(side, KM)[:, None], np.fft.rfftfreq(side, KM)[None, :]
    wavenumber = np.hypot(ky, kx)
    wavenumber[0, 0] = 1e-9  # the mean is not part of the field: it lies below every band
    amplitude = wavenumber ** (-SPECTRAL_SLOPE / 2)
    amplitude[wavenumber < 1 / 256] = 0  # no structure larger than the map
    power = amplitude**2
    power[:, 1:-1] *= 2  # the half of the plane that a real transform leaves out
    amplitude *= np.sqrt((1 - MEAN_SPREAD**2) / power.sum()) * side  # unit total variance, the episode's mean included
    keep = np.exp(-cadence / (2.0 * (1 / wavenumber) ** 1.1))  # lifetime 2 L^1.1 minutes at wavelength L km
    renew = amplitude * np.sqrt(1 - keep**2)

    wind = _random(key, 0)
    speed, heading, turn = wind.uniform(12, 30), wind.uniform(0, 2 * np.pi), wind.uniform(-0.5, 0.5)  # km/h, rad, rad/h
    state = amplitude * _white(key, 1, side)
    for frame in range(frames):
        yield _levels(np.fft.irfft2(state, (side, side), norm="ortho")[: shape[0], : shape[1]] + mean)
        hours = cadence / 60
        angle = heading + turn * hours * frame
        drift = np.exp(-2j * np.pi * speed * hours * (ky * np.sin(angle) + kx * np.cos(angle)))
        state = keep * drift * state + renew * _white(key, 2 + frame, side)


def _random(key: tuple[int, int], draw: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=draw << 128))


def _white(key: tuple[int, int], draw: int, side: int) -> npt.NDArray[np.complex128]:
    return np.asarray(np.fft.rfft2(_random(key, draw).standard_normal((side, side)), norm="ortho"))


def _levels(latent: npt.NDArray[np.float64]) -> Levels:
    """Levels of a latent field by the monotone, piecewise linear map that gives the shares of Table 2."""
    dbz = HKO7.dbz(np.array(THRESHOLDS))
    slope = (dbz[1] - dbz[0]) / (QUANTILES[1] - QUANTILES[0])
    top = (dbz[-1] - dbz[-2]) / (QUANTILES[-1] - QUANTILES[-2])
    z = (QUANTILES[0] - 1, *QUANTILES, QUANTILES[-1] + 2)
    field = np.interp(latent, z, (dbz[0] - slope, *dbz, dbz[-1] + 2 * top))
    levels: Levels = level(pixel(field))
    levels[levels < NOISE_LEVEL] = 0
    return levels


def radar_mask(shape: tuple[int, int], seed: int) -> Levels:
    """(H, W) uint8 static mask: the circle that the radar sees, and ground clutter at fixed places in it."""
    radius = _radius(shape)
    limit = (min(shape) - 1) / 2
    edges, shares = zip(*CLUTTER_DENSITY, strict=True)
    density = np.array(shares)[np.minimum(np.searchsorted(edges, radius * 480 / min(shape)), len(shares) - 1)]
    mask = np.where(_random((seed, 2**32), 0).random(shape) < density, OUTLIER, SCORED).astype(np.uint8)
    mask[radius >= limit] = OUT_OF_RANGE
    return mask


def _radius(shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    rows, columns = np.indices(shape)
    return np.asarray(np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2))


def observe(frame: Levels, mask: Levels, key: tuple[int, int], draw: int) -> Levels:
    """What the radar records of a clean frame: the circle only, ground clutter, and sea clutter below level 71."""
    random = _random(key, draw)
    seen = frame.copy()
    echo = 90 * random.rayleigh(0.8, frame.shape)
    clutter = (mask == OUTLIER) & (random.random(frame.shape) < 0.9)
    seen[clutter] = np.maximum(seen[clutter], np.clip(echo[clutter], 1, 255).astype(np.uint8))
    near = _radius(frame.shape) < min(frame.shape) / 6
    sea = near & (seen == 0) & (random.random(frame.shape) < 0.05)
    seen[sea] = random.integers(1, NOISE_LEVEL, np.count_nonzero(sea), dtype=np.uint8)
    seen[mask == OUT_OF_RANGE] = 0
    return seen


def make(
    path: str | Path,
    *,
    shape: tuple[int, int] = (480, 480),
    seed: int = 7,
    weather: tuple[Weather, ...] = DEMO,
    visible: bool = False,
) -> Archive:
    """Make a synthetic archive at ``path``, or finish one that was begun there with the same arguments.

    The same arguments give the same frames. Episodes must be in the order of time.
    """
    mask = radar_mask(shape, seed)
    if (Path(path) / "zarr.json").exists():
        archive = Archive(str(path), writable=True)
    else:
        archive = create(str(path), shape=shape, mask=mask, **_describe(shape, seed, weather))
    total = sum(w.frames for w in weather)
    with progress.bar(total, f"making {Path(path).stem}", "frame") if visible else nullcontext() as bar:
        for episode, w in enumerate(weather):
            times = minutes(w.start) + 6 * np.arange(w.frames)
            kept = np.setdiff1d(np.arange(w.frames), w.missing)
            if len(archive) and archive.times[-1] >= times[kept[-1]]:
                if bar:
                    bar.update(w.frames)
                continue
            mean = MEAN_SPREAD * _random((seed, 2**33), episode).standard_normal()
            frames = []
            for i, clean in enumerate(rain(shape, w.frames, key=(seed, episode), mean=mean)):
                frames.append(observe(clean, mask, (seed, episode), 2**40 + i))
                if bar:
                    bar.update()
            archive.append(times[kept], np.stack(frames)[kept])
    return archive


def _describe(shape: tuple[int, int], seed: int, weather: tuple[Weather, ...]) -> dict[str, Any]:
    splits: dict[str, list[tuple[str, str]]] = {}
    for w in weather:
        splits.setdefault(w.split, []).append((w.start, iso(minutes(w.start) + 6 * w.frames)))
    metres = 1000 * KM
    return {
        "cadence": 6,
        "x": metres * (np.arange(shape[1]) - (shape[1] - 1) / 2),
        "y": metres * ((shape[0] - 1) / 2 - np.arange(shape[0])),
        "crs": "+proj=aeqd +lat_0=22.3 +lon_0=114.2 +units=m",
        "source": f"hko7env synthetic rain, generator {GENERATOR_VERSION}, seed {seed}",
        "licence": "CC0-1.0",
        "splits": splits,
    }


def cache_folder() -> Path:
    """Where the default archive lies: the folder named by HKO7ENV_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("HKO7ENV_CACHE") or user_cache_dir("hko7env"))


def default_archive(shape: tuple[int, int] = (480, 480)) -> Path:
    """Path of the default archive, which is made on first use, in about a minute, once for all processes."""
    from filelock import FileLock

    folder = cache_folder()
    name = f"demo-{GENERATOR_VERSION}-{shape[0]}x{shape[1]}"
    final, partial = folder / f"{name}.zarr", folder / f"{name}.partial"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if not final.exists():
                make(partial, shape=shape, visible=True)
                partial.rename(final)
    return final
