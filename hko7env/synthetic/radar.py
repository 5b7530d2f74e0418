"""What a radar makes of rain: its circle, beams that hills block, clutter, spikes of the sun, levels of eight bits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hko7env.archive.format import OUT_OF_RANGE, OUTLIER, SCORED
from hko7env.synthetic.field import Key, random
from hko7env.units import DBZ_SPAN, NOISE_LEVEL, level, pixel

Levels = npt.NDArray[np.uint8]

# Radius in pixels of a 480-pixel map and share of clutter up to it, as in HKO-7's outlier mask
CLUTTER = ((10, 0.386), (20, 0.434), (40, 0.127), (60, 0.033), (100, 0.009), (140, 0.022), (240, 0.006))
BLOB = 1.1  # standard deviation in pixels of what joins clutter into blobs
SPOKE = (155.0, 55.0, 220.0, 1.15)  # degrees clockwise from north, first and last radius, half width in degrees
ECHO, SHAPE, SEEN = 72.0, 3.0, 0.9  # level of clutter; Weibull in space, Rayleigh in time; how often it is there
SEA, SEA_SHARE = 60.0, 0.06  # radius of sea clutter and its share there on an average day
BLOCKED, BLOCKED_DB, BLOCKED_FROM = (1.5, 3.0), (3.0, 10.0), (20.0, 80.0)  # half width in degrees, loss, radius

_MASK, _SITE = 1 << 103, 1 << 104  # random streams


@dataclass(frozen=True, eq=False)
class Radar:
    """A site: ``mask`` (H, W) static mask; ``loss`` (H, W) levels that blocked beams take; where clutter may be."""

    mask: Levels
    loss: npt.NDArray[np.float32]
    clutter: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]  # flat places and levels
    sea: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]  # flat places and shares
    azimuth: npt.NDArray[np.float32]
    radius: npt.NDArray[np.float32]

    def observe(self, clean: Levels, minute: int, key: Key, draw: int) -> Levels:
        """The frame (H, W) that the radar records of ``clean`` levels at ``minute`` (UTC, since 1970-01-01)."""
        chance = random(key, draw)
        lossy = np.maximum(clean - self.loss, 0).astype(np.uint8) if self.loss.any() else clean.copy()
        seen: Levels = np.where(lossy < NOISE_LEVEL, np.uint8(0), lossy)
        flat = seen.reshape(-1)
        places, strength = self.clutter
        echo = strength * chance.rayleigh(1.0, len(places)) * (chance.random(len(places)) < SEEN)
        flat[places] = np.maximum(flat[places], np.clip(echo, 0, 255).astype(np.uint8))
        places, share = self.sea
        wind = 1 + 0.7 * np.sin(2 * np.pi * minute / (1440 * 3.7))  # sea clutter comes and goes over days
        wet = chance.random(len(places)) < wind * share
        drizzle = chance.integers(1, NOISE_LEVEL, np.count_nonzero(wet), dtype=np.uint8)
        places = places[wet]
        flat[places] = np.where(flat[places] == 0, drizzle, flat[places])
        self._add_sun(seen, minute, chance)
        seen[self.mask == OUT_OF_RANGE] = 0
        return seen

    def _add_sun(self, seen: Levels, minute: int, chance: np.random.Generator) -> None:
        """A spike of one or two beams towards the rising or setting sun; it grows with the distance."""
        day, of_day = divmod(minute, 1440)
        season = np.sin(2 * np.pi * (day % 365.25 - 80) / 365.25)  # 1 at midsummer
        for rise, east in ((-90 - 40 * season, 90.0), (630 + 40 * season, -90.0)):  # UTC minutes, about 114 E
            if abs((of_day - rise + 720) % 1440 - 720) < 6 and chance.random() < 0.8:
                towards = east - np.sign(east) * 26 * season
                off = np.abs((self.azimuth - towards + 180) % 360 - 180)
                spike = (off < chance.uniform(0.4, 1.0)) & (self.mask != OUT_OF_RANGE)
                dbz = 15 + 20 * np.log10(np.maximum(self.radius[spike], 1) / (max(seen.shape) / 2))
                seen[spike] = np.maximum(seen[spike], level(pixel(dbz + chance.normal(0, 2, dbz.shape))))


def site(shape: tuple[int, int], seed: int) -> Radar:
    """The radar of ``seed`` in the middle of a map of ``shape`` (H, W)."""
    azimuth, radius = _polar(shape)
    mask = radar_mask(shape, seed)
    draw = random((seed, 0), _SITE)
    unit = min(shape) / 480
    loss = np.zeros(shape, np.float32)
    for _ in range(draw.integers(2, 4)):
        centre, width, decibels = draw.uniform(0, 360), draw.uniform(*BLOCKED), draw.uniform(*BLOCKED_DB)
        off = np.abs((azimuth - centre + 180) % 360 - 180)
        loss[(off < width) & (radius > unit * draw.uniform(*BLOCKED_FROM))] = 255 * decibels / DBZ_SPAN
    clutter = np.flatnonzero(mask == OUTLIER)
    patch = ndimage.gaussian_filter(draw.standard_normal(shape), 6 * unit + 0.5, mode="wrap")
    near = np.flatnonzero((radius < unit * SEA) & (mask == SCORED) & (patch > 0))
    strength = ECHO * draw.weibull(SHAPE, len(clutter)) + 20
    return Radar(mask, loss, (clutter, strength), (near, np.full(len(near), 2 * SEA_SHARE)), azimuth, radius)


def radar_mask(shape: tuple[int, int], seed: int) -> Levels:
    """(H, W) uint8 static mask: the circle that the radar sees; blobs of ground clutter and a spoke in it."""
    azimuth, radius = _polar(shape)
    mask = np.full(shape, SCORED, np.uint8)
    blobs = ndimage.gaussian_filter(random((seed, 0), _MASK).standard_normal(shape), BLOB, mode="wrap")
    unit, inner = min(shape) / 480, -1.0
    for outer, share in CLUTTER:
        ring = (radius > inner * unit) & (radius <= outer * unit)
        if ring.any():
            mask[ring & (blobs >= np.quantile(blobs[ring], 1 - share))] = OUTLIER
        inner = outer
    towards, first, last, width = SPOKE
    mask[(np.abs(azimuth - towards) < width) & (radius >= first * unit) & (radius <= last * unit)] = OUTLIER
    mask[radius >= (min(shape) - 1) / 2] = OUT_OF_RANGE
    return mask


def _polar(shape: tuple[int, int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(H, W) degrees clockwise from north, -180 to 180, and radius in pixels, about the middle."""
    rows, columns = np.indices(shape)
    down, right = rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2
    azimuth = np.degrees(np.arctan2(right, -down))
    return azimuth.astype(np.float32), np.hypot(down, right).astype(np.float32)
