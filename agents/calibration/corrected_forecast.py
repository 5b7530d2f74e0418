"""The forecast of a network that corrects advected frames: its pixels, kept inside the class that its odds choose."""

import torch

from hko7env.units import ZR

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

    def pixels(self, corrected: Corrected, odds: Tensor) -> Tensor:
        """The forecast (B, H, W), pixels in [0, 1].

        An event is forecast where its log odds, and those of all lower thresholds, are at least ``odds`` (B, 5).
        """
        reached = corrected.logits >= odds[:, :, None, None]
        chosen = reached[:, 0].clone().int()
        so_far = reached[:, 0]
        for event in range(1, reached.shape[1]):
            so_far = so_far & reached[:, event]
            chosen += so_far
        return torch.minimum(torch.maximum(corrected.pixels, self._lowest[chosen]), self._highest[chosen])
