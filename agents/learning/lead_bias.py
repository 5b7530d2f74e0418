"""A running correction of a forecast's frequency bias at each lead time, learned from forecasts that have come due."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Task
from hko7env.scores import scored

Levels = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.float32]

LEVELS = 256
ROUNDED = 1 - 1e-9  # equal counts are equal after rounding too
HALF_LIFE = 120.0  # frames of truth after which a count is worth half
PRIOR = 10_000.0  # forecast pixels at or above a level by which that level is held to itself


class LeadBias:
    """Frequency matching: each level is replaced by the one that was observed as often as the level was forecast.

    For each lead time two histograms are counted over the scored locations, of forecasts that have come due and of
    their truth; older counts are forgotten exponentially. Forecast level f becomes the truth level t that is reached or
    exceeded as often as f is (Zhu and Luo 2015, Weather and Forecasting 30, 1109-1124). Where few pixels n reach f, the
    shift t - f is multiplied by n / (n + PRIOR).

    Args:
        task: The frames that are forecast.

    Attributes:
        counts: (2, K, 256) float64, histograms of forecasts and of truth.
        issued: Levels (K, H, W) that were forecast after each of the last segments, oldest first.
        current: Levels that were forecast after the newest segment, or None.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.counts = np.zeros((2, task.leads, LEVELS))
        self.issued: list[Levels] = []
        self.current: Levels | None = None
        self._kept = -(-task.leads // task.inputs)

    def reset(self) -> None:
        """Forget the counts."""
        self.counts[:] = 0

    def advance(self, *, new_episode: bool) -> None:
        """Go on to the next segment; forecasts of another episode, or before one that is lacking, are dropped."""
        if new_episode or self.current is None:
            self.issued.clear()
        else:
            self.issued = [*self.issued, self.current][-self._kept :]
        self.current = None

    def learn(self, frames: Levels, present: npt.NDArray[np.bool_]) -> None:
        """Compare the newest segment with what was forecast for it.

        Args:
            frames: (J, H, W) levels.
            present: (J,), False for missing frames.
        """
        for j in np.flatnonzero(present):
            mask = scored(frames[j], self.task.scored)
            truth = np.bincount(frames[j][mask], minlength=LEVELS)
            for age, levels in enumerate(reversed(self.issued)):
                lead = age * self.task.inputs + int(j)
                if lead < self.task.leads:
                    self.counts[:, lead] *= 0.5 ** (1 / HALF_LIFE)
                    self.counts[0, lead] += np.bincount(levels[lead][mask], minlength=LEVELS)
                    self.counts[1, lead] += truth

    def tables(self) -> npt.NDArray[np.float64]:
        """(K, 256) the level that replaces each level, by lead; it never decreases with the level."""
        identity = np.arange(LEVELS, dtype=np.float64)
        result = np.empty((self.task.leads, LEVELS))
        for lead in range(self.task.leads):
            forecast, truth = self.counts[:, lead, ::-1].cumsum(1)[:, ::-1]  # pixels at or above each level
            matched = np.interp(-forecast * ROUNDED, -truth, identity) if truth[0] else identity
            shift = (np.maximum.accumulate(matched) - identity) * forecast / (forecast + PRIOR)
            result[lead] = np.maximum.accumulate(identity + shift)
        return result

    def correct(self, forecast: Pixels) -> Pixels:
        """The forecast (K, H, W) with matched frequencies; it is kept as it was until its truth is there."""
        levels = forecast * np.float32(255)
        self.current = np.rint(levels).astype(np.uint8)
        identity = np.arange(LEVELS)
        matched = [np.interp(level, identity, table) for level, table in zip(levels, self.tables(), strict=True)]
        return (np.stack(matched) / 255).astype(np.float32).clip(0, 1)

    def pack(self) -> dict[str, torch.Tensor]:
        """The state as tensors for a checkpoint."""
        kept = [*self.issued, *([] if self.current is None else [self.current])]
        forecasts = np.zeros((len(kept), self.task.leads, self.task.height, self.task.width), np.uint8)
        for place, levels in zip(forecasts, kept, strict=True):
            place[:] = levels
        return {
            "counts": torch.from_numpy(self.counts.copy()),
            "forecasts": torch.from_numpy(forecasts),
            "current": torch.tensor(self.current is not None),
        }

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> "LeadBias":
        """The state that :meth:`pack` packed. Raises ValueError if it is not of this task."""
        found = LeadBias(self.task)
        try:
            counts, forecasts = tensors["counts"].numpy(), tensors["forecasts"].numpy()
            has_current = bool(tensors["current"])
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"current, counts or forecasts: {error}") from error
        shape = (self.task.leads, self.task.height, self.task.width)
        if counts.shape != found.counts.shape or not (np.isfinite(counts) & (counts >= 0)).all():
            raise ValueError(f"its counts are not {found.counts.shape} numbers of at least 0")
        if forecasts.shape[1:] != shape or forecasts.dtype != np.uint8 or len(forecasts) > self._kept + has_current:
            raise ValueError(f"its forecasts are {forecasts.dtype} {forecasts.shape}, not levels {shape}")
        if has_current > len(forecasts):
            raise ValueError("it lacks the newest forecast")
        kept = [levels.copy() for levels in forecasts]
        found.counts = counts.astype(np.float64)
        found.current = kept.pop() if has_current else None
        found.issued = kept
        return found
