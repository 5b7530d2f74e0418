"""Random windows of an archive's split to learn from; each depends on seed, step and row of the batch alone."""

import numpy as np
import numpy.typing as npt

from hko7env.schedule import INPUTS, LEADS, valid_starts
from hko7env.scores import scored
from hko7env.split_view import SplitView

from .batch import Batch

WINDOW = INPUTS + LEADS
MIDDLE = INPUTS + LEADS // 2
Place = tuple[np.int64, tuple[slice, slice]]  # first slot and crop


class ArchiveSampler:
    """Windows of 25 frames, drawn evenly from the valid starts of a split. Frames of other splits count as missing.

    Args:
        view: The split.
        rows: The rows of the batch that this process works on.
        seed: Seed of the draws.
        crop: Side of the drawn part of the frame in px; None for the whole frame.
        stride: Corners of crops are multiples of this many px, and so are their sides: the total stride of the network.
        candidates: Windows drawn for a row, of which the one is taken whose middle frame of truth has the largest
            weight in the balanced loss. Most crops of a radar hold little rain to learn from.

    Raises:
        ValueError: If the split has no valid window, or the crop does not fit the frame or the stride.
    """

    def __init__(
        self,
        view: SplitView,
        rows: range,
        *,
        seed: int = 0,
        crop: int | None = None,
        stride: int = 1,
        candidates: int = 1,
    ) -> None:
        if candidates < 1:
            raise ValueError(f"rain_candidates must be at least 1, got {candidates}")
        self.view, self.rows, self.seed, self.candidates = view, rows, seed, candidates
        archive = view.archive
        self.cadence = archive.cadence
        self.starts = valid_starts(view.times, archive.cadence)
        if len(self.starts) == 0:
            raise ValueError(
                f"{archive.name}, split {view.split}, holds no window of {WINDOW} frames to learn from: choose another "
                "split"
            )
        height, width = archive.shape
        _check_crop(height, width, crop, stride)
        self._size = (crop or height, crop or width)
        self._corners = [(whole - part) // stride + 1 for whole, part in zip((height, width), self._size, strict=True)]
        self._stride = stride
        self._weights = archive.zr.weights

    def batch(self, step: int) -> Batch:
        """The rows of the batch of ``step``."""
        windows = [self._window(step, row) for row in self.rows]
        return Batch(*(np.stack(part) for part in zip(*windows, strict=True)))

    def _window(
        self, step: int, row: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, row, step]))
        drawn = [self._draw(random) for _ in range(self.candidates)]
        start, here = max(drawn, key=self._weight) if self.candidates > 1 else drawn[0]
        frames, present = self.view.frames_at(start + self.cadence * np.arange(WINDOW))
        cut = np.zeros((WINDOW, *self._size), np.uint8)
        for k in np.flatnonzero(present):
            cut[k] = frames[k][here]
        return cut, present, self.view.scored[here]

    def _draw(self, random: np.random.Generator) -> Place:
        start = self.starts[random.integers(len(self.starts))]
        y, x = (self._stride * int(random.integers(n)) for n in self._corners)
        return start, (slice(y, y + self._size[0]), slice(x, x + self._size[1]))

    def _weight(self, place: Place) -> float:
        """Weight of the middle frame of truth in the balanced loss, 0 if it is missing."""
        start, here = place
        frames, present = self.view.frames_at(np.array([start + self.cadence * MIDDLE]))
        if not present[0]:
            return 0.0
        levels = frames[0][here]
        return float(self._weights[levels].sum(where=scored(levels, self.view.scored[here])))


def _check_crop(height: int, width: int, crop: int | None, stride: int) -> None:
    largest = min(height, width) // stride * stride
    if largest == 0:
        raise ValueError(f"frames of {height} x {width} px are smaller than the network's total stride of {stride} px")
    if crop is None and (height % stride or width % stride):
        raise ValueError(
            f"frames of {height} x {width} px are no multiple of the network's total stride of {stride} px: "
            f"choose a crop of {largest}"
        )
    if crop is not None and (crop < 1 or crop % stride or crop > largest):
        raise ValueError(
            f"a crop is a multiple of {stride} px, the total stride of the network, and at most {largest}, got {crop}"
        )
