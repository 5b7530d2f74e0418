"""A training on radar frames, made from its options."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.archive import Archive
from hko7env.contract import Task
from hko7env.naming import suggest
from hko7env.schedule import INPUTS, LEADS
from hko7env.split_view import ALL

from ..networks.devices import select_device
from ..networks.flow_net import FLOW_NET
from ..networks.network import Network
from ..networks.paper_tables import total_stride
from ..networks.registry import NETWORKS, build, find_network
from .archive_sampler import ArchiveSampler, MixedSampler
from .batch import Source
from .checkpoint import digest
from .device_sources import JoinedSource, RainSource, ResidentSampler
from .distributed import Ranks
from .flow_training import make_trainer as make_flow_trainer
from .held_out import open_split
from .loss import rain_loss
from .torch_rain import TorchRain
from .train_config import TrainConfig
from .trainer import Trainer
from .validation import Validation, average_relative
from .weights import load_weights

TRAINABLE = (*NETWORKS, FLOW_NET)
RAIN_STEPS = 4  # steps whose synthetic rain a GPU makes at a time: it takes hardly longer than that of one step


def make_trainer(
    model: str, archives: Sequence[tuple[Archive, float]], config: TrainConfig, ranks: Ranks | None = None
) -> Trainer:
    """Make the trainer of a network on radar frames; ``run`` of the result trains.

    Args:
        model: One of :data:`TRAINABLE`.
        archives: What to learn from, each with its share of the windows. Those that have the validation split are
            validated on. With ``synthetic_size``, and no ``synthetic_rows``, the only archive gives cadence, relation
            of level to rain rate and validation.
        config: The options.
        ranks: The processes that share the training.

    Returns:
        A trainer, which continues what is in the folder ``config.out``.

    Raises:
        ValueError: If options, archives and network do not fit.
        MissingCheckpointError: If there is no checkpoint at ``config.checkpoint``.
        CheckpointError: If a checkpoint cannot be used, or the folder holds another training.
    """
    ranks = ranks or Ranks()
    _check_archives([archive for archive, _ in archives], config)
    if model == FLOW_NET:
        return make_flow_trainer(archives, config, ranks)
    archive = archives[0][0]
    side = config.synthetic_size or config.crop
    shape = (side, side) if side else archive.shape
    task = Task(INPUTS, LEADS, *shape, archive.cadence, np.ones(shape, bool), archive.zr)
    stride = total_stride(find_network(model).select_table(config.size))
    source = _make_source(archives, config, stride, ranks)
    precision, device, fused = config.precision, config.device, config.fused
    net = build(model, config.size, task, seed=config.seed, precision=precision, device=device, fused=fused)
    metadata = dict(net.metadata)
    metadata |= {"checkpoint": _begin(net, config), **_describe(archives)}
    if net.sums_leads:  # earlier versions averaged: their trainings cannot be continued
        metadata["loss"] = "sum over leads"
    net = ranks.share_batch_statistics(net)
    return Trainer(
        net,
        source,
        rain_loss(net, task, balanced=config.balanced, lead_weighting=config.lead_weighting),
        config,
        config.out or Path("training") / f"{model}-{config.size}",
        metadata,
        validate=_make_validation([archive for archive, _ in archives], net, config, ranks),
        ranks=ranks,
        compiled=config.compile,
        graph=config.graph,
        remedy=f"choose a batch below {config.batch}, a crop below {min(shape)}, size small or precision bf16",
    )


def _check_archives(archives: Sequence[Archive], config: TrainConfig) -> None:
    """Raise ValueError if the archives cannot be learned from together."""
    if not archives:
        raise ValueError("there is no archive to learn from")
    if any(archive.zr != archives[0].zr for archive in archives):
        names = ", ".join(f"{archive.name} a {archive.zr.a} b {archive.zr.b}" for archive in archives)
        raise ValueError(f"the archives have different relations of level to rain rate ({names}): train on each alone")
    if config.synthetic_size is not None and config.synthetic_rows is None and len(archives) > 1:
        raise ValueError("with synthetic_size the archive only validates: give one archive, or synthetic_rows")


def _describe(archives: Sequence[tuple[Archive, float]]) -> dict[str, Any]:
    """The archives in the metadata of checkpoints; those of one archive are as in earlier versions."""
    if len(archives) == 1:
        return {"cadence": archives[0][0].cadence, "archive": archives[0][0].fingerprint}
    return {
        "cadence": [archive.cadence for archive, _ in archives],
        "archives": [[archive.fingerprint, share] for archive, share in archives],
    }


def _make_validation(
    archives: Sequence[Archive], net: Network, config: TrainConfig, ranks: Ranks
) -> Callable[[], float] | None:
    """The validation on those archives that have the split; on several of them it is relative to the last frame."""
    if config.valid == "none":
        return None
    held = [archive for archive in archives if config.valid in (*archive.splits, ALL)] if archives[1:] else archives
    if not held:
        names = sorted({name for archive in archives for name in archive.splits})
        raise ValueError(f"no archive has the split {config.valid!r} to validate on, {suggest(config.valid, names)}")
    found = [Validation(open_split(archive, config.valid, "valid"), net, ranks, config.valid_limit) for archive in held]
    return average_relative(found) if archives[1:] else found[0]


def _make_source(archives: Sequence[tuple[Archive, float]], config: TrainConfig, stride: int, ranks: Ranks) -> Source:
    rows = ranks.share(config.batch)
    if config.synthetic_size is None:
        return _make_sampler(archives, config, stride, rows)
    first = config.batch - (config.synthetic_rows or config.batch)  # row from which on the rain is synthetic
    real = range(min(rows.start, first), min(rows.stop, first))
    made = len(rows) - len(real)
    sources: list[Source] = [_make_sampler(archives, config, stride, real)] if real else []
    device = select_device(config.device)
    if made:
        shape = (config.synthetic_size, config.synthetic_size)
        steps = RAIN_STEPS if device.type == "cuda" else 1
        own = config.seed * ranks.count + ranks.rank  # other rain in each process
        cadence = archives[0][0].cadence
        rain = TorchRain(shape, INPUTS + LEADS, made * steps, seed=own, cadence=cadence, device=str(device))
        sources.append(RainSource(rain, steps))
    return sources[0] if len(sources) == 1 else JoinedSource(sources, device)


def _make_sampler(archives: Sequence[tuple[Archive, float]], config: TrainConfig, stride: int, rows: range) -> Source:
    """Windows of the archives."""
    options: dict[str, Any] = {
        "seed": config.seed,
        "crop": config.crop or config.synthetic_size,
        "stride": stride,
        "candidates": config.rain_candidates,
        "varied": config.varied,
    }
    kind: Any = ArchiveSampler
    if config.resident:
        kind, options["device"] = ResidentSampler, select_device(config.device)
    samplers = [kind(open_split(archive, config.split, "split"), rows, **options) for archive, _ in archives]
    shares = [share for _, share in archives]
    return samplers[0] if len(samplers) == 1 else MixedSampler(samplers, shares, rows, seed=config.seed)


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
