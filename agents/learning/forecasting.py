"""One forecast of a network, for agents and for validation."""

import numpy as np
import numpy.typing as npt
import torch

from ..networks.network import Network
from .loss import Forward
from .padding import pad_maps


def forecast_frames(net: Network, forward: Forward, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Forecast from the newest frames, with batch normalisation by the statistics of the training.

    Frames whose height or width is no multiple of the network's total stride are padded with no echo at the south and
    east edge, and the forecast is cropped.

    Args:
        net: The network.
        forward: Calls it, which may be compiled.
        frames: (J, H, W) uint8 levels, 0 where missing.

    Returns:
        (K, H, W) float32 pixels in [0, 1].
    """
    net.train(False)
    device = next(net.parameters()).device
    height, width = frames.shape[1:]
    with torch.no_grad():
        pixels = pad_maps(torch.from_numpy(frames).to(device)[None], net.total_stride) / 255
        ahead = forward(pixels)[0, :, :height, :width].clamp_(0, 1)
    forecast: npt.NDArray[np.float32] = ahead.float().contiguous().cpu().numpy()
    return forecast
