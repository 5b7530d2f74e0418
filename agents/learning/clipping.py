"""Gradient clipping, part by part of a network."""

import torch

from ..networks.network import TrainableNetwork

CLIP_NORM = 50.0  # of the released code for HKO-7


def clip_gradients(net: TrainableNetwork, norm: float) -> None:
    """Scale the gradients of each part of ``net`` down to a norm.

    Args:
        net: The network; ``net.parts()`` lists its parts.
        norm: Largest 2-norm of the gradients of one part.

    Raises:
        FloatingPointError: If a gradient is not finite; the weights are unchanged.
    """
    for part in net.parts():
        total = torch.nn.utils.clip_grad_norm_(part, norm)
        if not torch.isfinite(total):
            raise FloatingPointError(
                "a gradient is not finite, the weights are kept: choose a lower learning rate, or precision float32"
            )
