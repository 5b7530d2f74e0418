"""What the forecast knows about a location and lead time: the echo that arrives there and the rain around it.

For each event, which is a threshold of rain rate that is reached, there are two features in bins: the slightly smoothed
level of the echo, and the share of the neighbourhood in which that event has been observed. They are computed on a grid
of half the resolution, of which one square is called a cell.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hko7env.scores import scored
from hko7env.units import THRESHOLDS, ZR

from ..optical_flow import variational
from ..optical_flow.segment_motion import departure_points, estimate_motion, sample
from . import forecast_table

Tensor = torch.Tensor

FINE, COARSE = 2, 8  # px of a frame in a cell of the level's grid, and of the neighbourhood's
SQUARE = 2  # cells in one direction of a square: shares are the same in it, and one of its cells is verified
LEVEL_SIGMA, AROUND_SIGMA = 0.5, 1.0  # cells of those grids, which are 1 and 8 px of the frame
# Levels at which bins begin; five of them are the thresholds of rain rate by HKO-7's relation
LEVELS = (1, 36, 71, 83.7, 95, 106, 117.9, 129, 140.5, 149, 157.6, 167, 176, 184.75, 195, 206, 220)
SHAPE = (len(THRESHOLDS), len(LEVELS) + 1, 16)  # events, bins of the level, bins of the event's share
BINS = SHAPE[0] * SHAPE[1] * SHAPE[2]
TOP_SHARE = 200 / 255  # larger shares are in the last bin
UNSEEN = 0.02  # weight of the mean of the wider surroundings, against the share of locations that the radar sees


class Bins(NamedTuple):
    """The bins of all cells, 0 to BINS - 1; each event has bins of its own.

    Attributes:
        rows: (K, h, w) int16, part of the level in the number of a cell's bins.
        columns: (K, 5, h', w') int16, part of the event and its share, for squares of cells.
        wet: (K, h', w') bool, whether there is rain in the neighbourhood.
    """

    rows: npt.NDArray[np.int16]
    columns: npt.NDArray[np.int16]
    wet: npt.NDArray[np.bool_]

    def verified(self) -> npt.NDArray[np.int16]:
        """(K, 5, h', w') int16 bins of the verified cell of each square."""
        return np.asarray(self.rows[:, None, ::SQUARE, ::SQUARE] + self.columns)


class Features:
    """Computes the bins of a task's grid.

    Args:
        static: (H, W) bool, True = scored.
        zr: Relation between level and rain rate.

    Attributes:
        outside: What arrives from outside the frame: "border", the nearest border pixel, or "zeros", no echo.
        shape: (h, w), the grid of cells, including the padding to whole cells of the coarse grid.
    """

    outside: Literal["border", "zeros"] = "border"

    def __init__(self, static: npt.NDArray[np.bool_], zr: ZR) -> None:
        self.static = static
        self._events = torch.tensor(zr.threshold_levels.tolist())[:, None, None]
        self._padding = [part for size in reversed(static.shape) for part in (0, -size % COARSE)]
        self._seen = F.pad(torch.from_numpy(static.astype(np.float32)), self._padding)[None, None]
        self._fine_seen = _blur(self._seen, FINE, LEVEL_SIGMA)
        self._coarse_seen = _blur(self._seen, COARSE, AROUND_SIGMA)
        height, width = self._fine_seen.shape[2:]
        self.shape = (height, width)

    def bins(self, frames: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_], leads: int) -> Bins:
        """The bin of each cell and lead time, for each event.

        Args:
            frames: (J, H, W) levels as recorded; the newest present one is extrapolated.
            present: (J,), False where a frame is missing.
            leads: K, number of lead times.

        Returns:
            The bins.
        """
        slots = np.flatnonzero(present)
        newest = int(slots[-1]) if len(slots) else len(frames) - 1
        age = len(frames) - 1 - newest  # steps from that frame to the issue time
        keep = scored(frames, self.static) & present[:, None, None]
        levels = torch.from_numpy(np.where(keep, frames, np.uint8(0)).astype(np.float32))
        levels = F.pad(levels[None], self._padding, mode="replicate")[0]
        events, sizes, shares = SHAPE
        with torch.inference_mode():
            points = departure_points(self.motion(levels, present), age + leads)[age:]
            level, around = self._images(levels[newest] * self._seen)
            fine = _enlarge(points.permute(0, 3, 1, 2), self.shape).permute(0, 2, 3, 1)
            rows = self._at(level, fine).to(torch.int16) * shares
            columns = self._at(around, points).to(torch.int16)
            wet = columns[:, 0] > 0
            columns += torch.arange(events, dtype=torch.int16)[:, None, None] * (sizes * shares)
        return Bins(rows[:, 0].numpy(), columns.numpy(), wet.numpy())

    def motion(self, levels: Tensor, present: npt.NDArray[np.bool_]) -> Tensor:
        """The motion of frames, see :func:`~agents.optical_flow.segment_motion.estimate_motion`."""
        return estimate_motion(levels, present)

    def subsample(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Take the verified locations of a frame (H, W), one of each square; returns (h', w'), 0 in the padding."""
        part = frame[FINE // 2 :: FINE * SQUARE, FINE // 2 :: FINE * SQUARE]
        shape = (size // SQUARE for size in self.shape)
        return np.pad(part, [(0, whole - size) for whole, size in zip(shape, part.shape, strict=True)])

    def forecast(self, bins: Bins, table: forecast_table.ForecastTable) -> npt.NDArray[np.float32]:
        """Give every location what its bins ask for, and 0 where there is no rain in the neighbourhood.

        Args:
            bins: The bins.
            table: What they ask for.

        Returns:
            (K, H, W).
        """
        leads, height, width = bins.wet.shape
        cells = np.zeros((leads, height, SQUARE, width, SQUARE), np.float32)
        first = forecast_table.ERROR_EVENT * (BINS // SHAPE[0])
        for lead, wet in enumerate(bins.wet):
            level = bins.rows[lead].reshape(cells.shape[1:]).transpose(0, 2, 1, 3)[wet]
            own = bins.columns[lead][:, wet][..., None, None] + level
            classes = table.classes[lead].take(own).max(0)
            pixels = table.pixels[lead].take(own[forecast_table.ERROR_EVENT] - first)
            pixels = np.clip(pixels, table.lowest.take(classes), table.highest.take(classes))
            cells[lead].transpose(0, 2, 1, 3)[wet] = pixels
        return self._expand(cells.reshape(leads, *self.shape))

    def _expand(self, cells: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Give every location the value of its cell: (K, h, w) to (K, H, W)."""
        height, width = self.static.shape
        count, rows, columns = cells.shape
        locations = np.empty((count, rows, FINE, columns * FINE), np.float32)
        locations[:] = cells.repeat(FINE, axis=2)[:, :, None]
        return np.ascontiguousarray(locations.reshape(count, rows * FINE, -1)[:, :height, :width])

    def _images(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """The level (1, 1, h, w) and the share of each event (1, 5, h', w') of a frame (1, 1, H, W), in bins."""
        summed = _blur(torch.cat([(frame >= self._events).to(frame), frame], 1), COARSE, AROUND_SIGMA)
        mean = summed.sum((2, 3), keepdim=True) / (self._coarse_seen.sum() + 1e-3)
        around = (summed + UNSEEN * mean) / (self._coarse_seen + UNSEEN)
        events, sizes, shares = SHAPE
        background = _enlarge(around[:, events:], self.shape)
        level = (_blur(frame, FINE, LEVEL_SIGMA) + UNSEEN * background) / (self._fine_seen + UNSEEN)
        position = np.interp(level, (0, *LEVELS, 256), np.arange(sizes + 1)).astype(np.float32)
        share = (around[:, :events] / TOP_SHARE).sqrt() * shares
        return torch.from_numpy(position), share.clamp(max=shares - 0.01)

    def _at(self, images: Tensor, points: Tensor) -> Tensor:
        """The values (K, C, h, w) of ``images`` (1, C, H, W) at ``points`` (K, h, w, 2)."""
        leads, height, width, _ = points.shape
        values = sample(images, points.reshape(1, leads * height, width, 2), self.outside)
        return values.reshape(-1, leads, height, width).transpose(0, 1)


def _enlarge(images: Tensor, shape: tuple[int, int]) -> Tensor:
    return F.interpolate(images.contiguous(), size=shape, mode="bilinear")  # other strides take three times as long


def _blur(images: Tensor, reduction: int, sigma: float) -> Tensor:
    return variational.smooth(F.avg_pool2d(images, reduction), sigma)
