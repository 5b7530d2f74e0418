"""Random windows of an archive's split to learn from, each a function of (seed, step, row) alone."""

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.schedule import INPUTS, LEADS, valid_starts
from hko7env.scores import scored

from .trainer import Batch

Mask = npt.NDArray[np.bool_]

WINDOW = INPUTS + LEADS
MIDDLE = INPUTS + LEADS // 2
Place = tuple[np.int64, tuple[slice, slice]]  # first slot and crop


class Windows:
    """Windows of 25 frames, drawn evenly from the valid starts of ``split``, cut to ``crop`` x ``crop`` px.

    ``crop`` None is the whole frame; corners are multiples of ``stride``. Of ``draws`` windows drawn for a row the one
    is taken whose middle frame of truth weighs most in the balanced loss: most crops of a radar hold little rain to
    learn from. ``rows`` are those rows of the batch that this process works on. Frames of another split are missing,
    as in the environment. Raises ValueError if the split has no window, or the crop does not fit the frame or the
    stride.
    """

    def __init__(
        self,
        archive: Archive,
        split: str | None,
        rows: range,
        *,
        seed: int = 0,
        crop: int | None = None,
        stride: int = 1,
        draws: int = 1,
    ) -> None:
        if draws < 1:
            raise ValueError(f"at least 1 window must be drawn, got {draws}")
        self.archive, self.rows, self.seed, self.draws = archive, rows, seed, draws
        self._times = archive.select(split)
        self.starts = valid_starts(self._times, archive.cadence)
        if len(self.starts) == 0:
            raise ValueError(
                f"{archive.name}, split {split or 'all'}, holds no window of {WINDOW} frames to learn from"
            )
        height, width = archive.shape
        fitting = min(height, width) // stride * stride
        if fitting == 0:
            raise ValueError(f"frames of {height} x {width} are smaller than strides of {stride} in all")
        if crop is None and (height % stride or width % stride):
            raise ValueError(
                f"frames of {height} x {width} do not go through strides of {stride} in all: choose --crop {fitting}"
            )
        if crop is not None and (crop < 1 or crop % stride or crop > fitting):
            raise ValueError(f"a crop is a multiple of {stride} px and at most {fitting}, got {crop}")
        self._size = (crop or height, crop or width)
        self._corners = [(whole - part) // stride + 1 for whole, part in zip((height, width), self._size, strict=True)]
        self._stride = stride
        self._static = archive.scored
        self._weights = archive.zr.weights

    def batch(self, step: int) -> Batch:
        """The rows of the batch of ``step``."""
        drawn = [self._window(step, row) for row in self.rows]
        return Batch(*(np.stack(part) for part in zip(*drawn, strict=True)))

    def _window(
        self, step: int, row: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, row, step]))
        drawn = [self._draw(random) for _ in range(self.draws)]
        start, here = max(drawn, key=self._weight) if self.draws > 1 else drawn[0]
        slots = start + self.archive.cadence * np.arange(WINDOW)
        frames, present = self._at(slots)
        cut = np.zeros((WINDOW, *self._size), np.uint8)
        for k in np.flatnonzero(present):
            cut[k] = frames[k][here]
        return cut, present, self._static[here]

    def _at(self, slots: npt.NDArray[np.int64]) -> tuple[list[npt.NDArray[np.uint8]], Mask]:
        """The frames (H, W) of ``slots`` (n,) and which of them are present, in this split."""
        frames, present = self.archive.at(slots)
        return frames, present & np.isin(slots, self._times)

    def _draw(self, random: np.random.Generator) -> Place:
        start = self.starts[random.integers(len(self.starts))]
        y, x = (self._stride * int(random.integers(n)) for n in self._corners)
        return start, (slice(y, y + self._size[0]), slice(x, x + self._size[1]))

    def _weight(self, place: Place) -> float:
        """What the balanced loss gives the middle frame of truth, 0 if it is missing."""
        start, here = place
        frames, present = self._at(np.array([start + self.archive.cadence * MIDDLE]))
        if not present[0]:
            return 0.0
        levels = frames[0][here]
        return float(self._weights[levels].sum(where=scored(levels, self._static[here])))
