"""A running correction of a forecast's amplitude at each lead time, learned from the forecasts that have come due."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Task
from hko7env.scores import scored

Levels = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.float32]

HALF_LIFE = 120.0  # frames of truth after which what was learned counts half
PRIOR = 1000.0  # weighted squared pixels by which the gain is held to 1 at first
LARGEST_GAIN = 4.0


class LeadBias:
    """A factor for each lead time, which minimises the balanced squared error of the forecasts that have come due.

    The gain of lead k is the weighted least-squares slope through the origin, sum w f o / sum w f^2, of truth o on
    forecast f, with the weights w of the balanced errors (Shi et al. 2017, section 5.1). Older sums are forgotten
    exponentially.

    Args:
        task: The frames that are forecast.

    Attributes:
        sums: (2, K) float64, the sums of w f o and of w f^2.
        issued: Levels (K, H, W) that were forecast after each of the last segments, oldest first.
        current: Levels that were forecast after the newest segment, or None.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.sums = np.full((2, task.leads), PRIOR)
        self.issued: list[Levels] = []
        self.current: Levels | None = None
        self._kept = -(-task.leads // task.inputs)

    @property
    def gains(self) -> npt.NDArray[np.float64]:
        """(K,) factors."""
        return np.asarray((self.sums[0] / self.sums[1]).clip(1 / LARGEST_GAIN, LARGEST_GAIN))

    def reset(self) -> None:
        """Forget the gains."""
        self.sums[:] = PRIOR

    def advance(self, *, new_episode: bool) -> None:
        """Go on to the next segment, at which forecasts of earlier episodes and of unbroken sequences end."""
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
        inputs, leads, zr = self.task.inputs, self.task.leads, self.task.zr
        for j in np.flatnonzero(present):
            weights = zr.weights[frames[j]] * scored(frames[j], self.task.scored)
            truth = frames[j] / np.float32(255)
            for age, levels in enumerate(reversed(self.issued)):
                lead = age * inputs + int(j)
                if lead < leads:
                    forecast = levels[lead] / np.float32(255)
                    weighted = weights * forecast
                    self.sums[:, lead] *= 0.5 ** (1 / HALF_LIFE)
                    self.sums[0, lead] += float((weighted * truth).sum(dtype=np.float64))
                    self.sums[1, lead] += float((weighted * forecast).sum(dtype=np.float64))

    def correct(self, forecast: Pixels) -> Pixels:
        """The forecast (K, H, W) times the gains, in [0, 1]; the forecast itself is kept until its truth is there."""
        self.current = np.rint(forecast * np.float32(255)).astype(np.uint8)
        corrected: Pixels = (forecast * self.gains.astype(np.float32)[:, None, None]).clip(0, 1)
        return corrected

    def pack(self) -> dict[str, torch.Tensor]:
        """The state as tensors for a checkpoint."""
        kept = [*self.issued, *([] if self.current is None else [self.current])]
        shape = (len(kept), self.task.leads, self.task.height, self.task.width)
        return {
            "sums": torch.from_numpy(self.sums.copy()),
            "forecasts": torch.from_numpy(
                np.concatenate([levels[None] for levels in kept]) if kept else np.zeros(shape, np.uint8)
            ),
            "current": torch.tensor(self.current is not None),
        }

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> "LeadBias":
        """The state that :meth:`pack` packed. Raises ValueError if it is not of this task."""
        found = LeadBias(self.task)
        try:
            sums, forecasts = tensors["sums"].numpy(), tensors["forecasts"].numpy()
            has_current = bool(tensors["current"])
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"it lacks {error}") from error
        shape = (self.task.leads, self.task.height, self.task.width)
        if sums.shape != found.sums.shape or sums.dtype != np.float64 or not (np.isfinite(sums) & (sums > 0)).all():
            raise ValueError("its sums are not positive numbers, two for each lead time")
        if forecasts.shape[1:] != shape or forecasts.dtype != np.uint8 or len(forecasts) > self._kept + has_current:
            raise ValueError(f"its forecasts are {forecasts.dtype} {forecasts.shape}, not levels {shape}")
        if has_current > len(forecasts):
            raise ValueError("it lacks the newest forecast")
        kept = [levels.copy() for levels in forecasts]
        found.sums = sums.copy()
        found.current = kept.pop() if has_current else None
        found.issued = kept
        return found
