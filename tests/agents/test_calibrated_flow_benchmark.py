from itertools import product

import numpy as np

from agents.benchmarks.calibrated_flow_scores import (
    VARIANTS,
    LevelOnly,
    NoMotion,
    ablation,
    best_csi,
    hindsight,
    merge,
)
from agents.benchmarks.steps import OURS, ROVER, walk
from agents.calibration.features import BINS, SHAPE, Features
from hko7env.testing import observation, task


def test_every_variant_differs_from_the_shipped_agent(small_archive):
    found = {line["name"].removeprefix("ablation/"): line for line in ablation([str(small_archive)], None)}
    assert list(found) == list(VARIANTS)
    shipped = found.pop("as shipped")
    for name, line in found.items():
        assert any(line[score] != shipped[score] for score in ("csi ratio", "b_mse ratio", "b_mae ratio")), name


def test_a_feature_is_left_out_by_adding_up_its_bins():
    counts = np.random.default_rng(0).integers(0, 9, (2, BINS, 6)).astype(np.float32)
    merged = merge(counts, LevelOnly.kept).reshape(2, *SHAPE, 6)
    np.testing.assert_array_equal(merged[:, :, :, 0], counts.reshape(2, *SHAPE, 6).sum(3))
    assert merged.sum() == counts.sum()
    some = task(48, 64)
    one = observation(some)
    bins = LevelOnly(some.scored, some.zr).bins(one["frames"], one["present"].astype(bool), 3).verified()
    whole = Features(some.scored, some.zr).bins(one["frames"], one["present"].astype(bool), 3)
    np.testing.assert_array_equal(bins, whole.verified() // SHAPE[2] * SHAPE[2])


def test_no_choice_of_bins_exceeds_the_best_csi():
    counts = np.zeros((2, BINS, 6))
    used = np.arange(5)[:, None] * (BINS // 5) + np.arange(6)  # six bins of each event
    counts[:, used.reshape(-1)] = np.random.default_rng(1).integers(0, 9, (2, used.size, 6))
    highest = np.zeros((2, 5))
    for lead, event in np.ndindex(2, 5):
        own = counts[lead, used[event]]
        hits, cells = own[:, event + 1 :].sum(-1), own.sum(-1)
        for chosen in product((False, True), repeat=6):
            hit, ahead = hits[list(chosen)].sum(), cells[list(chosen)].sum()
            highest[lead, event] = max(highest[lead, event], hit / (hits.sum() + ahead - hit))
    np.testing.assert_allclose(best_csi(counts), highest.mean(0))


def test_hindsight_counts_the_split(small_archive):
    (line,) = hindsight([str(small_archive)], None)
    assert 0 < line["csi"][0] <= 1 and line["sequences"] > 0


def test_without_motion_every_lead_has_the_same_bins():
    some = task(48, 64)
    one = observation(some)
    bins = NoMotion(some.scored, some.zr).bins(one["frames"], one["present"].astype(bool), 3).verified()
    assert len(np.unique(bins)) > 5
    np.testing.assert_array_equal(bins, np.broadcast_to(bins[:1], bins.shape))


def test_the_benchmark_runs_online_steps():
    for name in (ROVER, *OURS):
        steps = walk(name, side=64)
        for _ in range(3):
            next(steps)
