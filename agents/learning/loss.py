"""What the networks are trained for: B-MSE + B-MAE, from the table of weights that the scores use too."""

import itertools

import torch

from hko7env.units import HKO7, ZR

Tensor = torch.Tensor

# Scales of the released code; Adam hardly minds them, clipping and AdaGrad do.
BALANCED_SCALE, PLAIN_SCALE = 1e-5, 5e-5  # of the mean over the leads: recurrent networks
SUMMED_SCALE = 5e-5  # of the sum over the leads, balanced or not: CNNs, whose released tensors hold leads as channels


def loss(
    forecast: Tensor,
    truth: Tensor,
    mask: Tensor,
    zr: ZR = HKO7,
    *,
    balanced: bool = True,
    lead_power: float = 0,
    summed: bool = False,
) -> Tensor:
    """1e-5 (B-MSE + B-MAE), or 5e-5 (MSE + MAE) if not ``balanced``; Shi et al. 2017, section 5.1.

    ``forecast`` (B, K, H, W) float pixels, not clipped; ``truth`` the same shape, uint8 levels; ``mask`` the same
    shape, bool, True = scored. Errors are summed over the frame and averaged over leads and batch, as the scores are;
    in that average lead k, counted from 1, has the weight k ** -``lead_power``, relative to the mean of those weights.
    With ``summed``, the loss of the released CNNs, it is 5e-5 times the sum over the leads in place of that average.
    Raises ValueError for other shapes or types: a broadcast loss would look like a good one.
    """
    if not forecast.shape == truth.shape == mask.shape or forecast.ndim != 4:
        shapes = ", ".join(str(tuple(t.shape)) for t in (forecast, truth, mask))
        raise ValueError(f"forecast, truth and mask are (B, K, H, W) of one shape, got {shapes}")
    if truth.dtype != torch.uint8 or mask.dtype != torch.bool:
        raise ValueError(f"truth is uint8 levels and mask bool, got {truth.dtype} and {mask.dtype}")
    # First of all, so that where it is not scored even an infinite forecast is nothing and has no gradient.
    error = torch.where(mask, forecast.float() - truth / 255, 0).abs()
    weighted = error.square() + error
    if balanced:
        weighted = weighted * _weights(zr, forecast.device)[truth.int()]
    leads = torch.arange(1, forecast.shape[1] + 1, device=forecast.device) ** -float(lead_power)
    errors = weighted.sum((2, 3)) * (leads / leads.mean())
    if summed:
        return errors.sum(1).mean() * SUMMED_SCALE
    return errors.mean() * (BALANCED_SCALE if balanced else PLAIN_SCALE)


def _weights(zr: ZR, device: torch.device) -> Tensor:
    """The 256 weights of levels; made on the device, as a graph of its kernels needs it."""
    runs = [(weight, len(list(run))) for weight, run in itertools.groupby(zr.weights)]
    return torch.cat([torch.full((length,), weight, device=device, dtype=torch.float32) for weight, length in runs])
