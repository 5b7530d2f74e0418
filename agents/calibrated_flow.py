"""Optical flow calibrated by how often its forecasts came true; it needs neither a GPU nor an archive to train on.

The newest frame is extrapolated along the motion of the last segment. For each lead time, counts tell how often a
location with that arriving level, and with that much such rain around it, reached each threshold of rain rate. The
forecast is the highest class whose probability makes it worth forecasting for CSI, and within the class the mean that
the balanced errors ask for. How high a probability is worth it follows from how often each has been forecast, as CSI is
a score of sums. The counts begin with those of a prior; online, the frames that become visible are added.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Observation, OptionError, Task
from hko7env.scores import scored

from .calibration.counts import Array, combine, count, reached, shift_odds, smooth
from .calibration.decisions import AIMS, Aim, choose_thresholds, decide
from .calibration.features import SHAPE, Features
from .calibration.prior import SHIPPED, SUM, read
from .calibration.unverified import UnverifiedForecasts
from .learning import checkpoint

LEAST_WEIGHT = 1000.0  # least weight, in counts, of the probabilities of a bin: a single storm is no climate
KIND = "calibrated_flow state 2"  # stored in the file; 2: since it holds how often each bin was forecast


@dataclass(frozen=True)
class Config:
    """Where the calibration comes from and which score it serves; the defaults were chosen on validation splits."""

    prior: Annotated[Path | None, "file made by hko7env calibrate; none: the prior that comes with the package"] = None
    aim: Annotated[
        Aim, "what to optimise: csi, CSI and both balanced errors; mse or mae, the balanced squared or absolute error"
    ] = "csi"
    prior_weight: Annotated[float, "weight of the prior beside what is learned online, in sequences"] = 40.0
    occurrence_weight: Annotated[
        float, "weight of the prior beside the forecasts so far in the choice of thresholds, in sequences"
    ] = 0.5
    half_life: Annotated[float, "number of sequences after which counts weigh half; 0: learn nothing online"] = 60.0


class CalibratedFlow:
    """Extrapolates the newest frame and forecasts what such echo has mostly become.

    Args:
        task: The frames to forecast.
        config: The calibration.
        features: Class of the features, for experiments.

    Raises:
        OptionError: If an option has a value that it cannot have, or the prior is missing or cannot be used.
    """

    def __init__(self, task: Task, config: Config, features: type[Features] = Features) -> None:
        _check(config)
        self.task, self.config = task, config
        self.features = features(task.scored, task.zr)
        prior = read(config.prior or SHIPPED, task.zr)
        counts = prior.at(task.leads, task.cadence)
        cells = self.features.subsample(task.scored).size
        self._means = prior.means
        self._prior_probabilities = smooth(counts)
        self._prior_occurrence = counts.sum(-1) * np.float32(cells / SUM)  # (K, N) cells of a mean sequence
        self._counts = np.zeros_like(counts)  # (K, N, 6), learned online
        self._newest = np.zeros_like(self._prior_occurrence)  # (K, N) cells of the newest forecast
        self._earlier = np.zeros_like(self._newest)  # (K, N) cells of the forecasts before it
        self._calibrate()
        self._issued = UnverifiedForecasts(task)

    def store(self, observation: Observation) -> None:
        """Keep the J frames."""
        self._issued.store(observation)

    def update(self) -> None:
        """Decay the counts, and add the last forecast and what the newest frames say about earlier ones."""
        if self.config.half_life == 0:
            return
        decay = np.float32(0.5 ** (1 / self.config.half_life))
        self._earlier = decay * (self._earlier + self._newest)
        self._newest = np.zeros_like(self._earlier)
        self._counts *= decay
        for frame, verified in self._issued.verify():
            truth = self.features.subsample(frame)
            seen = self.features.subsample(scored(frame, self.task.scored))
            for lead, bins in verified:
                self._counts[lead] += count(bins, truth, seen, self.task.zr)
        self._calibrate()

    def _calibrate(self) -> None:
        """Compute the probabilities of classes and events by the prior and by what was learned."""
        weight = self.config.prior_weight * self._prior_occurrence[..., None]  # (K, N, 1)
        usual = (weight * self._prior_probabilities).sum(1)
        shifted = shift_odds(self._prior_probabilities, self._counts, usual)
        self._probabilities = combine(self._counts, shifted, weight + LEAST_WEIGHT)  # (K, N, 6)
        self._chances = reached(self._probabilities)  # (K, N)

    def predict(self) -> npt.NDArray[np.float32]:
        """The forecast, (K, H, W) float32 pixels in [0, 1]."""
        bins = self.features.bins(self._issued.frames, self._issued.present, self.task.leads)
        verified = bins.verified()
        if self.config.half_life:
            self._issued.add(verified)
        size = self._chances.shape[1]
        self._newest = np.stack([np.bincount(lead.reshape(-1), minlength=size) for lead in verified]).astype(np.float32)
        thresholds = self._choose_thresholds()
        table = decide(self._probabilities, self._chances, thresholds, self._means, self.task.zr, self.config.aim)
        return self.features.forecast(bins, table)

    def _choose_thresholds(self) -> Array:
        """Probabilities (K, 5) from which on events are forecast.

        They suit all forecasts up to this one together, as CSI is a score of their sums, with some weight of the prior.
        """
        usual = self.config.occurrence_weight * self._prior_occurrence
        return choose_thresholds(self._chances, self._earlier + self._newest + usual)

    def save(self, path: Path) -> None:
        """Write the state: counts, frames and forecasts that are not verified yet. Raises OSError."""
        arrays = {"counts": self._counts, "newest": self._newest, "earlier": self._earlier, **self._issued.state()}
        metadata = {"kind": KIND, "task": self._task_metadata(), "issued": self._issued.issue_times}
        checkpoint.write(path, {name: torch.from_numpy(array) for name, array in arrays.items()}, metadata)

    def restore(self, path: Path) -> None:
        """Continue as the agent that was saved.

        Raises:
            CheckpointError: If the file is damaged, or of another agent or task.
        """
        tensors, metadata = checkpoint.read(path)
        if metadata.get("kind") != KIND or metadata.get("task") != self._task_metadata():
            raise checkpoint.CheckpointError(
                f"{path} was not saved by this agent for this grid, cadence and number of leads: start the run anew"
            )
        arrays: dict[str, npt.NDArray[Any]] = {name: tensor.numpy() for name, tensor in tensors.items()}
        self._counts, self._newest, self._earlier = arrays["counts"], arrays["newest"], arrays["earlier"]
        self._issued.restore(arrays, metadata["issued"])
        self._calibrate()

    def _task_metadata(self) -> list[int]:
        task = self.task
        return [task.inputs, task.leads, task.height, task.width, task.cadence, *SHAPE]


def _check(config: Config) -> None:
    if config.aim not in AIMS:
        raise OptionError(f"there is no aim {config.aim!r}, only {', '.join(AIMS)}")
    for name in ("prior_weight", "occurrence_weight", "half_life"):
        if not 0 <= getattr(config, name) < np.inf:
            raise OptionError(f"{name} must be at least 0 and finite, got {getattr(config, name)}")


def make(task: Task, config: Config) -> CalibratedFlow:
    """Make the agent for ``task``."""
    return CalibratedFlow(task, config)
