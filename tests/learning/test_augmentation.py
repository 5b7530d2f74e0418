import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agents.learning.augmentation import CLASS_WIDTHS, LARGEST_SHIFT, Variation, draw_variation

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS)
def test_more_rain_stays_more_rain_and_noise_stays_noise(seed):
    table = draw_variation(np.random.default_rng(seed)).table
    assert table.dtype == np.uint8
    np.testing.assert_array_equal(table[:71], np.arange(71))
    echo = table[71:].astype(int)
    assert (np.diff(echo) >= 0).all()
    decibel = 255 / 70
    assert abs(echo - np.arange(71, 256)).max() <= (LARGEST_SHIFT + CLASS_WIDTHS[1]) * decibel + 1


def test_intensity_and_classes_change_sometimes_and_orientation_evenly():
    random = np.random.default_rng(1)
    drawn = [draw_variation(random) for _ in range(800)]
    shown = [len(np.unique(one.table)) for one in drawn]
    assert 0.1 < np.mean(np.array(shown) < 150) < 0.2, "products of few classes"
    same = np.mean([np.array_equal(one.table, np.arange(256)) for one in drawn])
    assert 0.35 < same < 0.5
    counts = np.bincount([one.turns * 2 + one.mirrored for one in drawn], minlength=8)
    assert counts.min() > 60


def test_orientations_are_the_eight_of_a_square():
    square = np.arange(9).reshape(1, 3, 3)
    levels = np.arange(256, dtype=np.uint8)
    found = {Variation(levels, turns, mirrored).orient(square).tobytes() for turns in range(4) for mirrored in (0, 1)}
    assert len(found) == 8
    np.testing.assert_array_equal(Variation(levels, 1, False).orient(square)[0], [[2, 5, 8], [1, 4, 7], [0, 3, 6]])
