"""Sources of batches that are made where the network computes: from frames kept there, and of synthetic rain."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hko7env.schedule import INPUTS
from hko7env.scores import scored
from hko7env.split_view import SplitView

from ..networks.devices import explain_out_of_memory, send
from .archive_sampler import ArchiveSampler
from .augmentation import Variation
from .batch import Batch, Source
from .torch_rain import TorchRain

Tensor = torch.Tensor

READ = 60  # frames read from the archive at a time


class ResidentSampler(ArchiveSampler):
    """Draws the windows that :class:`ArchiveSampler` draws, from frames of the split that all lie on the device.

    What is random is drawn on the CPU in the same order; the frames do not leave the device, nor does the choice among
    candidates.

    Args:
        view: The split.
        rows: As of ArchiveSampler.
        device: Where the frames, one byte a pixel, are kept.
        options: The other arguments of ArchiveSampler.

    Raises:
        ValueError: As ArchiveSampler.
        MemoryError: If the frames do not fit.
    """

    def __init__(self, view: SplitView, rows: range, *, device: torch.device, **options: Any) -> None:
        super().__init__(view, rows, **options)
        self.device = device
        with explain_out_of_memory("choose no-resident, or an archive of fewer frames"):
            self._frames = torch.empty((len(view.times), *view.archive.shape), dtype=torch.uint8, device=device)
            for start in range(0, len(view.times), READ):
                frames, _ = view.frames_at(view.times[start : start + READ])
                self._frames[start : start + READ] = torch.from_numpy(np.stack(frames)).to(device)
        self._static = send(np.array(view.scored), device)
        self._balance = send(np.array(view.archive.zr.weights, np.float64), device)
        self._lines = [torch.arange(size, device=device) for size in self.size]

    def window(self, random: np.random.Generator) -> Any:
        """Draw a window, as tensors on the device; otherwise as :meth:`ArchiveSampler.window`."""
        places, variation = self.draw(random)
        slots = np.stack([place.slots for place in places])
        index = np.searchsorted(self.view.times, slots).clip(max=len(self.view.times) - 1)
        there = self.view.times[index] == slots
        corners = [[place.crop[0].start, place.crop[1].start] for place in places]
        sent = send(np.concatenate([index, there, corners], 1), self.device)
        best = self._choose(sent) if len(places) > 1 else sent[0]
        count = slots.shape[1]
        index_there, present, corner = best[:count], best[count : 2 * count].bool(), best[2 * count :]
        rows, columns = self._cut(corner[None])
        cut = self._frames[index_there[:, None, None], rows, columns] * present[:, None, None]
        static = self._static[rows[0], columns[0]]
        return self._vary(cut, present, static, variation)

    def _cut(self, corners: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the rows (n, h, 1) and columns (n, 1, w) of windows with ``corners`` (n, 2)."""
        rows, columns = (corners[:, axis, None] + line for axis, line in enumerate(self._lines))
        return rows[:, :, None], columns[:, None, :]

    def _choose(self, sent: Tensor) -> Tensor:
        """That row of ``sent``, the candidates, whose newest input weighs most; the first of equals."""
        count = (sent.shape[1] - 2) // 2
        rows, columns = self._cut(sent[:, 2 * count :])
        levels = self._frames[sent[:, INPUTS - 1, None, None], rows, columns]
        counted = scored(levels, self._static[rows, columns]) & sent[:, count + INPUTS - 1, None, None].bool()
        weights = (self._balance[levels.int()] * counted).sum((1, 2))
        return sent.index_select(0, weights.argmax()[None])[0]

    def _vary(
        self, cut: Tensor, present: Tensor, static: Tensor, variation: Variation | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if variation is None:
            return cut, present, static
        table = send(variation.table, self.device)
        return _orient(table[cut.int()], variation), present, _orient(static, variation)


def _orient(maps: Tensor, variation: Variation) -> Tensor:
    """As :meth:`agents.learning.augmentation.Variation.orient`."""
    return torch.rot90(maps.flip(-1) if variation.mirrored else maps, variation.turns, (-2, -1))


class RainSource:
    """Batches of synthetic rain, made for some steps at a time and handed out one after another.

    Args:
        rain: Makes the rain of ``steps`` batches at once.
        steps: Their number.
    """

    def __init__(self, rain: TorchRain, steps: int = 1) -> None:
        if rain.size % steps:
            raise ValueError(f"{rain.size} sequences are no batches for {steps} steps: choose a multiple")
        self.rain, self.steps = rain, steps
        self._group, self._made = -1, torch.empty(0)

    def batch(self, step: int) -> Any:
        """The batch of ``step``: a :class:`Batch` of tensors on the device of the rain."""
        group, part = divmod(step, self.steps)
        if group != self._group:
            self._made, self._group = self.rain.batch(group)[0], group
        rows = self.rain.size // self.steps
        frames = self._made[part * rows : (part + 1) * rows]
        present = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        return _batch(frames, present, self.rain.scored.expand(rows, *self.rain.shape))


class JoinedSource:
    """Batches whose rows are those of several sources, one after another.

    Args:
        sources: The sources.
        device: Where the batches are joined.
    """

    def __init__(self, sources: Sequence[Source], device: torch.device) -> None:
        self.sources, self.device = sources, device

    def batch(self, step: int) -> Any:
        """The rows of all sources for ``step``, as tensors on the device."""
        parts = zip(*(source.batch(step) for source in self.sources), strict=True)
        return _batch(*(torch.cat([self._place(each) for each in part]) for part in parts))

    def _place(self, part: npt.NDArray[Any] | Tensor) -> Tensor:
        return part if isinstance(part, Tensor) else send(part, self.device)


def _batch(*parts: Any) -> Batch:
    """Tensors as a :class:`Batch`."""
    return Batch(*parts)
