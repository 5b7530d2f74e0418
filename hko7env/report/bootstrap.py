"""Paired block bootstrap: 95 % intervals of scores, and of differences between runs, from tallies by sequence.

Blocks of sequences are drawn with replacement, the tallies of the drawn blocks are added, and all scores are computed
anew from the sums (Efron and Tibshirani 1993, chapters 8 and 13; Hamill 1999 for differences of pooled scores). All
runs share the draws, so what is difficult for all of them cancels in a difference. The ends of an interval are
percentiles of the draws, further out where blocks are few, see :func:`tail_share`.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.scores import SCORES, Tally

DRAWS, SEED = 2000, 0
TRUSTED = 10  # blocks; fewer do not show how much scores vary
_TAIL = 0.025  # share of draws beyond each end of an interval from many blocks

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Estimate(NamedTuple):
    """A score or a difference with its 95 % interval, arrays of one shape.

    An undefined score is NaN. A draw in which a score is undefined counts as beyond both ends, so that an interval is
    infinite if more draws than those that it leaves out are undefined.
    """

    value: Floats
    low: Floats
    high: Floats

    def at(self, *index: Any) -> "Estimate":
        """The part of the arrays that ``index`` selects."""
        return Estimate(*(np.asarray(part[index]) for part in self))

    @property
    def decided(self) -> npt.NDArray[np.bool_]:
        """Whether the interval of a difference leaves out 0."""
        return np.asarray((self.low > 0) | (self.high < 0))


class BlockSums(NamedTuple):
    """Tallies of a run added up by block: sequences (B,), counts (B, 4, K, 5), sums (B, 4, K), all float64."""

    sequences: Floats
    counts: Floats
    sums: Floats


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Intervals of S runs. The lead axis has K + 1 entries: the lead times, and last the mean over them.

    Attributes:
        blocks: Number B of blocks.
        scores: By name of the score: (S, K + 1, 5), or (S, K + 1) for errors.
        differences: By name of the score: first run minus second, (P, K + 1, 5) or (P, K + 1), for the P pairs.
        pairs: (P, 2) indices of runs, the first below the second.
        means: By name of the score: (S, 5, R) or (S, R), the mean over the lead times in each of R draws.
    """

    blocks: int
    scores: dict[str, Estimate]
    differences: dict[str, Estimate]
    pairs: Integers
    means: dict[str, Floats]

    @property
    def trusted(self) -> bool:
        """Whether there are enough blocks for the intervals to be trusted."""
        return self.blocks >= TRUSTED

    def difference(self, name: str, first: int, second: int) -> Estimate:
        """Score ``name`` of run ``first`` minus that of run ``second``, (K + 1, 5) or (K + 1,)."""
        if first == second:
            nothing = np.zeros(self.scores[name].value.shape[1:])
            return Estimate(nothing, nothing, nothing)
        wanted = sorted((first, second))
        (found,) = np.flatnonzero((self.pairs == wanted).all(axis=1))
        pair = self.differences[name].at(found)
        return pair if first < second else Estimate(-pair.value, -pair.high, -pair.low)


def add_up(block: Integers, counts: Integers, sums: Floats) -> BlockSums:
    """Add up the tallies of each block.

    Args:
        block: (N,) numbers of the blocks, 0 to B - 1, each present, in increasing order.
        counts: (N, 4, K, 5) :data:`hko7env.scores.COUNTS`.
        sums: (N, 4, K) :data:`hko7env.scores.ERRORS`.
    """
    first = np.flatnonzero(np.diff(block, prepend=-1))
    sequences = np.bincount(block).astype(np.float64)
    return BlockSums(sequences, np.add.reduceat(counts, first).astype(np.float64), np.add.reduceat(sums, first))


