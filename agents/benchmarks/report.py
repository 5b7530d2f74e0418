"""The statistics of a report at HKO-7's size: time and memory of the bootstrap, and how often its intervals hold 0."""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hko7env.report.bootstrap import DRAWS, BlockSums, add_up, bootstrap
from hko7env.scores import Tally, averages
from hko7env.units import THRESHOLDS

from .timing import Line, compare, line, peak_memory

SEQUENCES, BLOCKS, RUNS, LEADS = 6053, 133, 10, 20  # blocks: the 56 episodes of the test split, cut at days
PIXELS = 190_000  # scored locations of a frame
TRIALS = 1000
_SAME_RUNS = 50  # trials with the same two runs
FEWER = (10, 20, 40)  # numbers of blocks at which coverage is measured too

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """All intervals of ten runs beside a plain loop over draws, then the coverage of intervals."""
    rounds = max(args.rounds // 5, 1)
    block = np.arange(SEQUENCES) * BLOCKS // SEQUENCES
    seen = _observed(block, 0)
    runs = [_forecasts(seen, seed) for seed in range(RUNS)]
    few = 20  # draws of the slow reference

    def plain() -> list[list[dict[str, Sums]]]:
        rng = np.random.default_rng(0)
        members = [np.flatnonzero(block == b) for b in range(BLOCKS)]
        draws = [np.concatenate([members[b] for b in rng.integers(BLOCKS, size=BLOCKS)]) for _ in range(few)]
        return [
            [averages(Tally(len(rows), *counts[rows].sum(axis=0), *sums[rows].sum(axis=0))) for rows in draws]
            for counts, sums in runs
        ]

    def ours() -> None:
        bootstrap([add_up(block, *run) for run in runs])

    seconds = compare({"plain": plain, "hko7env": ours}, rounds)
    start = time.process_time()
    ours()
    busy = round(1e3 * (time.process_time() - start))
    reference = seconds["plain"] * DRAWS / few
    size = f"{SEQUENCES} sequences, {RUNS} runs, {DRAWS} draws"
    yield line(f"report/plain loop over draws, {size}, scores only", reference, "ms", 1)
    ratio = seconds["hko7env"] / reference
    yield line(f"report/hko7env bootstrap, {size}", seconds["hko7env"], "ms", ratio, processor_ms=busy)
    yield line("report/peak memory", 0, "ms", 1, peak_memory())
    for blocks in (BLOCKS, *FEWER):
        yield {"name": f"report/coverage of 95 % intervals, {blocks} blocks", "trials": TRIALS, **coverage(blocks)}


def coverage(blocks: int, trials: int = TRIALS) -> dict[str, float]:
    """The share of 95 % intervals of a difference that hold 0 where two runs differ by chance alone.

    Two runs are made, anew every fifty trials; in each trial their labels are exchanged at random in each block, so
    neither is better.

    Args:
        blocks: Number of blocks, of 45 sequences each.
        trials: Number of trials.

    Returns:
        The share for B-MSE and for CSI at each threshold.
    """
    block = np.repeat(np.arange(blocks), 45)
    rng = np.random.default_rng(4)
    held = np.zeros(1 + len(THRESHOLDS))
    for trial in range(trials):
        if trial % _SAME_RUNS == 0:
            seen = _observed(block, trial)
            one, other = (add_up(block, *_of_two_leads(_forecasts(seen, seed))) for seed in (trial, trial + 1))
        exchanged = rng.random(blocks) < 0.5
        pair = [_mixed(one, other, exchanged), _mixed(other, one, exchanged)]
        found = bootstrap(pair, seed=trial, names=("b_mse", "csi"))
        decided = [found.difference(name, 0, 1).at(-1).decided for name in ("b_mse", "csi")]
        held += ~np.concatenate([np.atleast_1d(part) for part in decided])
    names = ["b_mse", *(f"csi_{t:g}" for t in THRESHOLDS)]
    return dict(zip(names, (held / trials).round(3).tolist(), strict=True))


def _mixed(one: BlockSums, other: BlockSums, exchanged: npt.NDArray[np.bool_]) -> BlockSums:
    """``one`` with the blocks of ``other`` where ``exchanged`` (B,)."""
    flag = {1: exchanged, 3: exchanged[:, None, None], 4: exchanged[:, None, None, None]}
    return BlockSums(*(np.where(flag[a.ndim], b, a) for a, b in zip(one, other, strict=True)))


def _of_two_leads(run: tuple[Counts, Sums]) -> tuple[Counts, Sums]:
    """The first and last lead time alone, which is quicker and leaves the mean over lead times a mean."""
    counts, sums = run
    return counts[:, :, [0, -1]], sums[:, :, [0, -1]]


def _observed(block: npt.NDArray[np.int64], seed: int) -> Counts:
    """(N, K, 5) numbers of observed events: blocks differ in how much it rains, lognormal as rain totals are."""
    rng = np.random.default_rng(seed)
    wet = rng.lognormal(-3, 0.8, block.max() + 1)[block] * rng.gamma(4, 0.25, len(block))
    shares = np.array([1, 0.6, 0.3, 0.17, 0.05]) * np.minimum(wet, 0.8)[:, None, None]
    return rng.binomial(PIXELS, np.broadcast_to(shares, (len(block), LEADS, len(THRESHOLDS))))


def _forecasts(seen: Counts, seed: int) -> tuple[Counts, Sums]:
    """Counts (N, 4, K, 5) and error sums (N, 4, K); skill falls with lead time and varies by chance."""
    rng = np.random.default_rng(100 + seed)
    skill = np.linspace(0.85, 0.3, LEADS)[:, None] * rng.beta(20, 3, (len(seen), 1, 1))
    hits = rng.binomial(seen, skill)
    false = np.minimum(rng.poisson((seen - hits) * rng.gamma(10, 0.1, (len(seen), 1, 1))), PIXELS - seen)
    counts = np.stack([hits, seen - hits, false, PIXELS - seen - false], axis=1)
    wrong = (seen - hits + false)[..., 0]
    return counts, wrong[:, None] * rng.gamma(20, 0.05, (len(seen), 4, LEADS))
