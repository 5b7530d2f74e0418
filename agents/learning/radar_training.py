"""A training on radar frames, made from its options."""

from pathlib import Path

import numpy as np

from hko7env.archive import Archive
from hko7env.contract import Task
from hko7env.schedule import INPUTS, LEADS
from hko7env.split_view import SplitView

from ..networks.devices import select_device
from ..networks.network import Network
from ..networks.paper_tables import total_stride
from ..networks.registry import build, find_network
from .archive_sampler import ArchiveSampler
from .batch import Source
from .checkpoint import digest
from .distributed import Ranks
from .loss import rain_loss
from .torch_rain import TorchRain
from .train_config import TrainConfig
from .trainer import Trainer
from .validation import Validation
from .weights import load_weights


def make_trainer(model: str, archive: Archive, config: TrainConfig, ranks: Ranks | None = None) -> Trainer:
    """Make the trainer of a network on radar frames; ``run`` of the result trains.

    Args:
        model: One of :data:`agents.networks.registry.NETWORKS`.
        archive: What to learn from and to validate on. With ``synthetic_size`` it gives cadence, relation of level to
            rain rate and validation only.
        config: The options.
        ranks: The processes that share the training.

    Returns:
        A trainer, which continues what is in the folder ``config.out``.

    Raises:
        ValueError: If options, archive and network do not fit.
        MissingCheckpointError: If there is no checkpoint at ``config.checkpoint``.
        CheckpointError: If a checkpoint cannot be used, or the folder holds another training.
    """
    ranks = ranks or Ranks()
    side = config.synthetic_size or config.crop
    shape = (side, side) if side else archive.shape
    task = Task(INPUTS, LEADS, *shape, archive.cadence, np.ones(shape, bool), archive.zr)
    stride = total_stride(find_network(model).select_table(config.size))
    source = _make_source(archive, config, stride, ranks)
    net = build(model, config.size, task, seed=config.seed, precision=config.precision, device=config.device)
    metadata = dict(net.metadata)
    metadata |= {"checkpoint": _begin(net, config), "cadence": archive.cadence, "archive": archive.fingerprint}
    if net.sums_leads:  # earlier versions averaged: their trainings cannot be continued
        metadata["loss"] = "sum over leads"
    net = ranks.share_batch_statistics(net)
    validate = None
    if config.valid != "none":
        validate = Validation(_validation_view(archive, config), net, ranks, config.valid_limit)
    return Trainer(
        net,
        source,
        rain_loss(net, task, balanced=config.balanced, lead_weighting=config.lead_weighting),
        config,
        config.out or Path("training") / f"{model}-{config.size}",
        metadata,
        validate=validate,
        ranks=ranks,
        compiled=config.compile,
        graph=config.graph,
        remedy=f"choose a batch below {config.batch}, a crop below {min(shape)}, size small or precision bf16",
    )


def _validation_view(archive: Archive, config: TrainConfig) -> SplitView:
    """The split to choose the best checkpoint on, which must hold no frame of a test split.

    Raises:
        ValueError: If it does, or there is no such split.
    """
    view = SplitView(archive, config.valid)
    for test in (name for name in archive.splits if name.startswith("test")):
        if np.isin(archive.select(test), view.times).any():
            others = [repr(name) for name in archive.splits if name != config.split and not name.startswith("test")]
            raise ValueError(
                f"valid {config.valid!r} holds frames of the split {test!r} of {archive.name}: scores of a checkpoint "
                f"that was chosen on test frames show no skill; choose {' or '.join([*others, 'none'])}, or give the "
                "archive a validation split"
            )
    return view


def _make_source(archive: Archive, config: TrainConfig, stride: int, ranks: Ranks) -> Source:
    rows = ranks.share(config.batch)
    if config.synthetic_size is None:
        return ArchiveSampler(
            SplitView(archive, config.split),
            rows,
            seed=config.seed,
            crop=config.crop,
            stride=stride,
            candidates=config.rain_candidates,
        )
    shape = (config.synthetic_size, config.synthetic_size)
    own = config.seed * ranks.count + ranks.rank  # other rain in each process
    device = str(select_device(config.device))
    return TorchRain(shape, INPUTS + LEADS, len(rows), seed=own, cadence=archive.cadence, device=device)


def _begin(net: Network, config: TrainConfig) -> str | None:
    """Give ``net`` the weights to begin with; the digest of those of a checkpoint, None for random ones."""
    found = None
    if config.checkpoint is not None:
        load_weights(net, config.checkpoint)
        found = digest(net.state_dict())
    if config.update_gate_bias:
        net.set_update_gate_bias(config.update_gate_bias)
    if config.link_spacing:
        net.initialise_links(config.link_spacing)
    return found
