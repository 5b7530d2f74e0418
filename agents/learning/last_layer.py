"""Online learning of the last layer of the network that corrects advected frames."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Task
from hko7env.scores import scored

from ..networks.devices import explain_out_of_memory
from ..networks.flow_net import FlowNet
from ..optical_flow.segment_advection import SegmentAdvection
from .checkpoint import check
from .flow_training import CorrectedError

Tensor = torch.Tensor

LEADS_AT_ONCE = 4  # lead times of a step, evenly spaced; the next step takes the ones after them


class LastLayer:
    """Learns from windows of J + K frames by AdaGrad; all other layers stay as they are.

    Args:
        net: The network.
        task: The frames to forecast.
        rate: Learning rate.

    Attributes:
        steps: Number of steps done.
    """

    def __init__(self, net: FlowNet, task: Task, rate: float) -> None:
        self.net, self.task, self.steps = net, task, 0
        self.device = next(net.parameters()).device
        self._parameters = dict(net.head.named_parameters())
        self._optimiser = torch.optim.Adagrad(self._parameters.values(), lr=rate)
        self._error = CorrectedError(task.zr, self.device)

    def learn(self, frames: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_]) -> float:
        """Take one step.

        Args:
            frames: (J + K, H, W) uint8 levels.
            present: (J + K,) bool.

        Returns:
            The error before the step; 0 if there is no truth.

        Raises:
            FloatingPointError: If the loss is not finite; the weights are unchanged.
            MemoryError: If the memory does not suffice.
        """
        task, inputs = self.task, self.task.inputs
        spacing = max(task.leads // LEADS_AT_ONCE, 1)
        leads = list(range(self.steps % spacing, task.leads, spacing))
        self.steps += 1
        truth = frames[[inputs + lead for lead in leads]]
        mask = scored(truth, task.scored) & present[[inputs + lead for lead in leads], None, None]
        if not mask.any():
            return 0.0
        with explain_out_of_memory("choose precision bf16"):
            with torch.no_grad():
                advection = SegmentAdvection(frames[:inputs], present[:inputs], task.scored, task.cadence, task.leads)
                advected = advection.at([lead + 1 for lead in leads])
            corrected = self.net(advected.newest.to(self.device), advected.context.to(self.device))
            observed = [torch.from_numpy(part).to(self.device) for part in (truth, mask)]
            error = self._error(corrected.crop(task.height, task.width), *observed)
            gradients = torch.autograd.grad(error, list(self._parameters.values()))
        if not torch.isfinite(error):
            raise FloatingPointError("the loss of the newest window is not finite: choose a lower online_rate")
        for parameter, gradient in zip(self._parameters.values(), gradients, strict=True):
            parameter.grad = gradient
        self._optimiser.step()
        return float(error.detach())

    def state(self) -> dict[str, Tensor]:
        """Copies of the weights and of AdaGrad's sums, by name."""
        tensors = {}
        for name, parameter in self._parameters.items():
            tensors[f"weights.{name}"] = parameter.detach().clone()
            tensors[f"sums.{name}"] = self._optimiser.state[parameter]["sum"].clone()
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], steps: int, path: Path) -> None:
        """Continue from :meth:`state`, read from the checkpoint at ``path``. Raises CheckpointError."""
        check(tensors, self.state(), path)
        self.steps = steps
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"weights.{name}"])
                self._optimiser.state[parameter]["sum"].copy_(tensors[f"sums.{name}"])
