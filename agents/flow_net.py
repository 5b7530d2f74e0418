"""A small network that starts from optical flow: it corrects frames that were advected along their motion.

For each lead time the five frames are advected to that time. A network, the same for all lead times, adds to the newest
of them what motion cannot know, growth and decay, and gives the probability that each threshold of rain rate is
reached. Counts of how often such probabilities came true say from which one on an event is forecast. Online, the frames
that become visible are counted too and, with ``online_rate`` above 0, the last layer of the network learns.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter1d

from hko7env.contract import Observation, OptionError, Task
from hko7env.scores import scored

from .calibration import reliability
from .calibration.corrected_forecast import Decision
from .calibration.network_counting import read_counts, read_network
from .calibration.unverified import UnverifiedForecasts
from .learning import checkpoint
from .learning.advected_forecast import correct_frames
from .learning.last_layer import LastLayer
from .learning.replay import ReplayBuffer
from .learning.weights import check_metadata
from .networks.flow_net import FlowNet

Aim = Literal["csi", "mse"]
Precision = Literal["float32", "bf16"]
Array = npt.NDArray[Any]

SHIPPED = Path(__file__).resolve().parent / "weights" / "flow_net.safetensors"
LEADS_SMOOTHED = 1.0  # lead times: standard deviation of the smoothing of counts
KIND = "flow_net state"  # stored in the file


@dataclass(frozen=True)
class Config:
    """Which weights to use, and how to forecast and learn; the defaults were chosen on validation splits."""

    checkpoint: Annotated[
        Path | None, "file made by hko7env calibrate --network; none: the weights that come with the package"
    ] = None
    device: Annotated[str, "auto (a GPU if there is one), cpu or cuda"] = "auto"
    precision: Annotated[Precision, "number format of convolutions"] = "float32"
    aim: Annotated[Aim, "what to optimise: csi, CSI and both balanced errors; mse, the balanced errors only"] = "csi"
    prior_weight: Annotated[float, "weight of the counts stored with the weights, in sequences"] = 20.0
    half_life: Annotated[float, "number of sequences after which counts weigh half; 0: count nothing online"] = 60.0
    online_rate: Annotated[float, "learning rate of AdaGrad for the last layer online; 0: leave the network"] = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("aim", get_args(Aim)), ("precision", get_args(Precision))):
            if getattr(self, name) not in choices:
                raise OptionError(f"{name} is one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("prior_weight", "half_life", "online_rate"):
            if not 0 <= getattr(self, name) < np.inf:
                raise OptionError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")


class FlowNetAgent:
    """Corrects advected frames by a network, and forecasts the events that have come true at such odds.

    Args:
        task: The frames to forecast.
        net: The network, with its weights.
        prior: (K, 5, B, 2) counts of a mean sequence.
        config: The options.
    """

    def __init__(self, task: Task, net: FlowNet, prior: reliability.Counts, config: Config) -> None:
        self.task, self.net, self.config = task, net.train(False), config
        net.last_layer_only = True
        self.device = next(net.parameters()).device
        self._decision = Decision(task.zr, self.device)
        self._prior = prior
        self._counts = np.zeros_like(prior)  # learned online
        self._odds = self._choose_odds()
        self._last_layer = LastLayer(net, task, config.online_rate)
        self._buffer = ReplayBuffer((task.inputs, task.height, task.width), task.inputs + task.leads)
        self._issued = UnverifiedForecasts(task)

    def store(self, observation: Observation) -> None:
        """Keep the J frames."""
        self._issued.store(observation)
        if self.config.online_rate:
            self._buffer.append(observation)

    def update(self) -> None:
        """Count what the newest frames say about earlier forecasts, and learn from the newest window.

        Raises:
            FloatingPointError: If the loss is not finite; the weights are unchanged.
            MemoryError: If the memory does not suffice.
        """
        if self.config.half_life:
            self._count()
            self._odds = self._choose_odds()
        if self.config.online_rate and (window := self._buffer.newest()):
            self._last_layer.learn(*self._buffer.frames(window))

    def _count(self) -> None:
        self._counts *= np.float32(0.5 ** (1 / self.config.half_life))
        for truth, verified in self._issued.verify():
            seen = scored(truth, self.task.scored)
            for lead, bins in verified:
                self._counts[lead] += reliability.count(bins, truth, seen, self.task.zr)

    def _choose_odds(self) -> torch.Tensor:
        counts = self.config.prior_weight * self._prior + self._counts
        smooth = gaussian_filter1d(counts, LEADS_SMOOTHED, axis=0, mode="nearest")
        return torch.from_numpy(reliability.choose_odds(smooth)).to(self.device)

    def predict(self) -> npt.NDArray[np.float32]:
        """The forecast, (K, H, W) float32 pixels in [0, 1]. Raises MemoryError if the memory does not suffice."""
        task = self.task
        forecast = np.empty((task.leads, task.height, task.width), np.float32)
        bins = []
        for leads, corrected in correct_frames(self.net, self._issued.frames, self._issued.present, task):
            pixels = corrected.pixels.clamp(0, 1)
            if self.config.aim == "csi":
                pixels = self._decision.pixels(corrected, self._odds[leads])
            forecast[leads] = pixels.cpu().numpy()
            if self.config.half_life:
                bins.append(reliability.find_bins(corrected.logits).cpu().numpy())
        if bins:
            self._issued.add(np.concatenate(bins))
        return forecast

    def save(self, path: Path) -> None:
        """Write the state: counts, last layer, frames and forecasts that are not verified yet. Raises OSError."""
        arrays = {"counts": self._counts, **self._issued.state()}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        tensors |= checkpoint.named("last_layer", self._last_layer.state())
        tensors |= checkpoint.named("buffer", self._buffer.pack(self._buffer.segments))
        metadata = {
            "kind": KIND,
            "task": self._task_metadata(),
            "issued": self._issued.issue_times,
            "steps": self._last_layer.steps,
        }
        checkpoint.write(path, tensors, metadata)

    def restore(self, path: Path) -> None:
        """Continue as the agent that was saved.

        Raises:
            CheckpointError: If the file is damaged, or of another agent or task; nothing is changed then.
        """
        tensors, metadata = checkpoint.read(path)
        if metadata.get("kind") != KIND or metadata.get("task") != self._task_metadata():
            raise checkpoint.CheckpointError(
                f"{path} was not saved by this agent for this grid, cadence and number of leads: start the run anew"
            )
        arrays: dict[str, Array] = {name: tensor.numpy() for name, tensor in tensors.items()}
        try:
            segments = self._buffer.unpack(checkpoint.under("buffer", tensors))
        except ValueError as error:
            raise checkpoint.CheckpointError(
                f"{path} holds stored frames that cannot be read ({error}): remove it, and the run starts anew"
            ) from error
        self._last_layer.restore(checkpoint.under("last_layer", tensors), metadata["steps"], path)
        self._buffer.segments = segments
        self._counts = arrays["counts"]
        self._issued.restore(arrays, metadata["issued"])
        self._odds = self._choose_odds()

    def _task_metadata(self) -> list[int]:
        task = self.task
        return [task.inputs, task.leads, task.height, task.width, task.cadence]


def make(task: Task, config: Config) -> FlowNetAgent:
    """Make the agent for ``task``.

    Raises:
        OptionError: If the weights cannot be used for this task, or the device not at all.
        MissingCheckpointError: If there is no such checkpoint; it is an OptionError too.
    """
    path = config.checkpoint or SHIPPED
    net, tensors, metadata = read_network(path, task.zr, precision=config.precision, device=config.device)
    check_metadata(metadata, {"inputs": task.inputs}, path)
    return FlowNetAgent(task, net, read_counts(tensors, path, task), config)
