"""Radars that see a map together: one circle, a union of circles, or all of it; and what they do to the rain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.archive.hko7_facts import PIXEL_KM
from hko7env.synthetic.field import random_stream
from hko7env.synthetic.radar import BLOB
from hko7env.synthetic.rain_types import Faults
from hko7env.units import DBZ_SPAN, HKO7, NOISE_LEVEL, dbz, level, pixel

Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

KINDS = ("circle", "composite", "rectangle")  # by the remainder of the seed divided by three
QUARTERS = ((0.28, 0.28), (0.28, 0.72), (0.72, 0.28), (0.72, 0.72))  # middles, as shares of the map
REACH = (0.3, 0.45)  # of a radar of a composite, as a share of the map's longer side
SAMPLES = 16  # points on the way from radar to location at which rain attenuates
CLUTTER = (90.0, 200.0)  # lowest and highest mean level of clutter that was not removed
BLOCKED_DEGREES, BLOCKED_DB = (1.0, 8.0), (3.0, 15.0)  # half width and loss of blocked sectors

_COVERAGE = 1 << 107  # random stream


@dataclass(frozen=True, eq=False)
class Coverage:
    """Where radars stand and what they see.

    Attributes:
        kind: One of KINDS.
        mask: (H, W) uint8 static mask.
        down: (H, W) float32 rows from the nearest radar to each location.
        right: (H, W) float32 columns from it.
    """

    kind: str
    mask: Levels
    down: Floats
    right: Floats

    @property
    def radius(self) -> Floats:
        """(H, W) float32 distance from the nearest radar in km."""
        return np.asarray(PIXEL_KM * np.hypot(self.down, self.right), np.float32)


def coverage(shape: tuple[int, int], seed: int) -> Coverage:
    """The radars of an archive of frames (H, W); seeds 0, 1, 2 have KINDS in this order, and so on.

    A composite has three or four radars, each in a quarter of the map and with a reach of its own; a rectangle has as
    many, which reach everywhere.
    """
    kind, draw = KINDS[seed % len(KINDS)], random_stream((seed, 0), _COVERAGE)
    size = np.array(shape)
    places = (size - 1)[None] / 2
    reach: npt.NDArray[np.float64] = np.array([(min(shape) - 1) / 2])
    if kind != "circle":
        chosen = np.array(QUARTERS)[draw.permutation(4)[: draw.integers(3, 5)]]
        places = size * (chosen + draw.uniform(-0.12, 0.12, chosen.shape))
        reach = np.asarray(max(shape) * draw.uniform(*REACH, len(chosen)))
    away = np.indices(shape)[None] - places[:, :, None, None]  # radar, axis, row, column
    distance = np.hypot(away[:, 0], away[:, 1])
    nearest = distance.argmin(0)[None]
    down, right = (np.take_along_axis(away[:, axis], nearest, 0)[0].astype(np.float32) for axis in (0, 1))
    seen = (distance < reach[:, None, None]).any(0) | (kind == "rectangle")
    return Coverage(kind, np.where(seen, SCORED, OUT_OF_RANGE).astype(np.uint8), down, right)


class Observer:
    """The radars during one episode.

    Args:
        view: The radars' places.
        faults: What they do to the rain.
        draw: Random numbers of the episode: places of blocked sectors and of clutter.
    """

    def __init__(self, view: Coverage, faults: Faults, draw: np.random.Generator) -> None:
        self.view, self.faults = view, faults
        ring = (view.radius - faults.bright_km) / faults.bright_width
        self._gain = faults.bright * np.exp(-(ring**2) / 2) - _blockage(view, faults.blocked, draw)
        blobs = ndimage.gaussian_filter(draw.standard_normal(view.mask.shape), BLOB, mode="wrap")
        self._clutter = np.flatnonzero(blobs > np.quantile(blobs, 1 - faults.residue))
        self._strength = draw.uniform(*CLUTTER, len(self._clutter))
        self._classes = _classes(faults.classes, draw.uniform(0, 1))
        self._way = _way(view) if faults.attenuation else None

    def observe(self, clean: Levels, draw: np.random.Generator) -> Levels:
        """Record a frame.

        Args:
            clean: (H, W) uint8 levels of the rain.
            draw: Random numbers of the frame.

        Returns:
            (H, W) uint8 levels: 0, or from NOISE_LEVEL on.
        """
        gain: Any = self._gain
        if self._way is not None:  # both ways from radar to rain and back
            rates = np.where(clean >= NOISE_LEVEL, HKO7.rates[clean], 0.0).astype(np.float32)
            gain = gain - 2 * self.faults.attenuation * self.view.radius * rates.reshape(-1)[self._way].mean(0)
        if self.faults.speckle:
            gain = gain + self.faults.speckle * draw.standard_normal(clean.shape, dtype=np.float32)
        seen: Levels = (clean + 255 / DBZ_SPAN * gain + 0.5).clip(0, 255).astype(np.uint8)
        seen[(clean == 0) | (seen < NOISE_LEVEL)] = 0
        flat = seen.reshape(-1)
        echo = self._strength * draw.rayleigh(0.8, len(self._clutter))
        flat[self._clutter] = np.maximum(flat[self._clutter], echo.clip(0, 255).astype(np.uint8))
        seen = self._classes[seen]
        seen[self.view.mask == OUT_OF_RANGE] = 0
        return seen


def _blockage(view: Coverage, sectors: int, draw: np.random.Generator) -> Floats:
    """(H, W) float32 dB that are lost in ``sectors`` blocked sectors."""
    azimuth, loss = np.degrees(np.arctan2(view.right, -view.down)), np.zeros(view.mask.shape, np.float32)
    for _ in range(sectors):
        off = np.abs((azimuth - draw.uniform(0, 360) + 180) % 360 - 180)
        behind = (off < draw.uniform(*BLOCKED_DEGREES)) & (view.radius > draw.uniform(10, 60))
        loss[behind] = np.maximum(loss[behind], draw.uniform(*BLOCKED_DB))
    return loss


def _classes(width: float, offset: float) -> Levels:
    """(256,) uint8 level that is recorded for each level by a product with classes of ``width`` dB; 0: the same."""
    levels = np.arange(256)
    if not width:
        return levels.astype(np.uint8)
    lowest = dbz(NOISE_LEVEL / 255) + width * offset
    middle = lowest + width * (np.floor((dbz(levels / 255) - lowest) / width) + 0.5)
    table: Levels = level(pixel(middle))
    table[table < NOISE_LEVEL] = 0
    return table


def _way(view: Coverage) -> npt.NDArray[np.int32]:
    """(SAMPLES, H, W) int32 flat indices of locations between each location and its radar."""
    rows, columns = np.indices(view.mask.shape)
    height, width = view.mask.shape
    found: list[npt.NDArray[np.int32]] = []
    for part in (np.arange(SAMPLES) + 0.5) / SAMPLES:  # of the way back to the radar
        row = np.rint(rows - part * view.down).astype(np.int32).clip(0, height - 1)
        column = np.rint(columns - part * view.right).astype(np.int32).clip(0, width - 1)
        found.append(np.asarray(row * width + column, np.int32))
    return np.stack(found)
