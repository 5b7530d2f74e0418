"""Scores of agents on archives, in resumable runs, with their ratios to ROVER's on the same sequences."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.evaluation.evaluate import Plan, evaluate
from hko7env.scores import averages
from hko7env.synthetic import default_archive

from .timing import Line

Ratios = dict[str, npt.NDArray[np.float64]]

ROVER = "agents.rover"
FIXED = ("agents.last_frame", ROVER)  # which do not learn: offline and online are the same
LEARNING = ("agents.calibrated_flow", "agents.convgru", "agents.trajgru", "agents.flow_net")


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
        Mean scores over the lead times, CSI and frequency bias at the five thresholds, and the ratios to ROVER's.
    """
    rover = averages(evaluate(Plan(ROVER, False, archive, split), out).tally)
    for name in agents:
        for online in (False,) if name in FIXED else (False, True):
            tally = evaluate(Plan(name, online, archive, split), out).tally
            mean = averages(tally)
            ratios = {key: plain(values) for key, values in find_ratios(mean, rover).items()}
            label = f"{Path(archive).stem}/{name} {'online' if online else 'offline'}"
            yield {"name": label, "sequences": tally.sequences, **_figures(mean), **ratios}


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