def draw_blocks(blocks: int, draws: int = DRAWS, seed: int = SEED) -> Floats:
    """(R, B) float64: how often each of B blocks is in each of R draws of B blocks with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), draws).astype(np.float64)


def resample(run: BlockSums, drawn: Floats) -> Tally:
    """The tallies of the draws ``drawn`` (R, B), in arrays whose last axis has R entries: (K, 5, R) and (K, R).

    Counts are float64, which holds them exactly below 2^53.
    """
    parts = [np.moveaxis(np.tensordot(drawn, part, 1), 0, -1) for part in (run.counts, run.sums)]
    made: Any = Tally
    tally: Tally = made(drawn @ run.sequences, *parts[0], *parts[1])
    return tally


def bootstrap(
    runs: Sequence[BlockSums], draws: int = DRAWS, seed: int = SEED, names: Container[str] | None = None
) -> Bootstrap:
    """Compute the intervals of scores of all runs and of all differences between two runs.

    Args:
        runs: At least one run; all of the same blocks.
        draws: Number R of draws, at least 40.
        seed: Seed of the draws.
        names: Names of the scores; None means all.

    Returns:
        Point estimates from the tallies themselves, intervals from the draws.

    Raises:
        ValueError: For too few draws.
    """
    if draws * _TAIL < 1:
        raise ValueError(f"95 % intervals need at least {round(1 / _TAIL)} draws, got {draws}")
    blocks = len(runs[0].sequences)
    drawn = np.concatenate([np.ones((1, blocks)), draw_blocks(blocks, draws, seed)])  # first the runs as they are
    tallies = [resample(run, drawn) for run in runs]
    pairs = np.array([(i, j) for i in range(len(runs)) for j in range(i + 1, len(runs))], np.int64).reshape(-1, 2)
    scores, differences, means = {}, {}, {}
    for score in (score for score in SCORES if names is None or score.name in names):
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.stack([score.formula(tally) for tally in tallies])
        values[~np.isfinite(values)] = np.nan
        values = np.concatenate([values, values.mean(axis=1, keepdims=True)], axis=1)
        scores[score.name] = _estimate(values, blocks)
        differences[score.name] = _estimates_of_pairs(values, pairs, blocks)
        means[score.name] = values[:, -1, ..., 1:]
    return Bootstrap(blocks, scores, differences, pairs, means)


def _estimates_of_pairs(values: Floats, pairs: Integers, blocks: int) -> Estimate:
    """The differences of all pairs, one at a time, which needs less memory."""
    found = [_estimate(values[i] - values[j], blocks) for i, j in pairs]
    if not found:
        return Estimate(*(np.zeros((0, *values.shape[1:-1])) for _ in range(3)))
    return Estimate(*(np.stack(part) for part in zip(*found, strict=True)))


def _estimate(values: Floats, blocks: int) -> Estimate:
    """Of values (..., 1 + R), the first of them the point estimate, and the interval of the others."""
    drawn = values[..., 1:]
    return Estimate(values[..., 0].copy(), *interval(drawn, blocks))


def tail_share(blocks: int) -> float:
    """The share of draws that a 95 % interval from B blocks leaves out at each end.

    It is 2.5 % for many blocks. Percentile intervals from few blocks are too narrow, as a normal instead of a t
    interval is; the expanded percentile interval corrects that (Hesterberg 2015, The American Statistician 69, 371):
    Phi(-t sqrt(B / (B - 1))), with the 97.5 % quantile t of Student's t with B - 1 degrees of freedom.
    """
    from scipy.special import ndtr, stdtrit

    if blocks < 2:
        return 0.0
    return float(ndtr(-stdtrit(blocks - 1, 1 - _TAIL) * np.sqrt(blocks / (blocks - 1))))


def interval(drawn: Floats, blocks: int) -> tuple[Floats, Floats]:
    """Ends of the 95 % interval of draws (..., R) of B = ``blocks`` blocks."""
    cut = max(round(tail_share(blocks) * drawn.shape[-1]), 1)
    order = [cut - 1, drawn.shape[-1] - cut]
    undefined = np.isnan(drawn).any(axis=-1)
    ends = np.partition(drawn, order, axis=-1)[..., order]
    low, high = ends[..., 0].copy(), ends[..., 1].copy()
    if undefined.any():
        rows = drawn[undefined]
        low[undefined] = np.partition(np.where(np.isnan(rows), -np.inf, rows), order[0], axis=-1)[..., order[0]]
        high[undefined] = np.partition(np.where(np.isnan(rows), np.inf, rows), order[1], axis=-1)[..., order[1]]
    return low, high
