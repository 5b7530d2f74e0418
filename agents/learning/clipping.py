"""Gradient clipping, part by part of a network."""

import torch

from ..networks.network import TrainableNetwork

CLIP_NORM = 50.0  # of the released code for HKO-7
_NOT_FINITE = "a gradient is not finite, the weights are kept: choose a lower learning rate, or precision float32"


def clip_gradients(net: TrainableNetwork, norm: float) -> None:
    """Scale the gradients of each part of ``net`` down to a norm.

    Args:
        net: The network; ``net.parts()`` lists its parts.
        norm: Largest 2-norm of the gradients of one part.

    Raises:
        FloatingPointError: If a gradient is not finite; the weights are unchanged.
    """
    raise_if(scale_gradients(net, norm))


def scale_gradients(net: TrainableNetwork, norm: float) -> torch.Tensor:
    """As :func:`clip_gradients`, without waiting for the device.

    Returns:
        A bool scalar on the device, True if a gradient is not finite; for :func:`raise_if`, now or later.
    """
    totals = [torch.nn.utils.clip_grad_norm_(part, norm) for part in net.parts()]
    return ~torch.isfinite(torch.stack(totals)).all()


def raise_if(not_finite: torch.Tensor) -> None:
    """Raise FloatingPointError if a gradient was not finite; waits for the device."""
    if not_finite:
        raise FloatingPointError(_NOT_FINITE)
