"""Batches to learn from, and the interface of their sources."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

Arrays = tuple[npt.NDArray[Any] | torch.Tensor, ...]
Tensors = tuple[torch.Tensor, ...]


class Batch(NamedTuple):
    """Windows of J + K frames of rain.

    Attributes:
        frames: (B, J + K, H, W) uint8 levels, all 0 where missing.
        present: (B, J + K) bool, False where a frame is missing.
        scored: (B, H, W) or (H, W) bool, the static mask, True = scored.
    """

    frames: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]
    scored: npt.NDArray[np.bool_]


class Source(Protocol):
    """Provides the batch of each step: a tuple of arrays or tensors that depends on the step alone.

    In a training by several processes each process has a source of its own, for its own rows of the batch.
    """

    def batch(self, step: int) -> Arrays:
        """The batch of ``step``, counted from 0. Called from one background thread, in order."""


def like(batch: Arrays, parts: list[torch.Tensor]) -> Tensors:
    """``parts`` in a tuple of the type of ``batch``, which may be a NamedTuple."""
    make = getattr(batch, "_make", tuple)
    made: Tensors = make(parts)
    return made
