"""Rain: the map to levels, cells, terrain bias, diurnal cycle, and what a seed fixes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, special

from hko7env.archive.format import DAY, minutes
from hko7env.synthetic.process import HONG_KONG, Process
from hko7env.synthetic.rain import (
    EXCEEDANCE,
    TERRAIN,
    Marginal,
    diurnal_cycle,
    histogram,
    latent,
    short_waves,
    solve,
    terrain_bias,
)
from hko7env.synthetic.wind import interpolate_nodes
from hko7env.units import HKO7, THRESHOLDS

SHAPE = (40, 56)


def test_the_map_gives_table_2_exactly_where_the_latent_field_is_known():
    """Normal latent values, cells and all, against a simulation that knows nothing of how the map is solved."""
    draw = np.random.default_rng(1)
    coarse, fine, cells = (draw.standard_normal(4_000_000).astype(np.float32) for _ in range(3))
    short = 0.05
    counts = histogram(np.sqrt(1 - short) * coarse, np.ones(coarse.shape, bool))
    marginal = solve(counts, short)
    field = HONG_KONG.with_cells(np.sqrt(1 - short) * coarse + np.sqrt(short) * fine, cells)
    rates = HKO7.rates[marginal.levels(field)]
    np.testing.assert_allclose([(rates >= t).mean() for t in THRESHOLDS], EXCEEDANCE, rtol=0.02)


def test_without_cells_the_quantiles_are_the_normal_ones():
    grid = np.arange(-8, 8, 0.01)
    marginal = solve(np.exp(-(grid**2) / 2), 1e-6, process=Process(cells=1e-9))
    np.testing.assert_allclose(marginal.quantiles, special.ndtri(1 - np.array(EXCEEDANCE)), atol=0.02)


@given(st.lists(st.floats(-6, 6), min_size=2, max_size=30))
def test_levels_rise_with_the_latent_value_and_come_back(values):
    marginal = Marginal((1.3, 1.6, 1.9, 2.2, 2.6))
    latents = np.sort(np.array(values, np.float32))
    levels = marginal.levels(latents)
    assert (np.diff(levels.astype(int)) >= 0).all()
    inside = (levels > 0) & (levels < 255)
    np.testing.assert_allclose(marginal.latent(levels)[inside], latents[inside], atol=0.02)


def test_cells_change_only_what_is_high():
    field, cells = np.linspace(0, 4, 400, dtype=np.float32), np.full(400, -3, np.float32)
    changed = HONG_KONG.with_cells(field, cells)
    quiet = field <= HONG_KONG.cells_from
    np.testing.assert_array_equal(changed[quiet], field[quiet])
    assert (changed[~quiet] >= HONG_KONG.cells_from).all()
    assert (changed[~quiet][5:] < field[~quiet][5:]).all()
    assert (HONG_KONG.with_cells(field, -cells)[~quiet] > field[~quiet]).all()


def test_terrain_bias_and_diurnal_cycle():
    hills = terrain_bias((480, 480), 7)
    assert 0.5 * TERRAIN < hills.std() < 1.5 * TERRAIN
    np.testing.assert_array_equal(hills, terrain_bias((480, 480), 7))
    assert (terrain_bias((480, 480), 8) != hills).any()
    assert diurnal_cycle(minutes("2015-05-20T07:00")) == max(diurnal_cycle(m) for m in range(0, DAY, 6))


def moments(shape=SHAPE, frames=4, seed=1, **other):
    return latent(shape, frames, cadence=6, start=0, key=(seed, 0), mean=0.0, **other)


def test_rain_is_a_function_of_its_seed_alone():
    first, again, other = (list(moments(seed=s)) for s in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.latent, two.latent)
        np.testing.assert_array_equal(one.motion, two.motion)
    assert not np.array_equal(first[0].latent, other[0].latent)


def test_an_episode_does_not_depend_on_how_far_it_is_looked_into():
    long = list(moments(frames=6))
    for short, same in zip(moments(frames=3), long, strict=False):
        np.testing.assert_array_equal(short.latent, same.latent)


def test_the_motion_is_what_carries_the_rain():
    """Traced back along the given motion, a frame is far liker the one before than where it stands."""
    steps = list(moments((240, 240), 2, seed=4))
    nodes, here = steps[1].motion, np.indices((240, 240), dtype=np.float32)
    back = ndimage.map_coordinates(steps[0].latent, here - interpolate_nodes(nodes, (240, 240)), order=1)
    inner = slice(30, -30)

    def difference(a):
        return np.mean((a[inner, inner] - steps[1].latent[inner, inner]) ** 2)

    assert difference(back) < 0.6 * difference(steps[0].latent)


def test_any_cadence():
    quick = list(latent((96, 96), 2, cadence=1, start=0, key=(1, 0), mean=0.0))
    slow = list(latent((96, 96), 2, cadence=15, start=0, key=(1, 0), mean=0.0))
    change = [np.mean((two.latent - one.latent) ** 2) for one, two in (quick, slow)]
    assert change[0] < change[1] / 3


def test_short_waves_are_few():
    assert 0.001 < short_waves((480, 480), 6) < 0.05
