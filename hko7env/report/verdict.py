"""The result of a comparison in a few sentences: who wins, by how much, how surely."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hko7env.report.bootstrap import TRUSTED, Estimate, interval
from hko7env.report.comparison import Comparison
from hko7env.report.section import error_text
from hko7env.units import THRESHOLDS

HIGHER_IS_BETTER = {"csi": True, "hss": True, "b_mse": False, "b_mae": False}


@dataclass(frozen=True)
class Verdict:
    """Who wins in balanced error.

    Attributes:
        best: Index of the run of least B-MSE, or None if there is none.
        decided: Whether its B-MSE is surely below that of all other runs.
        sentences: What a reader should know first, plain text.
    """

    best: int | None
    decided: bool
    sentences: tuple[str, ...]


def is_decided(comparison: Comparison, name: str, first: int, second: int, *index: int) -> bool:
    """Whether the mean over lead times of a score differs surely between two runs.

    Args:
        comparison: The comparison.
        name: Name of the score.
        first: Index of a run.
        second: Index of another run.
        index: The threshold's index, for a score per threshold.
    """
    found = comparison.bootstrap.difference(name, first, second).at(-1, *index)
    return comparison.bootstrap.trusted and bool(found.decided)


def winner(comparison: Comparison, name: str, *index: int) -> tuple[int | None, bool]:
    """The run with the best mean over lead times of a score.

    Returns:
        Its index, or None if the score is undefined for a run or several are equal; and whether it is surely better
        than every other run.
    """
    values = comparison.bootstrap.scores[name].at(slice(None), -1, *index).value
    order = np.argsort(-values if HIGHER_IS_BETTER[name] else values, kind="stable")
    if np.isnan(values).any() or len(values) < 2 or values[order[0]] == values[order[1]]:
        return None, False
    best = int(order[0])
    return best, all(is_decided(comparison, name, best, int(other), *index) for other in order[1:])


def excess(comparison: Comparison, first: int, second: int) -> Estimate:
    """By which share the B-MSE of run ``first`` exceeds that of run ``second``, with its interval."""
    value, drawn = comparison.bootstrap.scores["b_mse"].value[:, -1], comparison.bootstrap.means["b_mse"]
    low, high = interval(_ratio(drawn[first], drawn[second]), comparison.bootstrap.blocks)
    return Estimate(_ratio(value[first], value[second]), low, high)


def _ratio(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(first / second - 1)


def judge(comparison: Comparison) -> Verdict:
    """Say who wins in B-MSE, and in CSI, and whether that is sure."""
    runs, value = comparison.runs, comparison.bootstrap.scores["b_mse"].value[:, -1]
    if len(runs) == 1:
        return Verdict(None, False, (f"One run only, {runs[0].name}: there is nothing to compare it with.",))
    best, decided = winner(comparison, "b_mse")
    if best is None:
        return Verdict(
            None, False, ("No run has the lowest balanced error (B-MSE): the best are equal, or it is undefined.",)
        )
    others = [i for i in range(len(runs)) if runs[i].agent != runs[best].agent] or list(range(len(runs)))
    order = sorted((i for i in others if i != best), key=lambda i: float(value[i]))
    first = f"{runs[best].name} has the lowest error (balanced squared error, B-MSE {error_text(float(value[best]))}): "
    first += _below(comparison, best, order[0])
    first += f" and {_below(comparison, best, order[-1])}" if len(order) > 1 else ""
    return Verdict(best, decided, (f"{first}.", _surely(comparison, best, decided), _csi(comparison)))


def _below(comparison: Comparison, best: int, other: int) -> str:
    value = comparison.bootstrap.scores["b_mse"].value[:, -1]
    share = 1 - value[best] / value[other]
    return f"{share:.{1 if share < 0.1 else 0}%} below {comparison.runs[other].name}"


def _surely(comparison: Comparison, best: int, decided: bool) -> str:
    if not comparison.bootstrap.trusted:
        blocks = comparison.bootstrap.blocks
        held = f"{blocks} independent {'block' if blocks == 1 else 'blocks'} of weather"
        return f"This is not decided: the data hold {held}, and intervals from fewer than {TRUSTED} cannot be trusted."
    if decided:
        return "This is decided: no 95 % interval of its difference from another run holds 0."
    runs = comparison.runs
    others = [i for i in range(len(runs)) if i != best]
    undecided = [i for i in others if not is_decided(comparison, "b_mse", best, i)]
    names = _listed([runs[i].name for i in undecided])
    if all(runs[i].agent == runs[best].agent for i in undecided):
        return (
            "That it is better than every other agent is decided: no 95 % interval of those differences holds 0. Its "
            f"difference from {names} is undecided."
        )
    rest = "" if len(undecided) == len(others) else "; against the others it is decided"
    return f"Its lead over {names} is undecided: the 95 % interval of the difference holds 0{rest}."


def _csi(comparison: Comparison) -> str:
    """Who wins in CSI at which thresholds."""
    parts: dict[str, list[str]] = {}
    for j, threshold in enumerate(THRESHOLDS):
        leader, decided = winner(comparison, "csi", j)
        if leader is not None:
            word = "decided" if decided else "undecided"
            parts.setdefault(f"{comparison.runs[leader].name} ({word})", []).append(f"{threshold:g}")
    said = [f"{name} at {_listed(rates)} mm/h" for name, rates in parts.items()]
    if not said:
        return "No run has the highest CSI: the best are equal, or it is undefined."
    return f"Best at saying where it rains, by CSI: {'; '.join(said)}."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
