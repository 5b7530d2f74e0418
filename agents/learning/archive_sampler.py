"""Random windows of archives to learn from; each depends on seed, step and row of the batch alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hko7env.schedule import INPUTS, LEADS, valid_starts
from hko7env.scores import scored
from hko7env.split_view import SplitView

from .augmentation import Variation, draw_variation
from .batch import Batch

WINDOW = INPUTS + LEADS
LONG_STEPS = 0.15  # probability of every second frame in varied windows

Window = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]  # as a row of Batch


class Place(NamedTuple):
    """Where a window lies in an archive.

    Attributes:
        slots: (J + K,) int64 minutes since 1970-01-01.
        crop: Rows and columns.
    """

    slots: npt.NDArray[np.int64]
    crop: tuple[slice, slice]


class Drawn(NamedTuple):
    """All that is drawn at random for one window.

    Attributes:
        places: The candidates, of which one is taken.
        variation: None for a window as it is in the archive.
    """

    places: list[Place]
    variation: Variation | None


class ArchiveSampler:
    """Windows of 25 frames, drawn evenly from the valid starts of a split. Frames of other splits count as missing.

    Args:
        view: The split.
        rows: The rows of the batch that this process works on.
        seed: Seed of the draws.
        crop: Side of the drawn part of the frame in px; None for the whole frame.
        stride: Corners of crops are multiples of this many px, and so are their sides: the total stride of the network.
        candidates: Windows drawn for a row, of which the one is taken whose newest input has the largest weight in the
            balanced loss. Most crops of a radar hold little rain to learn from. A choice by the frames that follow
            would teach the network that rain increases.
        varied: Vary orientation, intensity and classes of each window, see
            :func:`agents.learning.augmentation.draw_variation`, and sometimes take every second frame.

    Attributes:
        size: Height and width of the windows in px.

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
        varied: bool = False,
    ) -> None:
        if candidates < 1:
            raise ValueError(f"rain_candidates must be at least 1, got {candidates}")
        self.view, self.rows, self.seed, self.candidates, self.varied = view, rows, seed, candidates, varied
        archive = view.archive
        self.cadence = archive.cadence
        self.starts = valid_starts(view.times, archive.cadence)
        if len(self.starts) == 0:
            raise ValueError(
                f"{archive.name}, split {view.split}, holds no window of {WINDOW} frames to learn from: choose another "
                "split"
            )
        self._long_starts = valid_starts(view.times, 2 * archive.cadence) if varied else self.starts[:0]
        height, width = archive.shape
        _check_crop(archive.name, height, width, crop, stride)
        if varied and crop is None and height != width:
            raise ValueError(f"varied windows are turned, but {archive.name} has {height} x {width} px: choose a crop")
        self.size = (crop or height, crop or width)
        self._corners = [(whole - part) // stride + 1 for whole, part in zip((height, width), self.size, strict=True)]
        self._stride = stride
        self._weights = archive.zr.weights

    def batch(self, step: int) -> Batch:
        """The rows of the batch of ``step``."""
        return _stack([self.window(_generator(self.seed, step, row)) for row in self.rows])

    def window(self, random: np.random.Generator) -> Window:
        """Draw a window: frames (J + K, h, w), (J + K,) which are present, and the static mask (h, w)."""
        places, variation = self.draw(random)
        slots, here = max(places, key=self._weight) if self.candidates > 1 else places[0]
        frames, present = self.view.frames_at(slots)
        cut = np.zeros((WINDOW, *self.size), np.uint8)
        for k in np.flatnonzero(present):
            cut[k] = frames[k][here]
        static = self.view.scored[here]
        if variation is None:
            return cut, present, static
        turned, mask = variation.orient(variation.table[cut]), variation.orient(static)
        return np.asarray(turned, np.uint8), present, np.asarray(mask, np.bool_)

    def draw(self, random: np.random.Generator) -> Drawn:
        """Draw all that is random about a window."""
        places = [self._draw(random) for _ in range(self.candidates)]
        return Drawn(places, draw_variation(random) if self.varied else None)

    def _draw(self, random: np.random.Generator) -> Place:
        long = self.varied and random.random() < LONG_STEPS and len(self._long_starts) > 0
        starts = self._long_starts if long else self.starts
        slots = starts[random.integers(len(starts))] + self.cadence * (1 + long) * np.arange(WINDOW)
        y, x = (self._stride * int(random.integers(n)) for n in self._corners)
        return Place(slots, (slice(y, y + self.size[0]), slice(x, x + self.size[1])))

    def _weight(self, place: Place) -> float:
        """Weight of the newest input in the balanced loss, 0 if it is missing."""
        frames, present = self.view.frames_at(place.slots[INPUTS - 1 : INPUTS])
        if not present[0]:
            return 0.0
        levels = frames[0][place.crop]
        return float(self._weights[levels].sum(where=scored(levels, self.view.scored[place.crop])))


class MixedSampler:
    """Windows of several archives.

    Args:
        samplers: A sampler of each archive; their windows are of one size.
        shares: Share of the windows that each one provides, relative to their sum.
        rows: The rows of the batch that this process works on.
        seed: Seed of the draws.

    Raises:
        ValueError: If the windows differ in size.
    """

    def __init__(
        self, samplers: Sequence[ArchiveSampler], shares: Sequence[float], rows: range, *, seed: int = 0
    ) -> None:
        sizes = {sampler.view.archive.name: sampler.size for sampler in samplers}
        if len(set(sizes.values())) > 1:
            found = ", ".join(f"{name} {height} x {width} px" for name, (height, width) in sizes.items())
            raise ValueError(
                f"the frames of the archives differ in size ({found}): choose a crop that fits all of them"
            )
        self.samplers, self.rows, self.seed = samplers, rows, seed
        self._ends = np.cumsum(shares) / np.sum(shares)

    def batch(self, step: int) -> Batch:
        """The rows of the batch of ``step``."""
        return _stack([self._window(_generator(self.seed, step, row)) for row in self.rows])

    def _window(self, random: np.random.Generator) -> Window:
        index = int(np.searchsorted(self._ends, random.random(), side="right"))
        return self.samplers[min(index, len(self.samplers) - 1)].window(random)


def _generator(seed: int, step: int, row: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, row, step]))


def _stack(windows: list[Any]) -> Batch:
    """A batch of windows, which are arrays or tensors."""
    stack: Any = torch.stack if isinstance(windows[0][0], torch.Tensor) else np.stack
    return Batch(*(stack(part) for part in zip(*windows, strict=True)))


def _check_crop(name: str, height: int, width: int, crop: int | None, stride: int) -> None:
    largest = min(height, width) // stride * stride
    if largest == 0:
        raise ValueError(
            f"{name}: frames of {height} x {width} px are smaller than the network's total stride of {stride} px"
        )
    if crop is None and (height % stride or width % stride):
        raise ValueError(
            f"{name}: frames of {height} x {width} px are no multiple of the network's total stride of {stride} px: "
            f"choose a crop of {largest}"
        )
    if crop is not None and (crop < 1 or crop % stride or crop > largest):
        raise ValueError(
            f"{name}: a crop is a multiple of {stride} px, the total stride of the network, and at most {largest}, "
            f"got {crop}"
        )
