"""Rain that moves, turns, grows and decays: a latent Gaussian field, convective cells, and the map to levels.

The latent field is a sum of Gaussian waves of all lengths that moves with the wind; large structures persist longer
than small ones. To it are added the episode's mean, which varies slowly, a diurnal cycle, and a bias that depends on
the location only. Where the sum is high, convective cells with lifetimes below an hour dominate. A monotone map then
gives the rain-rate shares of Shi et al. 2017, Table 2. The method follows STEPS (Bowler et al. 2006) and String of
Beads (Pegram and Clothier 2001); its parameters were chosen so that last frame and ROVER score as they do on HKO-7, see
:mod:`hko7env.synthetic.realism`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from hko7env.archive.format import DAY
from hko7env.archive.hko7_facts import EXCEEDANCE
from hko7env.synthetic.field import COARSE, Array, Field, Key, random_stream, wavenumbers, white_noise
from hko7env.synthetic.process import HONG_KONG, Process
from hko7env.synthetic.wind import NODE, Wind, interpolate_nodes
from hko7env.units import HKO7, level, pixel
from hko7env.units import dbz as dbz_of

Levels = npt.NDArray[np.uint8]

WITHIN_HOURS = 6.0  # in which the mean within an episode decays to 1/e
DAILY = 0.12  # amplitude of the diurnal cycle
TERRAIN, TERRAIN_KM = 0.15, (60.0, 300.0)  # standard deviation (about 3 dB) and wavelengths of the terrain bias
AFTERNOON = 7 * 60  # UTC minutes of the diurnal maximum: 15:00 in Hong Kong

_CELLS, _MEAN, _TERRAIN = 1 << 90, 1 << 101, 1 << 102  # random streams
_GRID = np.arange(-8, 8, 0.01)  # latent values


@dataclass(frozen=True)
class Moment:
    """One step of an episode.

    Attributes:
        latent: (H, W) float32 latent field.
        motion: (2, n, m) float32 displacement since the step before in pixels, at the nodes about the frame.
        diurnal: Value of the diurnal cycle, which is part of the latent field.
    """

    latent: Array
    motion: Array
    diurnal: float


def domain(shape: tuple[int, int]) -> tuple[int, int]:
    """(n, m) pixels of the periodic domain about a frame of ``shape`` (H, W); it is at least a fifth larger."""
    rows, columns = (NODE * fft.next_fast_len(max(-(-6 * s // (5 * NODE)), 2), real=True) for s in shape)
    return rows, columns


def origin(shape: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the frame in its domain; both are at a node."""
    rows, columns = ((d - s) // 2 // NODE * NODE for d, s in zip(domain(shape), shape, strict=True))
    return rows, columns


def terrain_bias(shape: tuple[int, int], seed: int) -> Array:
    """(H, W) float32 bias by hills and coast, which is added to the latent field of all frames of a seed."""
    size = domain(shape)
    k = np.hypot(*wavenumbers(size, 1))
    band = (k > 1 / TERRAIN_KM[1]) & (k < 1 / TERRAIN_KM[0])
    if not band.any():  # a map smaller than a hill
        return np.zeros(shape, np.float32)
    field = fft.irfft2(band * white_noise(random_stream((seed, 0), _TERRAIN), size), size)
    field *= TERRAIN / np.sqrt((field**2).mean())
    (top, left), (height, width) = origin(shape), shape
    return np.asarray(field[top : top + height, left : left + width], np.float32)


def diurnal_cycle(minute: Any) -> Any:
    """Bias by the time of day, added to the latent field at ``minute`` (UTC, since 1970-01-01); any shape."""
    return DAILY * np.cos(2 * np.pi * (minute - AFTERNOON) / DAY)


def latent(
    shape: tuple[int, int],
    frames: int,
    *,
    cadence: float,
    start: int,
    key: Key,
    mean: float,
    process: Process = HONG_KONG,
    gain: float = 1.0,
    coarse: bool = False,
) -> Iterator[Moment]:
    """Generate an episode.

    Args:
        shape: (H, W) of a frame.
        frames: Number of steps.
        cadence: Minutes of a step.
        start: Minutes since 1970-01-01 of the first step, UTC.
        key: Seed and episode.
        mean: Added to the latent field of the whole episode.
        process: Parameters of the rain.
        gain: Factor of the amplitude of the field of waves.
        coarse: Give every fourth pixel without cells: the same rain for a sixteenth of the work.

    Yields:
        The steps in order; their latent field is (H, W), with ``coarse`` (ceil(H / 4), ceil(W / 4)).
    """
    size, (top, left) = domain(shape), origin(shape)
    wind = Wind(size, shape, key, cadence=cadence, speed=process.speed)
    large = _waves(size, key, process, cadence, coarse)
    half = (size[0] // 2, size[1] // 2)
    cells = None if coarse else _cells(half, key, process, cadence)
    step = COARSE if coarse else 1
    points, half_points = (np.indices(s, dtype=np.float32) for s in (large.size, half))
    drift = random_stream(key, _MEAN)
    wander, keep = process.within * drift.standard_normal(), np.exp(-cadence / (60 * WITHIN_HOURS))
    terrain = terrain_bias(shape, key[0])[::step, ::step]
    scale = np.float32(gain * np.sqrt(process.waves))
    view = tuple(slice(a // step, a // step + n) for a, n in zip((top, left), terrain.shape, strict=True))
    first = (top // NODE, left // NODE)
    last = tuple(-(-(t + s) // NODE) + 1 for t, s in zip((top, left), shape, strict=True))
    motion = np.zeros((2, last[0] - first[0], last[1] - first[1]), np.float32)
    for frame in range(frames):
        diurnal = diurnal_cycle(start + cadence * frame)
        field = scale * large.values()[view] + terrain + np.float32(mean + wander + diurnal)
        if cells:
            field = process.with_cells(field, cells.values(size)[view])
        yield Moment(field, motion, float(diurnal))
        if frame == frames - 1:
            return
        nodes = wind.step()
        rows, columns = (np.arange(a, b) % n for a, b, n in zip(first, last, nodes.shape[1:], strict=True))
        motion = nodes[:, rows[:, None], columns[None, :]]
        large.step(points - interpolate_nodes(nodes, large.size, step) / np.float32(step))
        if cells:
            cells.step(half_points - interpolate_nodes(nodes, half, 2) / np.float32(2))
        wander = keep * wander + process.within * np.sqrt(1 - keep**2) * drift.standard_normal()


def _cells(half: tuple[int, int], key: Key, process: Process, cadence: float) -> Field:
    """The field of convective cells of an episode, on a domain of ``half`` (n, m) points, every second pixel."""
    streams, lifetime = (_CELLS, _CELLS + (1 << 89)), process.cell_persistence
    return Field(half, key, streams, power=process.cell_power, lifetime=lifetime, cadence=cadence, spacing=2)


def _waves(size: tuple[int, int], key: Key, process: Process, cadence: float, coarse: bool) -> Field:
    """The field of waves of an episode on a domain of ``size`` (n, m)."""
    along = (process.stretch, process.direction)
    return Field(
        size, key, (0, 1 << 89), power=process.power, lifetime=process.persistence, cadence=cadence,
        along=along, coarse=coarse,
    )  # fmt: skip


@dataclass(frozen=True)
class Marginal:
    """The monotone map from latent values to levels.

    Attributes:
        quantiles: Five latent values at which THRESHOLDS are reached.
    """

    quantiles: tuple[float, ...]

    def levels(self, latent: Array) -> Levels:
        """uint8 levels of latent values of any shape; dBZ is piecewise linear, with the outer slopes beyond."""
        index = ((latent - np.float32(_GRID[0])) * np.float32(1000)).clip(0, len(self.table) - 1).astype(np.int32)
        levels: Levels = self.table[index]
        return levels

    @cached_property
    def table(self) -> Levels:
        """(16000,) uint8 level of each interval of 0.001 in latent values from -8 to 8, at its middle."""
        table: Levels = level(pixel(np.interp(np.arange(_GRID[0], -_GRID[0], 0.001) + 0.0005, *self._knots())))
        return table

    def latent(self, levels: Levels) -> npt.NDArray[np.float64]:
        """float64 latent values of levels of any shape."""
        z, dbz = self._knots()
        return np.asarray(np.interp(levels, 255 * pixel(dbz), z))

    def _knots(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        z, dbz = np.array(self.quantiles), dbz_of((HKO7.threshold_levels - 0.5) / 255)  # from where levels round up
        below, above = (dbz[1] - dbz[0]) / (z[1] - z[0]), (dbz[-1] - dbz[-2]) / (z[-1] - z[-2])
        return np.array([z[0] - 1, *z, z[-1] + 3]), np.array([dbz[0] - below, *dbz, dbz[-1] + 3 * above])


def solve(
    histogram: npt.NDArray[np.float64],
    missing: float,
    *,
    process: Process = HONG_KONG,
    exceedance: tuple[float, ...] = EXCEEDANCE,
) -> Marginal:
    """Find the map that gives rain rates their shares.

    Args:
        histogram: (1600,) sum of :func:`histogram` over coarse latent fields.
        missing: Variance of the short waves that a coarse field lacks, see :func:`short_waves`; they are independent
            of it, as are the cells.
        process: Parameters of the rain, of which those of the cells matter here.
        exceedance: Five shares of rain at or above THRESHOLDS; default: those of Shi et al. 2017, Table 2.

    Returns:
        The map.
    """
    width = _GRID[1] - _GRID[0]
    reach = np.arange(-300, 301) * width
    blur = np.exp(-(reach**2) / (2 * max(missing, 1e-6)))
    density = np.convolve(histogram / histogram.sum(), blur / blur.sum(), "same")
    quiet = process.cells_from >= _GRID
    excess = _GRID[~quiet] - process.cells_from
    strength = process.cells * np.minimum(excess / (process.cells_full - process.cells_from), 1)
    above = density[~quiet].sum() + np.cumsum(density[quiet][::-1])[::-1]  # P(field >= each quiet value)
    over = _GRID[~quiet][:, None] - process.cells_from  # thresholds above the point where cells begin
    chance = np.where(over <= process.floor * excess, 1.0, special.ndtr((excess - over) / strength))
    shares = np.concatenate([above, chance @ density[~quiet]])
    order = np.arange(len(_GRID))[::-1]
    quantiles = np.interp(exceedance, shares[order], _GRID[order])
    return Marginal(tuple(float(q) for q in quantiles))


@cache
def climate() -> Marginal:
    """The map that gives the shares of Table 2 in the limit of many episodes, where latent values are normal."""
    return solve(normal_density(), 0.0)


def normal_density() -> npt.NDArray[np.float64]:
    """(1600,) density of latent values in the limit of many episodes, in place of :func:`histogram`."""
    variance = 1 + TERRAIN**2 + DAILY**2 / 2
    return np.asarray(np.exp(-(_GRID**2) / (2 * variance)), np.float64)


def rain(
    shape: tuple[int, int], frames: int, *, cadence: int = 6, key: Key = (0, 0), mean: float = 0
) -> Iterator[Levels]:
    """Generate rain without an archive, with the map of :func:`climate`.

    Args:
        shape: (H, W) of a frame.
        frames: Number of frames.
        cadence: Minutes between frames.
        key: Seed and episode.
        mean: Added to the latent field of the whole episode.

    Yields:
        Frames (H, W) uint8 of the true rain, without the effects of a radar; levels below 71 included.
    """
    marginal = climate()
    for moment in latent(shape, frames, cadence=cadence, start=0, key=key, mean=mean):
        yield marginal.levels(moment.latent)


def histogram(latents: Array, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Count latent values for :func:`solve`; counts add.

    Args:
        latents: (n, m) latent values.
        where: (n, m) bool, the locations that count.

    Returns:
        (1600,) float64 number of values nearest to -8, -7.99, ...
    """
    bins = np.round((latents[where] - _GRID[0]) * 100).astype(int).clip(0, len(_GRID) - 1)
    return np.bincount(bins, minlength=len(_GRID)).astype(np.float64)


def wet_quantile(counts: npt.NDArray[np.float64], share: float) -> float:
    """Latent value, a multiple of 0.01, that ``share`` of the counted values exceeds, see :func:`histogram`."""
    above = np.cumsum(counts[::-1])[::-1] / counts.sum()
    return float(np.round(_GRID[np.searchsorted(-above, -share)], 2))


def shift(counts: npt.NDArray[np.float64], by: float) -> npt.NDArray[np.float64]:
    """The counts of :func:`histogram` once ``by``, a multiple of 0.01, is added to the latent values."""
    return np.roll(counts, round(by * 100))


def short_waves(shape: tuple[int, int], cadence: float, process: Process = HONG_KONG) -> float:
    """Variance of the latent field's short waves, which a coarse field lacks."""
    return process.waves * (1 - _waves(domain(shape), (0, 0), process, cadence, True).variance)
