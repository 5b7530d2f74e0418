"""Frames advected along their own motion to the lead times of a forecast: the input of a network that corrects them.

For each lead time all input frames are advected to that time along one steady motion. Where the motion is right and
echo neither grows nor decays, they all show what will be seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hko7env.scores import scored

from .segment_motion import REDUCTIONS, departure_points, estimate_motion, sample

Tensor = torch.Tensor

GRID = 16  # px: advected frames are padded to multiples of this
FINE = 2  # px in a cell of the older frames and of the coverage
CELL = REDUCTIONS[-1]  # px in a cell of the motion's grid
FLOOR = 0.0  # level taken off before the motion is estimated, as the shipped network was trained
HOUR = 60.0  # minutes


class AdvectedFrames(NamedTuple):
    """Frames advected to L lead times, for a grid padded to (H', W'), multiples of GRID.

    Attributes:
        newest: (L, H', W') the newest frame, pixels in [0, 1].
        context: (L, C, H' / 2, W' / 2) with C = J + 2 channels: the J - 1 older frames, the share of the cell that came
            from where the radar sees, the lead time in hours and the time between two frames in hours.
    """

    newest: Tensor
    context: Tensor


class SegmentAdvection:
    """Advects the frames of one segment.

    A missing frame is replaced by the nearest earlier one, or else the nearest later one. Motion is estimated on a
    quarter of the resolution; locations that are not scored or have no data count as no echo.

    Args:
        frames: (J, H, W) uint8 levels.
        present: (J,) bool, False where a frame is missing.
        static: (H, W) bool, True = scored.
        cadence: Minutes between two frames.
        steps: Number of lead times that can be asked for.
        motion: (1, h, w, 2) as of :func:`estimate_motion`, if it is known already.
    """

    def __init__(
        self,
        frames: npt.NDArray[np.uint8],
        present: npt.NDArray[np.bool_],
        static: npt.NDArray[np.bool_],
        cadence: int,
        steps: int,
        motion: Tensor | None = None,
    ) -> None:
        self.cadence = cadence
        present = present.astype(bool)
        keep = scored(frames, static) & present[:, None, None]
        levels = torch.from_numpy(np.where(keep, frames, np.uint8(0)).astype(np.float32))
        padding = [part for size in reversed(static.shape) for part in (0, -size % GRID)]
        levels = F.pad(levels, padding)
        self.shape = (levels.shape[1], levels.shape[2])
        self.motion = estimate_motion(levels, present, floor=FLOOR) if motion is None else motion
        self._slots = _nearest_present(present)
        oldest = len(frames) - 1 - min(self._slots)
        self._points = departure_points(self.motion, steps + oldest)
        self._newest = levels[None, self._slots[-1:]] / 255
        older = sorted(set(self._slots[:-1]))
        self._images = {slot: F.avg_pool2d(levels[None, slot : slot + 1] / 255, FINE) for slot in older}
        seen = F.pad(torch.from_numpy(static.astype(np.float32)), padding)
        self._seen = F.avg_pool2d(seen[None, None], FINE)

    def at(self, leads: Sequence[int], window: tuple[slice, slice] | None = None) -> AdvectedFrames:
        """Advect the frames.

        Args:
            leads: Lead times in steps, from 1 on.
            window: Rows and columns of the padded grid to compute, from and to multiples of CELL; None for all.
        """
        rows, columns = window or (slice(0, self.shape[0]), slice(0, self.shape[1]))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        half = (height // FINE, width // FINE)
        last = len(self._slots) - 1
        cut = (slice(rows.start // CELL, rows.stop // CELL),
               slice(columns.start // CELL, columns.stop // CELL))  # fmt: skip

        def points(slot: int, shape: tuple[int, int]) -> Tensor:
            index = torch.tensor([lead + last - slot - 1 for lead in leads])
            return _enlarge(self._points[index, cut[0], cut[1]], shape)

        newest = _sample(self._newest, points(self._slots[-1], (height, width)))[:, 0]
        near = points(self._slots[-1], half)
        channels = []
        known: dict[int, Tensor] = {}
        for slot in self._slots[:-1]:
            if slot not in known:
                known[slot] = _sample(self._images[slot], near if slot == self._slots[-1] else points(slot, half))
            channels.append(known[slot])
        channels.append(_sample(self._seen, near, "zeros"))
        minutes = torch.tensor([lead * self.cadence / HOUR for lead in leads])
        channels.append(minutes[:, None, None, None].expand(-1, 1, *half))
        channels.append(torch.full((1, 1, 1, 1), self.cadence / HOUR).expand(len(leads), 1, *half))
        return AdvectedFrames(newest, torch.cat(channels, 1))


def _nearest_present(present: npt.NDArray[np.bool_]) -> list[int]:
    """For each slot the newest present one up to it, else the first one after it; all the last one if there is none."""
    slots = np.flatnonzero(present)
    if not len(slots):
        return [len(present) - 1] * len(present)
    before = np.searchsorted(slots, np.arange(len(present)), side="right") - 1
    return [int(slots[max(index, 0)]) for index in before]


def _enlarge(points: Tensor, shape: tuple[int, int]) -> Tensor:
    images = points.permute(0, 3, 1, 2).contiguous()
    return F.interpolate(images, size=shape, mode="bilinear").permute(0, 2, 3, 1)


def _sample(images: Tensor, points: Tensor, outside: str = "border") -> Tensor:
    """The values (L, C, h, w) of ``images`` (1, C, H, W) at ``points`` (L, h, w, 2)."""
    leads, height, width, _ = points.shape
    values = sample(images, points.reshape(1, leads * height, width, 2), outside)  # type: ignore[arg-type]
    return values.reshape(-1, leads, height, width).transpose(0, 1)
