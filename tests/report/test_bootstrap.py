"""Intervals: a case of three blocks by hand, paired draws, undefined scores, and how often an interval holds 0."""

import numpy as np
import pytest

from hko7env.report.blocks import blocks_of
from hko7env.report.bootstrap import BlockSums, add_up, bootstrap, draw_blocks, interval, resample, tail_share
from hko7env.scores import COUNTS, ERRORS, Tally, averages, scores
from tests.helpers.report_runs import forecasts, observed

HOURS = 60


def blocks(*rows):
    """Block sums with one lead time from rows (sequences, hits, misses, false alarms, correct negatives, B-MSE sum)."""
    rows = np.array(rows, float)
    counts = np.repeat(rows[:, 1:5, None, None], 5, axis=3)
    sums = np.zeros((len(rows), 4, 1))
    sums[:, ERRORS.index("balanced_squared"), 0] = rows[:, 5]
    return BlockSums(rows[:, 0], counts, sums)


def test_three_blocks_by_hand():
    """Every one of 27 equally likely draws is known, and each triple block has a share of 1/27 = 3.7 % > 2.5 %."""
    first = blocks((1, 3, 1, 0, 6, 10), (1, 1, 1, 2, 6, 20), (2, 0, 2, 2, 16, 60))
    second = blocks((1, 2, 2, 0, 6, 12), (1, 1, 1, 0, 8, 18), (2, 1, 1, 2, 16, 66))
    found = bootstrap([first, second])
    csi, b_mse = found.scores["csi"], found.scores["b_mse"]
    assert csi.value[:, 0, 0].tolist() == [4 / 12, 4 / 10]
    assert b_mse.value[:, 0].tolist() == [90 / 4, 96 / 4]
    # the lowest and highest possible draws are three times one block
    assert (csi.low[0, 0, 0], csi.high[0, 0, 0]) == (0 / 4, 3 / 4)
    assert (csi.low[1, 0, 0], csi.high[1, 0, 0]) == (1 / 4, 1 / 2)
    assert (b_mse.low[0, 0], b_mse.high[0, 0]) == (10, 30)
    # paired: block by block the difference of B-MSE is -2, 2 and -3, never 10 - 33
    difference = found.difference("b_mse", 0, 1)
    assert (difference.value[0], difference.low[0], difference.high[0]) == (-1.5, -3, 2)
    assert not difference.decided.any()
    back = found.difference("b_mse", 1, 0)
    assert (back.value[0], back.low[0], back.high[0]) == (1.5, -2, 3)
    assert not found.trusted


def test_a_draw_pools_the_tallies_of_its_blocks():
    counts, sums = forecasts(observed(30), 0.6, 1)
    block = np.repeat(np.arange(6), 5)
    run = add_up(block, counts, sums)
    drawn = draw_blocks(6, 50, seed=3)
    assert drawn.sum(axis=1).tolist() == [6.0] * 50
    many = resample(run, drawn)
    chosen = np.repeat(np.arange(6), drawn[7].astype(int))
    rows = np.concatenate([np.flatnonzero(block == b) for b in chosen])
    by_hand = Tally(30, *counts[rows].sum(axis=0), *sums[rows].sum(axis=0))
    for name in COUNTS:
        assert np.array_equal(getattr(many, name)[..., 7], getattr(by_hand, name))
    for name in ERRORS:
        assert np.allclose(getattr(many, name)[..., 7], getattr(by_hand, name), rtol=1e-12)
    assert many.sequences[7] == 30
    found = bootstrap([run])
    for name, values in scores(Tally(30, *counts.sum(axis=0), *sums.sum(axis=0))).items():
        assert np.allclose(found.scores[name].value[0, :-1], values, equal_nan=True)
    for name, values in averages(Tally(30, *counts.sum(axis=0), *sums.sum(axis=0))).items():
        assert np.allclose(found.scores[name].value[0, -1], values)


