"""How errors rank runs compared with skill scores (Shi et al. 2017, Table 5), and runs of several seeds (Table 4)."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from hko7env.report.comparison import Comparison, Run
from hko7env.scores import Tally, averages
from hko7env.units import THRESHOLDS

ERRORS_OF_TABLE_5 = ("mse", "mae", "b_mse", "b_mae")
SKILLS_OF_TABLE_5 = ("csi", "hss")
LEAST_RUNS = 3  # of two runs tau is 1 or -1 whatever they are


def rank_correlations(tallies: Iterable[Tally]) -> npt.NDArray[np.float64]:
    """Kendall's tau-b (Kendall 1945) between each error and each skill score over runs.

    Args:
        tallies: One tally a run.

    Returns:
        (4, 2, 5) float64: errors MSE, MAE, B-MSE, B-MAE; CSI and HSS; thresholds. -1 where the runs with the smaller
        error always have the higher skill. NaN if a score is undefined for a run, or equal for all.
    """
    from scipy.stats import kendalltau

    means = [averages(tally) for tally in tallies]
    result = np.full((len(ERRORS_OF_TABLE_5), len(SKILLS_OF_TABLE_5), len(THRESHOLDS)), np.nan)
    for i, error in enumerate(ERRORS_OF_TABLE_5):
        for j, skill in enumerate(SKILLS_OF_TABLE_5):
            for k in range(len(THRESHOLDS)):
                x = np.array([float(mean[error]) for mean in means])
                y = np.array([float(mean[skill][k]) for mean in means])
                if len(x) > 1 and np.isfinite(x + y).all() and np.ptp(x) > 0 and np.ptp(y) > 0:
                    result[i, j, k] = kendalltau(x, y).statistic
    return result


def seed_groups(comparison: Comparison) -> list[tuple[str, Sequence[Run]]]:
    """Runs that differ in the option ``seed`` alone, at least two a group, with the name of the group."""
    groups: dict[str, list[Run]] = {}
    for run in comparison.runs:
        if "seed" in run.options:
            rest = {name: value for name, value in run.options.items() if name != "seed"}
            groups.setdefault(f"{run.agent} {run.setting} {sorted(rest.items())!r} {run.identity['code']}", []).append(
                run
            )
    return [(_name(runs[0]), runs) for runs in groups.values() if len({str(run.options["seed"]) for run in runs}) > 1]


def _name(run: Run) -> str:
    return f"{run.short_agent} {run.setting}"
