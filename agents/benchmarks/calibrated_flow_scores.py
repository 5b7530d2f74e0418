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
from hko7env.contract import Agent
from hko7env.env import NowcastingEnv
from hko7env.evaluation.evaluate import Plan, evaluate
from hko7env.loading import load
from hko7env.runner import run
from hko7env.scores import Tally, averages
from hko7env.synthetic import default_archive

from ..calibrated_flow import CalibratedFlow, Config
from ..calibration import prior
from ..calibration.features import SHAPE, Bins, Features
from ..optical_flow.segment_motion import REDUCTIONS, Tensor, estimate_motion
from .timing import Line

Ratios = dict[str, npt.NDArray[np.float64]]

OURS, ROVER = "agents.calibrated_flow", "agents.rover"
AGENTS = (("agents.last_frame", False), (ROVER, False), (OURS, False), (OURS, True))  # name, online


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Scores on each archive; with ``args.ablation``, of variants of the agent instead of other agents."""
    archives = args.archive or [str(default_archive())]
    yield from ablation(archives, args.split) if args.ablation else compare_agents(archives, args.split, args.out)


def compare_agents(archives: list[str], split: str | None, out: Path) -> Iterator[Line]:
    """Scores of each of AGENTS in resumable runs under ``out``, with their ratios to ROVER's."""
    for path in archives:
        rover = averages(evaluate(Plan(ROVER, False, path, split), out).tally)
        for name, online in AGENTS:
            tally = evaluate(Plan(name, online, path, split), out).tally
            mean = averages(tally)
            ratios = {key: _plain(values) for key, values in _ratios(mean, rover).items()}
            label = f"{Path(path).stem}/{name} {'online' if online else 'offline'}"
            yield {"name": label, "sequences": tally.sequences, **_figures(mean), **ratios}


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
            found.append(_ratios(averages(_run(env, _make(env, variant), label)), reference))
        means = {name: _plain(np.mean([one[name] for one in found], axis=0)) for name in found[0]}
        yield {"name": f"ablation/{label}", **means}


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


def _figures(mean: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(mean[name], 4 if name in ("csi", "bias") else 0) for name in ("csi", "bias", "b_mse", "b_mae")}


def _ratios(mean: dict[str, Any], reference: dict[str, Any]) -> Ratios:
    """Scores divided by those of the reference; NaN where that is 0 or undefined."""
    ratios = {}
    for name in ("csi", "b_mse", "b_mae"):
        divisor = np.asarray(reference[name], float)
        ratios[f"{name} ratio"] = np.asarray(mean[name]) / np.where(divisor > 0, divisor, np.nan)
    return ratios


def _plain(values: Any, digits: int = 3) -> Any:
    """Rounded numbers for JSON; None where a score is undefined."""
    numbers = np.round(np.asarray(values, float), digits).tolist()
    if isinstance(numbers, list):
        return [_plain(number, digits) for number in numbers]
    return None if np.isnan(numbers) else numbers
