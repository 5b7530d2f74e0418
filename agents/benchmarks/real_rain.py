"""Scores of agents on archives, in resumable runs, compared with ROVER's on the same sequences."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.evaluation.evaluate import Execution, evaluate_all
from hko7env.evaluation.plan import Plan, open_folder, settings_of
from hko7env.parallel import usable_cores
from hko7env.report.bootstrap import interval
from hko7env.report.reading import read_comparisons
from hko7env.scores import averages
from hko7env.synthetic import default_archive

from .timing import Line

Ratios = dict[str, npt.NDArray[np.float64]]

ROVER = "agents.rover"
FIXED = ("agents.last_frame", ROVER)  # which do not learn
NETWORKS = ("agents.conv2d", "agents.conv3d", "agents.convgru", "agents.trajgru")
LEARNING = ("agents.calibrated_flow", *NETWORKS, "agents.flow_net")  # all come trained


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Scores of all agents, or of ``args.agents``, on each archive."""
    archives = args.archive or [str(default_archive())]
    agents = args.agents or (*FIXED, *LEARNING)
    for path in archives:
        yield from compare_agents(path, agents, args.split, args.out)


def compare_agents(archive: str, agents: Sequence[str], split: str | None, out: Path) -> Iterator[Line]:
    """Scores of agents in runs under ``out``: offline and, if they learn, online.

    Args:
        archive: Path or URL.
        agents: Their names.
        split: A split of the archive, or all; None as of ``evaluate``.
        out: Folder of the run folders.

    Yields:
        Mean scores over the lead times, CSI and frequency bias at the five thresholds, their ratios to ROVER's, and
        the differences from ROVER in mean CSI and B-MSE with 95 % intervals.
    """
    reference = Plan(ROVER, False, archive, split)
    settings = [(name, online) for name in agents for online in settings_of(name)]
    plans = [Plan(name, online, archive, split) for name, online in settings]
    results = evaluate_all([reference, *plans], out, Execution(workers=usable_cores()))
    rover = averages(results[0].tally)
    for plan, result in zip(plans, results[1:], strict=True):
        mean = averages(result.tally)
        ratios = {key: plain(values) for key, values in find_ratios(mean, rover).items()}
        ahead = {} if plan.agent == ROVER else find_differences(plan, reference, out)
        label = f"{Path(archive).stem}/{plan.label}"
        yield {"name": label, "sequences": result.tally.sequences, **_figures(mean), **ratios, **ahead}


def find_differences(plan: Plan, reference: Plan, out: Path) -> dict[str, Any]:
    """Differences of two finished runs of the same sequences, with 95 % intervals of the paired block bootstrap.

    Args:
        plan: A run under ``out``.
        reference: Another one.
        out: Folder of the run folders.

    Returns:
        The first run's mean CSI, over lead times and those thresholds at which it is defined, minus the second's, and
        the same of B-MSE, each with the ends of its interval, and the number of blocks. The ends are None with fewer
        blocks than :data:`hko7env.report.bootstrap.TRUSTED`, which do not show how much scores vary.
    """
    (found,) = read_comparisons([_find_folder(one, out) for one in (plan, reference)])
    one, other = ([run.agent for run in found.runs].index(each.agent) for each in (plan, reference))
    boot = found.bootstrap
    csi = boot.scores["csi"].value[:, -1]  # means over lead times (S, 5)
    known = np.isfinite(csi[[one, other]]).all(axis=0)
    drawn = {
        "csi": boot.means["csi"][one, known].mean(axis=0) - boot.means["csi"][other, known].mean(axis=0),
        "b_mse": boot.means["b_mse"][one] - boot.means["b_mse"][other],
    }
    value = {
        "csi": float(csi[one, known].mean() - csi[other, known].mean()),
        "b_mse": float(boot.difference("b_mse", one, other).value[-1]),
    }
    unknown = (np.nan, np.nan)
    ends = {name: interval(draws, boot.blocks) if boot.trusted else unknown for name, draws in drawn.items()}
    digits = {"csi": 4, "b_mse": 0}
    lines = {f"{name} difference": [plain(part, digits[name]) for part in (value[name], *ends[name])] for name in value}
    return {**lines, "blocks": boot.blocks}


def _find_folder(plan: Plan, out: Path) -> Path:
    env = plan.environment()
    return open_folder(plan, env, min(plan.limit or len(env.schedule), len(env.schedule)), out).path


def _figures(mean: dict[str, Any]) -> dict[str, Any]:
    return {name: plain(mean[name], 4 if name in ("csi", "bias") else 0) for name in ("csi", "bias", "b_mse", "b_mae")}


def find_ratios(mean: dict[str, Any], reference: dict[str, Any]) -> Ratios:
    """Scores divided by those of the reference; NaN where that is 0 or undefined."""
    ratios = {}
    for name in ("csi", "b_mse", "b_mae"):
        divisor = np.asarray(reference[name], float)
        ratios[f"{name} ratio"] = np.asarray(mean[name]) / np.where(divisor > 0, divisor, np.nan)
    return ratios


def plain(values: Any, digits: int = 3) -> Any:
    """Rounded numbers for JSON; None where a score is undefined."""
    numbers = np.round(np.asarray(values, float), digits).tolist()
    if isinstance(numbers, list):
        return [plain(number, digits) for number in numbers]
    return None if np.isnan(numbers) else numbers
