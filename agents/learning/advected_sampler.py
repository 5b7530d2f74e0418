"""Advected frames and their truth to learn from, of several archives; a batch depends on seed and step alone."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from hko7env.schedule import INPUTS, LEADS, valid_starts
from hko7env.scores import scored
from hko7env.split_view import SplitView

from ..optical_flow.segment_advection import CELL, GRID, AdvectedFrames, SegmentAdvection
from .augmentation import Variation, draw_variation

WINDOW = INPUTS + LEADS
LEADS_DRAWN = 3  # lead times of each window, one from each third
LONG_STEPS = 0.15  # probability of taking every second frame only
EVEN = 0.2  # share of windows drawn evenly; the others are drawn in proportion to the root of their rain
KNOWN_MOTIONS = 4096  # of each archive, 60 to 120 kB each
CROPS = 3  # corners drawn, of which the rainiest is taken


class AdvectedBatch(NamedTuple):
    """Parts of frames advected to one lead time each, and what was observed there.

    Attributes:
        newest: (B, h, w) float32, see :class:`agents.optical_flow.segment_advection.AdvectedFrames`.
        context: (B, C, h / 2, w / 2) float32, as there.
        truth: (B, h, w) uint8 levels.
        mask: (B, h, w) bool, True = scored.
    """

    newest: torch.Tensor
    context: torch.Tensor
    truth: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


class Windows:
    """The windows of one split, the rain of each one's newest frame, and their motions.

    Args:
        view: The split.

    Raises:
        ValueError: If the split has no valid window.
    """

    def __init__(self, view: SplitView) -> None:
        archive = view.archive
        self.view, self.cadence = view, archive.cadence
        self.starts = valid_starts(view.times, archive.cadence)
        if len(self.starts) == 0:
            raise ValueError(
                f"{archive.name}, split {view.split}, holds no window of {WINDOW} frames to learn from: choose another "
                "split"
            )
        rain = np.array([self._rain(start) for start in self.starts])
        roots = np.sqrt(rain) + 1e-9
        self._chances = np.cumsum(EVEN / len(rain) + (1 - EVEN) * roots / roots.sum())
        self._motion = functools.lru_cache(maxsize=KNOWN_MOTIONS)(self.estimate)

    def _rain(self, start: np.int64) -> float:
        frames, present = self.view.frames_at(np.array([start + self.cadence * (INPUTS - 1)]))
        return float(self.weight(frames[0])) if present[0] else 0.0

    def weight(self, levels: npt.NDArray[np.uint8]) -> float:
        """Sum of the rain rates, in mm/h, of levels (h, w)."""
        return float(self.view.archive.zr.rates[levels].sum())

    def draw(self, random: np.random.Generator) -> np.int64:
        """The time of the first frame of a window, in minutes since 1970-01-01."""
        index = int(np.searchsorted(self._chances, random.random() * self._chances[-1], side="right"))
        start: np.int64 = self.starts[min(index, len(self.starts) - 1)]
        return start

    def advection(
        self, start: np.int64, stride: int, table: npt.NDArray[np.uint8]
    ) -> tuple[SegmentAdvection, npt.NDArray[np.uint8]]:
        """Read the input frames of a window.

        Args:
            start: Time of the first one.
            stride: Take every first, or every second frame.
            table: (256,) uint8 replacements of levels.

        Returns:
            Their advection, and the newest frame (H, W).
        """
        frames, present = self.frames(start, stride)
        replaced, motion = table[frames], self._motion(start, stride)
        cadence, static = self.cadence * stride, self.view.archive.scored
        advection = SegmentAdvection(replaced, present, static, cadence, count_leads(stride), motion=motion)
        return advection, replaced[-1]

    def frames(self, start: np.int64, stride: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """The input frames (J, H, W) uint8 of a window, and (J,) bool which are present."""
        frames, present = self.view.frames_at(start + self.cadence * stride * np.arange(INPUTS))
        return np.stack(frames), present

    def estimate(self, start: np.int64, stride: int) -> torch.Tensor:
        """The motion of the frames as they are, whatever their levels are replaced by."""
        frames, present = Windows.frames(self, start, stride)
        return SegmentAdvection(frames, present, self.view.archive.scored, self.cadence * stride, 1).motion


def count_leads(stride: int) -> int:
    """Number of lead times in a window of which every ``stride``-th frame is taken."""
    return (WINDOW - 1) // stride - (INPUTS - 1)


class AdvectedSampler:
    """Batches of advected frames.

    Args:
        views: Splits of archives with one relation of level to rain rate, and the share of the windows that each one
            provides.
        rows: The windows of the batch that this process works on; each provides LEADS_DRAWN lead times.
        seed: Seed of the draws.
        crop: Side of the part of a frame in px.
        varied: Whether to vary orientation, intensity, classes and cadence.
        windows: Class of the windows, for experiments.

    Raises:
        ValueError: If a split has no valid window, or the crop is no multiple of 16 px or larger than a frame.
    """

    def __init__(
        self,
        views: Sequence[tuple[SplitView, float]],
        rows: range,
        *,
        seed: int = 0,
        crop: int = 160,
        varied: bool = True,
        windows: type[Windows] = Windows,
    ) -> None:
        if crop < GRID or crop % GRID:
            raise ValueError(f"a crop is a multiple of {GRID} px, got {crop}")
        if not views:
            raise ValueError("there is no archive to draw windows from")
        for view, _ in views:
            if crop > min(view.archive.shape):
                raise ValueError(
                    f"a crop of {crop} px is larger than the frames of {view.archive.name}: choose a smaller one"
                )
        self.windows = [windows(view) for view, _ in views]
        shares = np.array([share for _, share in views], np.float64)
        self._shares = np.cumsum(shares / shares.sum())
        self.rows, self.seed, self.crop, self.varied = rows, seed, crop, varied

    def batch(self, step: int) -> AdvectedBatch:
        """The rows of the batch of ``step``."""
        with torch.inference_mode():
            parts = [part for row in self.rows for part in self._row(step, row)]
        newest, context, truth, mask = zip(*parts, strict=True)
        return AdvectedBatch(torch.stack(newest), torch.stack(context), np.stack(truth), np.stack(mask))

    def _row(self, step: int, row: int) -> list[tuple[Any, ...]]:
        random = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, row, step]))
        index = int(np.searchsorted(self._shares, random.random(), side="right"))
        windows = self.windows[min(index, len(self.windows) - 1)]
        start = windows.draw(random)
        variation = draw_variation(random)
        stride = 2 if random.random() < LONG_STEPS else 1
        if not self.varied:
            stride, variation = 1, Variation(np.arange(256, dtype=np.uint8), 0, False)
        advection, newest = windows.advection(start, stride, variation.table)
        here = self._place(random, windows, newest)
        edges = np.linspace(0, count_leads(stride), LEADS_DRAWN + 1).round().astype(int)
        leads = [int(random.integers(a + 1, b + 1)) for a, b in itertools.pairwise(edges)]
        advected = advection.at(leads, here)
        return self._cut(windows, start, stride, leads, here, advected, variation)

    def _place(
        self, random: np.random.Generator, windows: Windows, newest: npt.NDArray[np.uint8]
    ) -> tuple[slice, slice]:
        """The rainiest of a few places in the newest frame."""
        places = []
        for _ in range(CROPS):
            y, x = (CELL * int(random.integers((size - self.crop) // CELL + 1)) for size in newest.shape)
            places.append((slice(y, y + self.crop), slice(x, x + self.crop)))
        return max(places, key=lambda place: windows.weight(newest[place]))

    def _cut(
        self,
        windows: Windows,
        start: np.int64,
        stride: int,
        leads: list[int],
        here: tuple[slice, slice],
        advected: AdvectedFrames,
        variation: Variation,
    ) -> list[tuple[Any, ...]]:
        slots = start + windows.cadence * stride * (INPUTS - 1 + np.array(leads))
        frames, present = windows.view.frames_at(slots)
        result = []
        for frame, ok, newest, context in zip(frames, present, advected.newest, advected.context, strict=True):
            truth = frame[here]
            mask = scored(truth, windows.view.scored[here]) & ok
            maps = [variation.orient(part) for part in (newest.numpy(), context.numpy(), variation.table[truth], mask)]
            copies = [np.ascontiguousarray(part) for part in maps]
            result.append((torch.from_numpy(copies[0]), torch.from_numpy(copies[1]), copies[2], copies[3]))
        return result
