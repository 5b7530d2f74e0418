from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from agents.moving_mnist.data import draw_parameters
from agents.moving_mnist.files import read_mnist, read_official
from agents.moving_mnist.rendering import compute_brightness, render
from tests.helpers.digits import BLOTS, POOLED

# Reference figures, e-2, of all 10,000 official sequences: the all-zero forecast at each lead, and the means of three
ZERO = (5.60, 3.67, 2.63, 2.04, 1.68, 2.04, 2.63, 3.67, 5.60, 9.42)
MEANS = (3.897, 9.562, 5.144)
# and of each twentieth of them, by the rendering that gave those of all to every digit shown
TWENTIETH_ZERO = (5.604622, 3.653660, 2.625785, 2.037413, 1.689641, 2.037014, 2.613478, 3.635000, 5.583365, 9.505659)
TWENTIETH_MEANS = (3.898564, 9.669174, 5.155533)


def errors(images, p, rows=100):
    """Mean squared errors a lead of nothing, last frame and last frame in the true light, (3, 10) float64."""
    total = np.zeros((3, 10))
    for start in range(0, len(p), rows):
        part = p[start : start + rows]
        frames, gain = render(images, part), torch.from_numpy(compute_brightness(part)).float()[..., None, None]
        truth, last = frames[:, 10:], frames[:, 9:10]
        for i, forecast in enumerate((0 * truth, last, last / gain[:, 9:10] * gain[:, 10:])):
            total[i] += ((forecast - truth).double() ** 2).mean((2, 3)).sum(0).numpy()
    return total / len(p)


def test_the_official_sequences_give_the_reference_figures(shared):
    found = errors(read_mnist(shared / "mnist"), read_official(shared / "mnist")[::20])
    np.testing.assert_allclose(1e2 * found[0], TWENTIETH_ZERO, rtol=1e-4)
    np.testing.assert_allclose(1e2 * found.mean(1), TWENTIETH_MEANS, rtol=1e-4)
    np.testing.assert_allclose(TWENTIETH_ZERO, ZERO, rtol=0.012)
    np.testing.assert_allclose(TWENTIETH_MEANS, MEANS, rtol=0.012)


def test_figures_of_synthetic_digits():
    """Light acts on the all-zero forecast as E[m^2E], whatever the digits are."""
    p = draw_parameters(0, 0, 400, **POOLED)
    p = replace(p, rotation=0 * p.rotation, scale=0 * p.scale + 1, speed=0 * p.speed)
    found = errors(BLOTS, p)
    # Nothing moves after the snap to the box at t = 1, so only the light changes.
    frames = render(BLOTS, replace(p, light=np.ones(400)))[:, 19].double().pow(2).mean((1, 2)).numpy()
    np.testing.assert_allclose(found[0], (frames[:, None] * compute_brightness(p)[:, 10:] ** 2).mean(0), rtol=1e-5)
    assert found[2].max() < 1e-9


def test_the_official_draws_follow_the_rule(shared):
    p = read_official(shared / "mnist")
    assert p.digit.shape == (10_000, 3)
    assert len(np.unique(p.digit)) == 21_124
    for f in fields(p):
        expected = getattr(draw_parameters(0, 0, 10_000), f.name)
        assert getattr(p, f.name).mean() == pytest.approx(expected.mean(), abs=0.05 * expected.std())
