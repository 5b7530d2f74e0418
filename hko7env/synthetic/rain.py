"""Rain that moves, turns, grows and dies: a latent Gaussian field, short-lived cells in it, and the map to levels.

The latent field is a Gaussian cascade whose wavelengths live the longer the larger they are, in the frame that moves
with the wind. To it come the episode's mean, which wanders, a daily cycle, and a fixed factor of place; where it is
high, convective cells take over, which live less than an hour. A monotone map then gives the shares of Shi et al. 2017,
Table 2. The recipe follows STEPS and String of Beads (Bowler et al. 2006; Pegram and Clothier 2001); its numbers were
set so that last frame and ROVER score as they do on HKO-7 (``tools/archive.py check``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from hko7env.synthetic.field import COARSE, Array, Field, Key, random, wavenumbers, white
from hko7env.synthetic.wind import NODE, Wind, spread
from hko7env.units import HKO7, level, pixel
from hko7env.units import dbz as dbz_of

Levels = npt.NDArray[np.uint8]

SLOPE = 2.9  # 2-D power spectrum ~ k^-slope
LONGEST = 256.0  # km: no structure is larger
LIFETIME = (8.0, 1.1)  # minutes: 8 L^1.1 at L km; in radar studies about 2 L^1.1, winds and cells that we add included
CELL_KM, CELL_MINUTES = (6.0, 28.0), 40.0  # wavelengths and lifetime of convective cells
CELLS_FROM, CELLS_FULL, CELLS = 1.75, 2.2, 0.45  # latent values where cells begin and are full, and their strength
FLOOR = 0.3  # share of its excess that the latent field keeps where cells are weak
BETWEEN, WITHIN, WITHIN_HOURS = 0.68, 0.25, 6.0  # standard deviation of the mean between and within episodes
LARGE = 1 - BETWEEN**2 - WITHIN**2  # variance that is left for the large field
DAILY = 0.12  # amplitude of the daily cycle
PLACE, PLACE_KM = 0.15, (60.0, 300.0)  # standard deviation and wavelengths of the fixed factor: some 3 dB
EXCEEDANCE = (0.0975, 0.0537, 0.0291, 0.0156, 0.0042)  # of THRESHOLDS, Shi et al. 2017, Table 2
AFTERNOON = 7 * 60  # UTC minutes of the daily maximum: 15:00 in Hong Kong

_CELLS, _MEAN, _PLACE = 1 << 90, 1 << 101, 1 << 102  # random streams
_GRID = np.arange(-8, 8, 0.01)


@dataclass(frozen=True)
class Moment:
    """One step of an episode.

    ``latent`` (H, W) float32; ``motion`` (2, n, m) the displacement since the step before, on nodes over the view;
    ``growth`` what the daily cycle adds to the latent field.
    """

    latent: Array
    motion: Array
    growth: float


def domain(shape: tuple[int, int]) -> tuple[int, int]:
    """Pixels of the periodic domain about a view of ``shape``: a fifth larger, so its edges do not meet at once."""
    rows, columns = (NODE * fft.next_fast_len(max(-(-6 * s // (5 * NODE)), 2), real=True) for s in shape)
    return rows, columns


def origin(shape: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the view in its domain: a node."""
    rows, columns = ((d - s) // 2 // NODE * NODE for d, s in zip(domain(shape), shape, strict=True))
    return rows, columns


def place(shape: tuple[int, int], seed: int) -> Array:
    """(H, W) float32: what hills and coast add to the latent field at each place, always."""
    size = domain(shape)
    k = np.hypot(*wavenumbers(size, 1))
    band = (k > 1 / PLACE_KM[1]) & (k < 1 / PLACE_KM[0])
    if not band.any():  # a map smaller than a hill
        return np.zeros(shape, np.float32)
    field = fft.irfft2(band * white(random((seed, 0), _PLACE), size), size)
    field *= PLACE / np.sqrt((field**2).mean())
    (top, left), (height, width) = origin(shape), shape
    return np.asarray(field[top : top + height, left : left + width], np.float32)


def growth(minute: Any) -> Any:
    """What the daily cycle adds to the latent field at ``minute`` (UTC, since 1970-01-01), a number or an array."""
    return DAILY * np.cos(2 * np.pi * (minute - AFTERNOON) / 1440)


def latent(
    shape: tuple[int, int], frames: int, *, cadence: int, start: int, key: Key, mean: float, coarse: bool = False
) -> Iterator[Moment]:
    """``frames`` moments of the episode ``key`` (seed, episode) that starts at minute ``start``.

    ``mean`` shifts the whole episode. With ``coarse``, every fourth pixel and no cells: the same weather for a
    sixteenth of the work.
    """
    size, (top, left) = domain(shape), origin(shape)
    wind = Wind(size, shape, key, cadence=cadence)
    large = Field(size, key, (0, 1 << 89), power=power, lifetime=lifetime, cadence=cadence, coarse=coarse)
    half = (size[0] // 2, size[1] // 2)
    streams = (_CELLS, _CELLS + (1 << 89))
    cells = None
    if not coarse:
        cells = Field(half, key, streams, power=cell_power, lifetime=cell_lifetime, cadence=cadence, spacing=2)
    step = COARSE if coarse else 1
    points, half_points = (np.indices(s, dtype=np.float32) for s in (large.size, half))
    drift = random(key, _MEAN)
    wander, keep = WITHIN * drift.standard_normal(), np.exp(-cadence / (60 * WITHIN_HOURS))
    hills = place(shape, key[0])[::step, ::step]
    scale = np.float32(np.sqrt(LARGE))
    view = tuple(slice(a // step, a // step + n) for a, n in zip((top, left), hills.shape, strict=True))
    first = (top // NODE, left // NODE)
    last = tuple(-(-(t + s) // NODE) + 1 for t, s in zip((top, left), shape, strict=True))
    motion = np.zeros((2, last[0] - first[0], last[1] - first[1]), np.float32)
    for frame in range(frames):
        daily = growth(start + cadence * frame)
        field = scale * large.values()[view] + hills + np.float32(mean + wander + daily)
        if cells:
            field = with_cells(field, cells.values(size)[view])
        yield Moment(field, motion, float(daily))
        if frame == frames - 1:
            return
        nodes = wind.step()
        rows, columns = (np.arange(a, b) % n for a, b, n in zip(first, last, nodes.shape[1:], strict=True))
        motion = nodes[:, rows[:, None], columns[None, :]]
        large.step(points - spread(nodes, large.size, step) / np.float32(step))
        if cells:
            cells.step(half_points - spread(nodes, half, 2) / np.float32(2))
        wander = keep * wander + WITHIN * np.sqrt(1 - keep**2) * drift.standard_normal()


def power(wavelength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """2-D power spectral density of the large field at wavelengths in km."""
    return np.where(wavelength <= LONGEST, wavelength**SLOPE, 0.0)


def lifetime(wavelength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Minutes until structures of wavelengths in km have decayed to 1/e."""
    factor, power = LIFETIME
    return np.asarray(factor * wavelength**power)


def cell_power(wavelength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As :func:`power`, of the cells."""
    return np.where((wavelength >= CELL_KM[0]) & (wavelength <= CELL_KM[1]), wavelength**2, 0.0)


def cell_lifetime(wavelength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """As :func:`lifetime`, of the cells."""
    return np.full_like(wavelength, CELL_MINUTES)


def with_cells(field: Any, cells: Any) -> Any:
    """The latent field with unit-variance ``cells`` in its high parts, which they lift or lower; numpy or torch.

    Where cells are weak, ``FLOOR`` of what the field has above ``CELLS_FROM`` stays.
    """
    excess = (field - CELLS_FROM).clip(0)
    strength = CELLS * (excess / (CELLS_FULL - CELLS_FROM)).clip(max=1)
    return field - (1 - FLOOR) * excess + ((1 - FLOOR) * excess + strength * cells).clip(0)


@dataclass(frozen=True)
class Marginal:
    """The monotone map from latent values to levels: ``quantiles`` (5,) are where THRESHOLDS are reached."""

    quantiles: tuple[float, ...]

    def levels(self, latent: Array) -> Levels:
        """Levels 0..255 of latent values: dBZ is piecewise linear and goes on with the outer slopes."""
        index = ((latent - np.float32(_GRID[0])) * np.float32(1000)).clip(0, len(self.table) - 1).astype(np.int32)
        levels: Levels = self.table[index]
        return levels

    @cached_property
    def table(self) -> Levels:
        """(16000,) uint8: the level of each thousandth from -8 to 8, the middle of its interval."""
        table: Levels = level(pixel(np.interp(np.arange(_GRID[0], -_GRID[0], 0.001) + 0.0005, *self._knots())))
        return table

    def latent(self, levels: Levels) -> npt.NDArray[np.float64]:
        """The latent value of levels."""
        z, dbz = self._knots()
        return np.asarray(np.interp(levels, 255 * pixel(dbz), z))

    def _knots(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        z, dbz = np.array(self.quantiles), dbz_of((HKO7.threshold_levels - 0.5) / 255)  # from where levels round up
        below, above = (dbz[1] - dbz[0]) / (z[1] - z[0]), (dbz[-1] - dbz[-2]) / (z[-1] - z[-2])
        return np.array([z[0] - 1, *z, z[-1] + 3]), np.array([dbz[0] - below, *dbz, dbz[-1] + 3 * above])


def solve(histogram: npt.NDArray[np.float64], missing: float) -> Marginal:
    """The map that gives the shares of Table 2 to a field with this ``histogram`` of coarse values over ``_GRID``.

    ``missing`` is the variance of the short waves that a coarse field lacks; they and the cells are independent of it.
    """
    width = _GRID[1] - _GRID[0]
    reach = np.arange(-300, 301) * width
    blur = np.exp(-(reach**2) / (2 * max(missing, 1e-6)))
    density = np.convolve(histogram / histogram.sum(), blur / blur.sum(), "same")
    quiet = _GRID <= CELLS_FROM
    excess = _GRID[~quiet] - CELLS_FROM
    strength = CELLS * np.minimum(excess / (CELLS_FULL - CELLS_FROM), 1)
    above = density[~quiet].sum() + np.cumsum(density[quiet][::-1])[::-1]  # P(field >= each quiet value)
    over = _GRID[~quiet][:, None] - CELLS_FROM  # thresholds above the point where cells begin
    chance = np.where(over <= FLOOR * excess, 1.0, special.ndtr((excess - over) / strength))
    exceedance = np.concatenate([above, chance @ density[~quiet]])
    order = np.arange(len(_GRID))[::-1]
    quantiles = np.interp(EXCEEDANCE, exceedance[order], _GRID[order])
    return Marginal(tuple(float(q) for q in quantiles))


@cache
def climate() -> Marginal:
    """The map that gives the shares of Table 2 to endless weather, whose latent field is normal."""
    variance = 1 + PLACE**2 + DAILY**2 / 2
    return solve(np.exp(-(_GRID**2) / (2 * variance)), 0.0)


def rain(
    shape: tuple[int, int], frames: int, *, cadence: int = 6, key: Key = (0, 0), mean: float = 0
) -> Iterator[Levels]:
    """Yield ``frames`` frames (H, W) uint8 of endless weather's episode ``key``, below level 71 too; see ``latent``."""
    marginal = climate()
    for moment in latent(shape, frames, cadence=cadence, start=0, key=key, mean=mean):
        yield marginal.levels(moment.latent)


def histogram(latents: Array, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """How often latent values at ``where`` fall on each point of the grid of :func:`solve`; it adds."""
    bins = np.round((latents[where] - _GRID[0]) * 100).astype(int).clip(0, len(_GRID) - 1)
    return np.bincount(bins, minlength=len(_GRID)).astype(np.float64)


def short_waves(shape: tuple[int, int], cadence: int) -> float:
    """Variance that a coarse latent field lacks."""
    size = domain(shape)
    coarse = Field(size, (0, 0), (0, 1 << 89), power=power, lifetime=lifetime, cadence=cadence, coarse=True)
    return LARGE * (1 - coarse.variance)
