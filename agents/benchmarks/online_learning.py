"""What each way of learning online is worth: scores of the paper's networks on a validation split of each archive."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.plan import Plan
from hko7env.scores import Tally, averages
from hko7env.synthetic import default_archive
from hko7env.units import THRESHOLDS

from .timing import Line

MODELS = ("trajgru", "convgru")
SPLIT = "valid"
FREQUENCY_BIAS_AT = THRESHOLDS.index(5.0)  # mm/h

VARIANTS: dict[str, Mapping[str, Any]] = {  # options of the online run; "offline" learns nothing
    "offline": {},
    "Algorithm 1": {},
    "Algorithm 1 at ten times the rate": {"online_rate": 1e-3},
    "Algorithm 1 at thirty times the rate": {"online_rate": 3e-3},
    "frequency bias by lead alone": {"lead_bias": True, "learn": "last", "online_rate": 0.0},
    "Algorithm 1 at ten times the rate, frequency bias by lead": {"lead_bias": True, "online_rate": 1e-3},
    "last layers alone": {"learn": "last"},
    "last layers alone at ten times the rate": {"learn": "last", "online_rate": 1e-3},
    "reset in each episode": {"reset": True},
    "leads that are due": {"due_leads": True},
    "replay of two windows": {"replay_windows": 2},
}


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Scores of each variant in resumable runs under ``args.out``."""
    archives = args.archive or [str(default_archive())]
    yield from compare_variants(archives, args.models or MODELS, args.split or SPLIT, args.limit, args.out)


def compare_variants(
    archives: list[str], models: tuple[str, ...], split: str, limit: int | None, out: Path
) -> Iterator[Line]:
    """One line for each variant, network and archive.

    Args:
        archives: Paths or URLs.
        models: Networks that have agents.
        split: Split to run; choose no test split, from which nothing may be chosen.
        limit: The first sequences to run; None for all.
        out: Folder of run folders.
    """
    for path in archives:
        for label, options in VARIANTS.items():
            for model in models:
                plan = Plan(f"agents.{model}", label != "offline", path, split, limit, options=dict(options))
                tally = evaluate(plan, out).tally
                yield {"name": f"online-learning/{Path(path).stem}/{model}/{label}", **describe(tally)}


def describe(tally: Tally) -> Line:
    """CSI at the five thresholds, B-MSE, B-MAE and the frequency bias at 5 mm/h, each the mean over leads."""
    mean = averages(tally)
    return {
        "sequences": tally.sequences,
        "csi": [_plain(value, 4) for value in mean["csi"]],
        "b_mse": _plain(mean["b_mse"], 0),
        "b_mae": _plain(mean["b_mae"], 0),
        "bias": _plain(mean["bias"][FREQUENCY_BIAS_AT], 2),
    }


def _plain(value: Any, digits: int) -> float | None:
    """A rounded number for JSON; None where a score is undefined."""
    return None if np.isnan(value) else round(float(value), digits)
