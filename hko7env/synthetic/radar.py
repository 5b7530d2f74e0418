"""A simulated radar: limited range, beam blockage, ground and sea clutter, sun spikes, 8-bit levels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hko7env.archive.format import DAY, OUT_OF_RANGE, OUTLIER, SCORED
from hko7env.synthetic.field import Key, random_stream
from hko7env.units import DBZ_SPAN, NOISE_LEVEL, level, pixel

Levels = npt.NDArray[np.uint8]

# Radius in pixels of a 480-pixel map and share of clutter up to it, as in HKO-7's outlier mask
CLUTTER = ((10, 0.386), (20, 0.434), (40, 0.127), (60, 0.033), (100, 0.009), (140, 0.022), (240, 0.006))
BLOB = 1.1  # standard deviation in pixels of the smoothing that groups clutter into blobs
SPOKE = (155.0, 55.0, 220.0, 1.15)  # degrees clockwise from north, first and last radius, half width in degrees
ECHO, SHAPE = 72.0, 3.0  # scale of clutter's level, which is Weibull distributed (shape 3) in space, Rayleigh in time
SEEN = 0.9  # share of frames in which a clutter location shows echo
SEA, SEA_SHARE = 60.0, 0.06  # radius in pixels of sea clutter, and its share of that area on an average day
# Blocked beams: half width in degrees, loss in dB, radius in pixels from which they are blocked
BLOCKED, BLOCKED_DB, BLOCKED_FROM = (1.5, 3.0), (3.0, 10.0), (20.0, 80.0)
SUN_SPIKE_MINUTES, SUN_SPIKE_CHANCE = 6, 0.8  # about sunrise and sunset; of a spike in a frame of that time

_MASK, _SITE = 1 << 103, 1 << 104  # random streams


@dataclass(frozen=True, eq=False)
class Radar:
    """A radar site.

    Attributes:
        mask: (H, W) uint8 static mask.
        loss: (H, W) float32 levels that are lost in blocked beams.
        clutter: Flat indices of the locations with ground clutter, and its mean level there.
        sea: Flat indices of the locations with sea clutter, and the share of frames that show it.
        azimuth: (H, W) float32 degrees clockwise from north, -180 to 180.
        radius: (H, W) float32 distance from the radar in pixels.
    """

    mask: Levels
    loss: npt.NDArray[np.float32]
    clutter: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
    sea: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
    azimuth: npt.NDArray[np.float32]
    radius: npt.NDArray[np.float32]

    def observe(self, clean: Levels, minute: int, key: Key, stream: int) -> Levels:
        """Record a frame.

        Args:
            clean: (H, W) uint8 levels of the rain.
            minute: UTC minutes since 1970-01-01.
            key: Seed and episode.
            stream: Random stream of the frame.

        Returns:
            (H, W) uint8 levels.
        """
        chance = random_stream(key, stream)
        lossy = np.maximum(clean - self.loss, 0).astype(np.uint8) if self.loss.any() else clean.copy()
        seen: Levels = np.where(lossy < NOISE_LEVEL, np.uint8(0), lossy)
        flat = seen.reshape(-1)
        places, strength = self.clutter
        echo = strength * chance.rayleigh(1.0, len(places)) * (chance.random(len(places)) < SEEN)
        flat[places] = np.maximum(flat[places], np.clip(echo, 0, 255).astype(np.uint8))
        places, share = self.sea
        wind = 1 + 0.7 * np.sin(2 * np.pi * minute / (DAY * 3.7))  # sea clutter varies over days
        wet = chance.random(len(places)) < wind * share
        drizzle = chance.integers(1, NOISE_LEVEL, np.count_nonzero(wet), dtype=np.uint8)
        places = places[wet]
        flat[places] = np.where(flat[places] == 0, drizzle, flat[places])
        self._add_sun(seen, minute, chance)
        seen[self.mask == OUT_OF_RANGE] = 0
        return seen

    def _add_sun(self, seen: Levels, minute: int, chance: np.random.Generator) -> None:
        """Add a spike, one or two beams wide, towards the rising or setting sun; it is stronger farther away."""
        day, of_day = divmod(minute, DAY)
        season = np.sin(2 * np.pi * (day % 365.25 - 80) / 365.25)  # 1 at midsummer
        for rise, east in ((-90 - 40 * season, 90.0), (630 + 40 * season, -90.0)):  # UTC minutes, about 114 E
            apart = abs((of_day - rise + DAY // 2) % DAY - DAY // 2)
            if apart < SUN_SPIKE_MINUTES and chance.random() < SUN_SPIKE_CHANCE:
                towards = east - np.sign(east) * 26 * season
                off = np.abs((self.azimuth - towards + 180) % 360 - 180)
                spike = (off < chance.uniform(0.4, 1.0)) & (self.mask != OUT_OF_RANGE)
                dbz = 15 + 20 * np.log10(np.maximum(self.radius[spike], 1) / (max(seen.shape) / 2))
                seen[spike] = np.maximum(seen[spike], level(pixel(dbz + chance.normal(0, 2, dbz.shape))))


def site(shape: tuple[int, int], seed: int) -> Radar:
    """The radar of a seed, in the middle of a map of ``shape`` (H, W)."""
    azimuth, radius = _polar(shape)
    mask = radar_mask(shape, seed)
    draw = random_stream((seed, 0), _SITE)
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
    """(H, W) uint8 static mask of a seed's radar: the circle in its range, with blobs and a spoke of ground clutter."""
    azimuth, radius = _polar(shape)
    mask = np.full(shape, SCORED, np.uint8)
    blobs = ndimage.gaussian_filter(random_stream((seed, 0), _MASK).standard_normal(shape), BLOB, mode="wrap")
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
