import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.calibration.corrected_forecast import Decision
from agents.calibration.reliability import BINS, EDGES, EVENTS, LEAST_BIAS, MOST_BIAS, choose_odds, count, find_bins
from agents.networks.flow_net import Corrected
from hko7env.units import HKO7


def test_a_bin_holds_the_odds_between_its_edges():
    odds = torch.tensor([-99.0, -5.01, -4.99, EDGES[10] + 1e-3, 3.99, 4.01, 99.0])
    bins = find_bins(odds[:, None, None].expand(-1, 4, 4))
    assert bins.shape == (7, 1, 1)
    assert bins.flatten().tolist() == [0, 0, 1, 11, BINS - 2, BINS - 1, BINS - 1]


def test_counts_are_those_of_a_count_by_hand():
    bins = np.full((EVENTS, 2, 2), 7, np.uint8)
    bins[2, 0, 1] = 9
    truth = np.zeros((8, 8), np.uint8)
    truth[2, 2], truth[2, 6], truth[6, 2], truth[6, 6] = 100, 150, 0, 255  # the locations that are counted
    seen = np.ones((8, 8), bool)
    seen[6, 6] = False
    counts = count(bins, truth, seen, HKO7)
    assert counts.sum() == 3 * EVENTS
    np.testing.assert_array_equal(counts[0, 7], [1, 2])  # 100 and 150 are at least 0.5 mm/h, 0 is not
    np.testing.assert_array_equal(counts[1, 7], [2, 1])  # 100 is below 2 mm/h
    np.testing.assert_array_equal(counts[2, 7], [2, 0])
    np.testing.assert_array_equal(counts[2, 9], [0, 1])  # 150 is at least 5 mm/h, and below 10
    np.testing.assert_array_equal(counts[3, 7], [3, 0])


def choose_slowly(counts):
    """Try each edge: the highest CSI within the permitted bias, or else the bias nearest to 1."""
    chosen = np.empty(counts.shape[:2], np.float32)
    for lead, event in np.ndindex(chosen.shape):
        table, tried = counts[lead, event], []
        observed = table[:, 1].sum()
        for start in range(1, BINS):
            hits, forecast = table[start:, 1].sum(), table[start:].sum()
            bias = forecast / observed
            csi = hits / (observed + forecast - hits)
            tried.append((LEAST_BIAS <= bias <= MOST_BIAS[event], csi, -abs(bias - 1)))
        within = [start for start, (ok, _, _) in enumerate(tried) if ok]
        best = max(within, key=lambda s: tried[s][1]) if within else max(range(len(tried)), key=lambda s: tried[s][2])
        chosen[lead, event] = EDGES[best]
    return chosen


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_odds_are_those_of_a_slow_search(seed):
    random = np.random.default_rng(seed)
    share = np.linspace(0.01, random.uniform(0.3, 0.99), BINS) ** random.uniform(0.5, 3)
    total = random.gamma(1, 1000, (2, EVENTS, BINS)) * np.exp(-np.linspace(0, random.uniform(0, 6), BINS))
    counts = np.stack([total * (1 - share), total * share], -1)
    np.testing.assert_array_equal(choose_odds(counts), choose_slowly(counts))


def test_no_event_is_forecast_where_none_was_seen():
    counts = np.zeros((1, EVENTS, BINS, 2))
    counts[:, :, :20, 0] = 100
    assert (choose_odds(counts) > EDGES[18]).all()


def test_pixels_stay_inside_the_chosen_class():
    levels = HKO7.threshold_pixels
    logits = torch.tensor([[-9.0] * 5, [1, -9, -9, -9, -9], [1, 1, 1, 1, 1], [-9, 1, 1, 1, 1], [1, 1, -9, 1, 1]])
    corrected = Corrected(torch.full((5, 1, 1), 0.5), logits[:, :, None, None])
    pixels = Decision(HKO7, torch.device("cpu")).pixels(corrected, torch.zeros(5, 5)).flatten().numpy()
    classes = np.searchsorted(levels, pixels, "right")
    assert classes.tolist() == [0, 1, 5, 0, 2], "a higher event needs all lower ones"
    lower = Corrected(torch.full((5, 1, 1), -1.0), logits[:, :, None, None])
    pixels = Decision(HKO7, torch.device("cpu")).pixels(lower, torch.zeros(5, 5)).flatten().numpy()
    assert np.searchsorted(levels, pixels, "right").tolist() == [0, 1, 5, 0, 2]
    assert pixels[0] == 0


@pytest.mark.parametrize("value", [0.0, 0.31, 0.47, 0.9999])
def test_a_pixel_of_the_right_class_is_kept(value):
    logits = torch.full((1, 5, 1, 1), -1.0)
    logits[:, : int(np.searchsorted(HKO7.threshold_pixels, value, "right"))] = 1.0
    corrected = Corrected(torch.full((1, 1, 1), value), logits)
    assert float(Decision(HKO7, torch.device("cpu")).pixels(corrected, torch.zeros(1, 5))) == pytest.approx(value)
