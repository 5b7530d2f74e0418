"""The forecast of a network that corrects advected frames: its pixels, kept inside the class that its odds choose."""

import numpy as np
import numpy.typing as npt
import torch

from hko7env.units import BALANCE, ZR

from ..networks.flow_net import Corrected

Tensor = torch.Tensor


class Decision:
    """Turns the output of the network into pixels.

    Args:
        zr: Relation of level to rain rate.
        device: Where.
    """

    def __init__(self, zr: ZR, device: torch.device) -> None:
        edges = torch.from_numpy(zr.threshold_pixels.copy()).float()
        self._lowest = torch.cat([torch.zeros(1), edges + 1e-4]).to(device)
        self._highest = torch.cat([edges - 1e-4, torch.ones(1)]).to(device)

    def pixels(self, corrected: Corrected, odds: Tensor, shifts: Tensor) -> Tensor:
        """The forecast (B, H, W), pixels in [0, 1].

        An event is forecast where its log odds, and those of all lower thresholds, are at least ``odds`` (B, 5). Pixels
        of each of the six classes are shifted by ``shifts`` (B, 6) and then moved into the class.
        """
        reached = corrected.logits >= odds[:, :, None, None]
        chosen = reached[:, 0].clone().int()
        so_far = reached[:, 0]
        for event in range(1, reached.shape[1]):
            so_far = so_far & reached[:, event]
            chosen += so_far
        shifted = corrected.pixels + shifts.gather(1, chosen.flatten(1).long()).view_as(chosen)
        return torch.minimum(torch.maximum(shifted, self._lowest[chosen]), self._highest[chosen])


def sum_residuals(forecast: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8], zr: ZR) -> npt.NDArray[np.float64]:
    """Sums from which the shift of each class follows that makes B-MSE smallest.

    Args:
        forecast: (n,) pixels.
        truth: (n,) observed levels at the same locations.
        zr: Relation of level to rain rate.

    Returns:
        (6, 2): by class of the forecast, the sum of the weights of B-MSE, and of weight times (truth - forecast).
    """
    classes = np.searchsorted(zr.threshold_pixels, forecast, "right")
    weights = zr.weights[truth].astype(np.float64)
    residuals = weights * (truth / 255 - forecast)
    return np.stack([np.bincount(classes, part, len(BALANCE)) for part in (weights, residuals)], -1)
