"""A training of the network that corrects advected frames, on several archives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hko7env.archive import Archive
from hko7env.split_view import ALL
from hko7env.units import ZR

from ..networks.flow_net import FLOW_NET, Corrected, FlowNet, build_flow_net
from .advected_sampler import AdvectedSampler
from .batch import Source, Tensors
from .distributed import Ranks
from .held_out import open_split
from .loss import Loss
from .train_config import TrainConfig
from .trainer import Trainer
from .weights import load_weights

Tensor = torch.Tensor

EVENT_WEIGHTS = (1.0, 1.0, 2.0, 3.0, 5.0)  # of the log loss of each threshold: the higher, the rarer
ERROR_WEIGHT = 10.0  # of the balanced errors of pixels beside the log loss

CROP = 160  # px
VALIDATION_BATCHES = 40
UNUSED = (  # options of other networks
    "valid_limit", "rain_candidates", "synthetic_size", "synthetic_rows", "resident", "size", "update_gate_bias",
    "link_spacing", "link_rate_share", "balanced", "lead_weighting", "compile", "graph", "fused",
)  # fmt: skip


class CorrectedError:
    """What the network learns to make small, the mean over the scored locations of two terms.

    They are the balanced errors of the pixels, as B-MSE and B-MAE weigh them, and the log loss of the probability that
    each threshold is reached.

    Args:
        zr: Relation of level to rain rate.
        device: Where.
    """

    def __init__(self, zr: ZR, device: torch.device) -> None:
        self._weights = torch.from_numpy(zr.weights.copy()).to(device)
        self._events = torch.from_numpy(zr.threshold_levels.copy()).to(device)[:, None, None]
        self._shares = torch.tensor(EVENT_WEIGHTS, device=device)[:, None, None]

    def __call__(self, corrected: Corrected, truth: Tensor, mask: Tensor) -> Tensor:
        """The error, a scalar.

        Args:
            corrected: Output of the network for B frames.
            truth: (B, H, W) uint8 levels.
            mask: (B, H, W) bool, True = scored.
        """
        count = mask.sum().clamp(min=1)
        error = torch.where(mask, corrected.pixels - truth / 255, 0).abs()
        balanced = ((error.square() + error) * self._weights[truth.int()]).sum() / count
        reached = (truth[:, None] >= self._events).float()
        surprise = F.binary_cross_entropy_with_logits(corrected.logits, reached, reduction="none") * self._shares
        total: Tensor = ERROR_WEIGHT * balanced + (surprise * mask[:, None]).sum() / count
        return total


def advected_loss(zr: ZR, device: torch.device) -> Loss:
    """The loss of a training: ``loss(forward, batch)`` returns a scalar, ``batch`` is an :class:`AdvectedBatch`."""
    error = CorrectedError(zr, device)

    def value(forward: Any, batch: Tensors) -> Tensor:
        newest, context, truth, mask = batch
        return error(forward(newest, context), truth, mask)

    return value


class AdvectedValidation:
    """The loss on fixed batches of the validation splits, which are drawn without variations.

    Args:
        source: Provides the batches.
        net: The network.
        loss: As of :func:`advected_loss`.
        batches: Their number.
    """

    def __init__(self, source: Source, net: FlowNet, loss: Loss, batches: int) -> None:
        self.net, self.loss = net, loss
        device = next(net.parameters()).device
        self.batches = [tuple(torch.as_tensor(part).to(device) for part in source.batch(n)) for n in range(batches)]

    def __call__(self) -> float:
        """The mean loss; lower is better."""
        self.net.train(False)
        with torch.inference_mode():
            return float(np.mean([float(self.loss(self.net, batch)) for batch in self.batches]))


def make_trainer(archives: Sequence[tuple[Archive, float]], config: TrainConfig, ranks: Ranks | None = None) -> Trainer:
    """Make the trainer; ``run`` of the result trains.

    Args:
        archives: What to learn from, and the share of the windows that each one provides. Those that have the
            validation split are validated on.
        config: The options.
        ranks: The processes that share the training.

    Returns:
        A trainer, which continues what is in the folder ``config.out``.

    Raises:
        ValueError: If options and archives do not fit.
        CheckpointError: If a checkpoint cannot be used, or the folder holds another training.
    """
    ranks = ranks or Ranks()
    zr = archives[0][0].zr
    if any(archive.zr != zr for archive, _ in archives):
        raise ValueError("the archives have different relations of level to rain rate: train on each by itself")
    config.refuse_for(FLOW_NET, UNUSED)
    crop = config.crop or CROP
    net = build_flow_net(zr, seed=config.seed, precision=config.precision, device=config.device)
    if config.checkpoint is not None:
        load_weights(net, config.checkpoint)
    loss = advected_loss(zr, next(net.parameters()).device)
    learned = [(open_split(archive, config.split, "split"), share) for archive, share in archives]
    source = AdvectedSampler(learned, ranks.share(config.batch), seed=config.seed, crop=crop)
    validate = None
    if config.valid != "none":
        held = [
            (open_split(a, config.valid, "valid"), share) for a, share in archives if config.valid in (*a.splits, ALL)
        ]
        if not held:
            raise ValueError(f"no archive has a split {config.valid!r} to validate on: choose another, or none")
        fixed = AdvectedSampler(held, range(4), seed=1, crop=crop, varied=False)
        validate = AdvectedValidation(fixed, net, loss, VALIDATION_BATCHES)
    metadata = {**net.metadata, "archives": [[a.fingerprint, share] for a, share in archives]}
    return Trainer(
        net,
        source,
        loss,
        config,
        config.out or Path("training") / "flow_net",
        metadata,
        validate=validate,
        ranks=ranks,
        remedy=f"choose a batch below {config.batch} or a crop below {crop}",
    )