def test_two_identical_runs_differ_by_exactly_nothing():
    counts, sums = forecasts(observed(60), 0.6, 1)
    block = np.repeat(np.arange(12), 5)
    found = bootstrap([add_up(block, counts, sums), add_up(block, counts.copy(), sums.copy())])
    for name, difference in found.differences.items():
        for part in difference:
            assert (part[0] == 0).all(), name
        assert not difference.decided.any()


def test_draws_depend_on_the_seed_alone():
    assert np.array_equal(draw_blocks(20), draw_blocks(20))
    assert not np.array_equal(draw_blocks(20), draw_blocks(20, seed=1))


def test_a_score_that_is_undefined_in_a_draw_has_no_narrower_interval():
    """Rain fell in one of ten blocks: 35 % of the draws have none, so CSI is undefined there."""
    rows = [(1, 0, 0, 0, 10, 1)] * 9 + [(1, 3, 1, 1, 5, 1)]
    found = bootstrap([blocks(*rows), blocks(*rows[:9], (1, 2, 2, 1, 5, 1))])
    csi = found.scores["csi"].at(0, 0, 0)
    assert csi.value == 3 / 5
    assert (csi.low, csi.high) == (-np.inf, np.inf)
    assert not found.difference("csi", 0, 1).decided.any()
    drawn = np.arange(2000.0)
    drawn[:10] = np.nan  # fewer than 2.5 %: the interval is that of the other draws, a little wider
    assert [float(end) for end in interval(drawn, 10**6)] == [49, 1960]


def test_intervals_from_few_blocks_are_wider():
    """Hesterberg 2015: for ten blocks t = 2.262 and Phi(-2.262 sqrt(10 / 9)) = Phi(-2.385) = 0.0085."""
    assert tail_share(10) == pytest.approx(0.00855, abs=5e-5)
    shares = [tail_share(blocks) for blocks in (1, 2, 5, 20, 100, 10**6)]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.025, abs=1e-6)
    drawn = np.arange(2000.0)
    assert [float(end) for end in interval(drawn, 10)] == [16, 1983]
    assert [float(end) for end in interval(drawn, 2)] == [0, 1999]


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="at least 40 draws, got 39"):
        bootstrap([blocks((1, 1, 0, 0, 0, 1))], draws=39)


def test_intervals_of_exchanged_labels_hold_zero():
    """Labels are exchanged at random in each block, so the runs do not differ: 95 % intervals hold 0 in about 95 %."""
    counts = 133
    seen = observed(counts)
    made = [forecasts(seen, 0.6, seed) for seed in (1, 2)]
    one, other = (add_up(np.arange(counts), n[:, :, :1], sums[:, :, :1]) for n, sums in made)  # one lead time: quick
    rng, held, trials = np.random.default_rng(0), 0, 150
    for trial in range(trials):
        swap = rng.random(counts) < 0.5
        runs = [
            BlockSums(one.sequences, *(np.where(swap.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pair))
            for pair in (zip(one[1:], other[1:], strict=True), zip(other[1:], one[1:], strict=True))
        ]
        found = bootstrap(runs, draws=400, seed=trial, names=("b_mse",)).difference("b_mse", 0, 1).at(-1)
        held += not found.decided
    assert 0.90 <= held / trials <= 0.99  # `hko7env benchmark report` does 1,000 trials, whose error is smaller


# ---------------------------------------------------------------- blocks


def test_an_episode_is_a_block():
    issued = np.array([0, 30, 60, 5000, 5030])
    assert blocks_of(np.array([0, 0, 0, 1, 1]), issued).tolist() == [0, 0, 0, 1, 1]


def test_an_episode_of_less_than_a_day_is_not_cut_at_midnight():
    issued = 22 * HOURS + 30 * np.arange(20)
    assert set(blocks_of(np.zeros(20, int), issued).tolist()) == {0}


def test_a_longer_episode_is_cut_at_every_midnight():
    issued = 22 * HOURS + 30 * np.arange(96)  # two days
    found = blocks_of(np.zeros(96, int), issued)
    assert found.tolist() == [0] * 4 + [1] * 48 + [2] * 44


def test_no_sequences_have_no_blocks():
    assert blocks_of(np.zeros(0, int), np.zeros(0, int)).tolist() == []
