"""Scores of ``agents.calibrated_flow`` beside ROVER's on each archive, and what each of its parts is worth."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive import Archive
from hko7env.contract import Agent
from hko7env.env import NowcastingEnv
from hko7env.loading import load
from hko7env.runner import run
from hko7env.schedule import LEADS
from hko7env.scores import Tally, averages
from hko7env.split_view import SplitView
from hko7env.synthetic import default_archive

from ..calibrated_flow import CalibratedFlow, Config
from ..calibration import prior
from ..calibration.counting import count_archive
from ..calibration.counts import CLASSES, OWN
from ..calibration.features import SHAPE, Bins, Features
from ..optical_flow.segment_motion import REDUCTIONS, Tensor, estimate_motion
from .real_rain import ROVER, compare_agents, find_ratios, plain
from .timing import Line

OURS = "agents.calibrated_flow"
AGENTS = ("agents.last_frame", ROVER, OURS)


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Scores on each archive; with ``args.ablation`` of variants of the agent, with ``args.hindsight`` a bound."""
    archives = args.archive or [str(default_archive())]
    if args.ablation:
        yield from ablation(archives, args.split)
    elif args.hindsight:
        yield from hindsight(archives, args.split)
    else:
        for path in archives:
            yield from compare_agents(path, AGENTS, args.split, args.out)


class LastPair(Features):
    """The motion of the newest two frames alone."""

    def motion(self, levels: Tensor, present: npt.NDArray[np.bool_]) -> Tensor:
        """The motion of the newest pair."""
        newest = np.zeros_like(present)
        newest[np.flatnonzero(present)[-2:]] = True
        return estimate_motion(levels, newest)


class NoMotion(Features):
    """No motion."""

    def motion(self, levels: Tensor, present: npt.NDArray[np.bool_]) -> Tensor:
        """Zeros."""
        return 0 * super().motion(levels, present)


class DryInflow(Features):
    """No echo arrives from outside the frame."""

    outside = "zeros"


class OneEstimate(Features):
    """The motion estimated once, on the finest grid."""

    def motion(self, levels: Tensor, present: npt.NDArray[np.bool_]) -> Tensor:
        """The motion by linear terms."""
        return estimate_motion(levels, present, REDUCTIONS[-1:])


class LevelOnly(Features):
    """The level alone."""

    kept = (True, True, False)  # event, level, share

    def bins(self, frames: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_], leads: int) -> Bins:
        """Bins of the features that are kept; those of the others are 0."""
        bins = super().bins(frames, present, leads)
        _, level, share = self.kept
        own = np.arange(SHAPE[0], dtype=np.int16)[:, None, None] * (SHAPE[1] * SHAPE[2])
        return Bins(bins.rows * level, own + (bins.columns - own) * share, bins.wet)


class ShareOnly(LevelOnly):
    """The shares of the neighbourhood alone."""

    kept = (True, False, True)


class Variant(NamedTuple):
    """A variant of the agent: options that differ from the default ones, and the class of its features."""

    options: Mapping[str, Any] = {}
    features: type[Features] = Features


VARIANTS = {
    "as shipped": Variant(),
    "motion of the last pair alone": Variant(features=LastPair),
    "motion estimated once": Variant(features=OneEstimate),
    "no motion": Variant(features=NoMotion),
    "no echo from outside the frame": Variant(features=DryInflow),
    "level alone": Variant(features=LevelOnly),
    "share alone": Variant(features=ShareOnly),
    "aim mse": Variant({"aim": "mse"}),
    "aim mae": Variant({"aim": "mae"}),
    "nothing learned": Variant({"half_life": 0.0}),
}


def ablation(archives: list[str], split: str | None) -> Iterator[Line]:
    """Ratios of each variant's online scores to ROVER's, in the mean over archives.

    All use the shipped prior, also where their motion differs from the one that it was counted with; a feature is left
    out by adding up the counts of its bins.
    """
    environments = [NowcastingEnv(path, split=split) for path in archives]
    rover = [averages(_run(env, load(ROVER, env.task), ROVER)) for env in environments]
    for label, variant in VARIANTS.items():
        found = []
        for env, reference in zip(environments, rover, strict=True):
            found.append(find_ratios(averages(_run(env, _make(env, variant), label)), reference))
        means = {name: plain(np.mean([one[name] for one in found], axis=0)) for name in found[0]}
        yield {"name": f"ablation/{label}", **means}


def hindsight(archives: list[str], split: str | None) -> Iterator[Line]:
    """The CSI that no choice of probabilities and thresholds exceeds with the agent's features, at verified locations.

    Probabilities are the frequencies of the very sequences that are scored, and thresholds are the best for them.
    """
    for path in archives:
        view = SplitView(Archive(path), split)
        with TemporaryDirectory() as folder:
            counts = count_archive(view, Path(folder)).counts[:LEADS]
        yield {"name": f"hindsight/{Path(path).stem}", "sequences": len(view.schedule), "csi": plain(best_csi(counts))}


def best_csi(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The highest CSI (5,) of each event, mean over lead times, if any set of bins may be chosen to forecast it.

    CSI is highest for the bins where the event was most frequent, down to some frequency.

    Args:
        counts: (K, N, 6) what was observed in each bin.
    """
    cube = counts.reshape(len(counts), SHAPE[0], -1, CLASSES)
    hits, cells = (cube * OWN[:, None]).sum(-1), cube.sum(-1)
    order = np.argsort(-hits / np.maximum(cells, 1), axis=-1)
    hit, ahead = (np.cumsum(np.take_along_axis(part, order, -1), axis=-1) for part in (hits, cells))
    csi = hit / np.maximum(hit[..., -1:] + ahead - hit, 1)
    best: npt.NDArray[np.float64] = csi.max(-1).mean(0)
    return best


def _make(env: NowcastingEnv, variant: Variant) -> CalibratedFlow:
    kept = getattr(variant.features, "kept", None)
    config = Config(**variant.options)
    if kept is None:
        return CalibratedFlow(env.task, config, variant.features)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "prior.safetensors"
        shipped = prior.read(prior.SHIPPED, env.task.zr)
        prior.write(path, merge(shipped.counts, kept), shipped.means, shipped.zr, {})
        return CalibratedFlow(env.task, replace(config, prior=path), variant.features)


def merge(counts: npt.NDArray[np.float32], kept: tuple[bool, ...]) -> npt.NDArray[np.float32]:
    """Add up the counts (K, N, 6) over the features that are not kept, into their first bin."""
    cube = counts.reshape(len(counts), *SHAPE, -1)
    dropped = tuple(axis + 1 for axis, keep in enumerate(kept) if not keep)
    merged = np.zeros_like(cube)
    first = (slice(None), *(slice(None) if keep else slice(1) for keep in kept))
    merged[first] = cube.sum(dropped, keepdims=True)
    return merged.reshape(counts.shape)


def _run(env: NowcastingEnv, agent: Agent, label: str) -> Tally:
    with progress.bar(len(env.schedule), f"{env.archive.name} {label}", "seq") as bar:
        return run(env, agent, after=lambda _: bar.update())
