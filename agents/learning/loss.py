"""The loss that networks are trained for: B-MSE + B-MAE, with the weights of the scores."""

import itertools
from collections.abc import Callable

import torch

from hko7env.contract import Task
from hko7env.scores import scored
from hko7env.units import HKO7, ZR

from ..networks.network import Network
from .batch import Tensors

Tensor = torch.Tensor
Forward = Callable[[Tensor], Tensor]  # frames (B, J, H, W) to forecasts (B, K, H, W), pixels
Loss = Callable[[Forward, Tensors], Tensor]


def forecast_error(
    forecast: Tensor,
    truth: Tensor,
    mask: Tensor,
    zr: ZR = HKO7,
    *,
    balanced: bool = True,
    lead_weighting: float = 0,
    sums_leads: bool = False,
) -> Tensor:
    """B-MSE + B-MAE, or MSE + MAE, of a batch of forecasts; Shi et al. 2017, section 5.1.

    Errors are summed over the frame and averaged over batch and leads, as the scores are.

    Args:
        forecast: (B, K, H, W) float, pixels, not clipped.
        truth: (B, K, H, W) uint8 levels.
        mask: (B, K, H, W) bool, True = scored.
        zr: Relation of level to rain rate, which the weights of B-MSE and B-MAE depend on.
        balanced: Whether errors are weighted by rain rate.
        lead_weighting: P, for weights k^-P of the leads k = 1..K, relative to their mean.
        sums_leads: Sum over the leads instead of averaging.

    Returns:
        A scalar, float32.

    Raises:
        ValueError: If shapes or types are others; broadcasting would give a wrong loss without an error.
    """
    if not forecast.shape == truth.shape == mask.shape or forecast.ndim != 4:
        shapes = ", ".join(str(tuple(t.shape)) for t in (forecast, truth, mask))
        raise ValueError(f"forecast, truth and mask are (B, K, H, W) of one shape, got {shapes}")
    if truth.dtype != torch.uint8 or mask.dtype != torch.bool:
        raise ValueError(f"truth is uint8 levels and mask bool, got {truth.dtype} and {mask.dtype}")
    # Masked first, so that an infinite forecast outside the mask has neither an error nor a gradient.
    error = torch.where(mask, forecast.float() - truth / 255, 0).abs()
    weighted = error.square() + error
    if balanced:
        weighted = weighted * _weights(zr, forecast.device)[truth.int()]
    leads = torch.arange(1, forecast.shape[1] + 1, device=forecast.device) ** -float(lead_weighting)
    errors = weighted.sum((2, 3)) * (leads / leads.mean())
    return errors.sum(1).mean() if sums_leads else errors.mean()


def _weights(zr: ZR, device: torch.device) -> Tensor:
    """(256,) weights of the levels; made on the device without a copy, which a CUDA graph could not record."""
    runs = [(weight, len(list(run))) for weight, run in itertools.groupby(zr.weights)]
    return torch.cat([torch.full((length,), weight, device=device, dtype=torch.float32) for weight, length in runs])


def window_loss(
    net: Network,
    forward: Forward,
    frames: Tensor,
    present: Tensor,
    static: Tensor,
    task: Task,
    *,
    balanced: bool = True,
    lead_weighting: float = 0,
) -> Tensor:
    """The loss of a network on windows of J + K frames, without missing frames and locations that are not scored.

    Args:
        net: The network; it says how its loss is scaled and whether it sums over the leads.
        forward: Calls the network, which may be wrapped or compiled.
        frames: (B, J + K, H, W) uint8 levels, 0 where missing.
        present: (B, J + K) bool.
        static: (H, W) or (B, H, W) bool, the static mask, True = scored.
        task: Numbers of frames, and the relation of level to rain rate.
        balanced: As of :func:`forecast_error`.
        lead_weighting: As of :func:`forecast_error`.

    Returns:
        A scalar, the mean over the batch, times ``balanced_scale`` or ``plain_scale`` of the network.
    """
    seen, truth = frames[:, : task.inputs], frames[:, task.inputs :]
    where = scored(truth, static.expand(len(frames), *static.shape[-2:])[:, None])
    mask = where & present[:, task.inputs :, None, None]
    error = forecast_error(
        forward(seen / 255),
        truth,
        mask,
        task.zr,
        balanced=balanced,
        lead_weighting=lead_weighting,
        sums_leads=net.sums_leads,
    )
    return error * (net.balanced_scale if balanced else net.plain_scale)


def rain_loss(net: Network, task: Task, *, balanced: bool = True, lead_weighting: float = 0) -> Loss:
    """The loss of a training on radar frames.

    Args:
        net: The network.
        task: As of :func:`window_loss`.
        balanced: As of :func:`forecast_error`.
        lead_weighting: As of :func:`forecast_error`.

    Returns:
        A function ``loss(forward, batch)`` that returns a scalar; ``forward`` calls the network, ``batch`` is a
        :class:`agents.learning.batch.Batch` of tensors.
    """

    def value(forward: Forward, batch: Tensors) -> Tensor:
        frames, present, static = batch
        return window_loss(
            net, forward, frames, present, static, task, balanced=balanced, lead_weighting=lead_weighting
        )

    return value
