"""The forecast of the network that corrects advected frames, a few lead times at once."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import Task

from ..networks.devices import explain_out_of_memory
from ..networks.flow_net import Corrected, FlowNet
from ..optical_flow.segment_advection import SegmentAdvection

GROUP = 4  # lead times that the network corrects at once: more are slower, as they exceed the cache of a processor


def correct_frames(
    net: FlowNet, frames: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_], task: Task
) -> Iterator[tuple[slice, Corrected]]:
    """Advect frames to all lead times and correct them.

    Args:
        net: The network.
        frames: (J, H, W) uint8 levels.
        present: (J,) bool.
        task: The frames to forecast.

    Yields:
        Lead times, counted from 0, and what the network makes of them: (n, H, W) pixels and (n, 5, H, W) log odds.

    Raises:
        MemoryError: If the memory does not suffice.
    """
    device = next(net.parameters()).device
    net.train(False)
    with torch.inference_mode(), explain_out_of_memory("choose precision bf16"):
        advection = SegmentAdvection(frames, present, task.scored, task.cadence, task.leads)
        for first in range(0, task.leads, GROUP):
            leads = slice(first, min(first + GROUP, task.leads))
            advected = advection.at(range(leads.start + 1, leads.stop + 1))
            corrected = net(advected.newest.to(device), advected.context.to(device))
            yield leads, corrected.crop(task.height, task.width)
