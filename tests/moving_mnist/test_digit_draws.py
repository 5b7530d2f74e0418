from dataclasses import fields

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.moving_mnist.data import PAPER_ROTATION, POOL, RULE_VERSION, Parameters, draw_parameters


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=30)
@example(2**64 - 1, 0, 3, 2)
def test_batches_of_any_size_walk_one_stream(seed, index, batch, pieces):
    whole = draw_parameters(seed, index, batch * pieces)
    for k in range(pieces):
        part = draw_parameters(seed, index * pieces + k, batch)
        for f in fields(Parameters):
            np.testing.assert_array_equal(getattr(part, f.name), getattr(whole[k * batch : (k + 1) * batch], f.name))


def test_other_seeds_and_sequences_are_others():
    first, second, third = (
        draw_parameters(0, 0, 500).light,
        draw_parameters(1, 0, 500).light,
        draw_parameters(0, 1, 500).light,
    )
    assert len(np.unique(np.concatenate([first, second, third]))) == 1500


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("digit", 0, POOL), ("place", 0, 1), ("rotation", -30, 30), ("scale", 1 / 1.1, 1.1),
        ("speed", 0, 3.6), ("heading", 0, 2 * np.pi), ("light", 0.6, 1),
    ],
)  # fmt: skip
def test_draws_are_uniform_in_their_ranges(name, low, high):
    values = (getattr(draw_parameters(3, 0, 20_000), name).reshape(-1).astype(float) - low) / (high - low)
    assert values.min() >= 0
    assert values.max() < 1
    tolerance = 5 / np.sqrt(len(values))
    for power in (1, 2, 3):
        assert (values**power).mean() == pytest.approx(1 / (power + 1), abs=0.3 * tolerance)


def test_draws_do_not_go_together():
    p = draw_parameters(5, 0, 20_000)
    columns = [getattr(p, f.name).reshape(len(p), -1).astype(float) for f in fields(p)]
    found = np.corrcoef(np.concatenate(columns, 1).T) - np.eye(22)
    assert np.abs(found).max() < 5 / np.sqrt(len(p))


def test_the_stream_stays_what_it_was():
    """A change here changes what every model is trained on: give RULE_VERSION and the changelog a line."""
    p = draw_parameters(7, 2, 2)
    assert RULE_VERSION == 2
    np.testing.assert_array_equal(p.digit, [[5007, 22038, 20767], [15720, 35774, 37750]])
    np.testing.assert_allclose(p.light, [0.6589383177953548, 0.6070369847422169], rtol=1e-12)
    np.testing.assert_allclose(p.heading[1], [4.931774942949003, 4.196327062917768, 3.1745020150604395], rtol=1e-12)


def test_the_papers_rotation_is_an_option():
    code, paper = draw_parameters(0, 0, 100), draw_parameters(0, 0, 100, rotation=PAPER_ROTATION)
    np.testing.assert_allclose(paper.rotation, code.rotation / 2)
    assert np.abs(paper.rotation).max() <= 15
    np.testing.assert_array_equal(paper.place, code.place)
