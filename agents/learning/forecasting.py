"""One forecast of a network, for agents and for validation."""

import numpy as np
import numpy.typing as npt
import torch

from ..networks.network import Network
from .loss import Forward


def forecast_frames(net: Network, forward: Forward, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Forecast from the newest frames, with batch normalisation by the statistics of the training.

    Args:
        net: The network.
        forward: Calls it, which may be compiled.
        frames: (J, H, W) uint8 levels, 0 where missing.

    Returns:
        (K, H, W) float32 pixels in [0, 1].
    """
    net.train(False)
    device = next(net.parameters()).device
    with torch.no_grad():
        pixels = torch.from_numpy(frames).to(device)[None] / 255
        ahead = forward(pixels)[0].clamp_(0, 1)
    forecast: npt.NDArray[np.float32] = ahead.float().contiguous().cpu().numpy()
    return forecast
