"""The generator's laws: what is fixed by a seed, what is stationary, what moves as the truth says."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, special

from hko7env import synthetic
from hko7env.archive import Archive
from hko7env.archive.format import OUT_OF_RANGE, OUTLIER, minutes
from hko7env.archive.rainy_days import read_times
from hko7env.env import NowcastingEnv
from hko7env.loading import load
from hko7env.runner import run
from hko7env.schedule import schedule
from hko7env.scores import scores
from hko7env.synthetic import DEMO, Truth, Weather, make
from hko7env.synthetic import writer as making
from hko7env.synthetic.field import COARSE, Field, spline
from hko7env.synthetic.radar import radar_mask, site
from hko7env.synthetic.rain import (
    BETWEEN,
    CELLS_FROM,
    EXCEEDANCE,
    PLACE,
    Marginal,
    growth,
    histogram,
    latent,
    place,
    short_waves,
    solve,
    with_cells,
)
from hko7env.synthetic.weather import by_times, hko7, means, small
from hko7env.synthetic.wind import NODE, Wind, spread
from hko7env.testing import AgentTests
from hko7env.units import HKO7, THRESHOLDS

TINY = (Weather("test", "2015-05-20T00:00", 12, missing=(3,)), Weather("test", "2015-07-09T00:00", 8))
SHAPE = (40, 56)


def power(wavelength):
    return wavelength**2.5


def lifetime(wavelength):
    return 3 * wavelength


def field(size=(96, 128), **other):
    return Field(size, (5, 1), (0, 1 << 40), power=power, lifetime=lifetime, cadence=6, **other)


# ------------------------------------------------------------------ fields and wind


def test_a_fields_spectrum_is_stationary_while_it_moves():
    """Carried half a pixel a step, the worst place to interpolate at, short and long waves keep their variance."""
    one = field()
    points = np.indices(one.size, dtype=np.float32)
    still = np.array([0.5, -0.37], np.float32)[:, None, None]

    def bands(values):
        k = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(128)[None])
        spectrum = np.abs(np.fft.rfft2(values)) ** 2
        return np.array([spectrum[(k > low) & (k <= high)].sum() for low, high in ((0, 0.1), (0.1, 0.25), (0.25, 0.5))])

    sums = np.zeros((4, 3))
    for step in range(120):
        one.step(points - still)
        sums[step // 30] += bands(one.values())
    np.testing.assert_allclose(sums[3][1:], sums[0][1:], rtol=0.1)
    expected = np.mean([bands(field_of(seed)) for seed in range(40)], 0)
    np.testing.assert_allclose(sums[1:, 1:].mean(0) / 30, expected[1:], rtol=0.1)


def field_of(seed):
    return Field((96, 128), (seed, 2), (0, 1 << 40), power=power, lifetime=lifetime, cadence=6).values()


def test_a_field_has_unit_variance():
    assert np.mean([field_of(seed).var() for seed in range(60)]) == pytest.approx(1, abs=0.1)


def test_a_still_field_forgets_at_its_lifetime():
    """One wavelength alone, still air: the correlation with the start falls as exp(-t / lifetime)."""
    band = lambda w: np.where((w > 15) & (w < 17), 1.0, 0.0)  # noqa: E731
    products = np.zeros(6)
    for seed in range(20):
        one = Field((128, 128), (seed, 3), (0, 1 << 40), power=band, lifetime=lifetime, cadence=6)
        points, start = np.indices(one.size, dtype=np.float32), one.values()
        for step in range(6):
            products[step] += (start * one.values()).mean() / 20
            one.step(points)
    expected = np.exp(-6 * np.arange(6) / 48)
    np.testing.assert_allclose(products / products[0], expected, atol=0.06)


def test_a_field_moves_as_told():
    one = field()
    points, start = np.indices(one.size, dtype=np.float32), one.values()
    one.step(points - np.array([3, -5], np.float32)[:, None, None])
    moved, product = one.values(), {}
    for shift in ((3, -5), (0, 0), (-3, 5)):
        product[shift] = (np.roll(start, shift, (0, 1)) * moved).mean()
    assert max(product, key=product.get) == (3, -5)
    assert product[3, -5] > 0.9 * (start**2).mean()


def test_the_coarse_field_is_the_fine_ones_long_waves():
    fine, coarse = field(), field(coarse=True)
    for _ in range(3):
        smooth = np.fft.rfft2(fine.values())
        k, n = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(128)[None]
        smooth[(np.abs(k) >= 0.5 / COARSE) | (n >= 0.5 / COARSE) | (k == -0.5 / COARSE)] = 0
        same = np.fft.irfft2(smooth, (96, 128))[::COARSE, ::COARSE]
        assert np.corrcoef(same.ravel(), coarse.values().ravel())[0, 1] > (0.99 if fine.time else 1 - 1e-6)
        assert coarse.values().std() == pytest.approx(same.std(), rel=0.02 if fine.time else 1e-5)
        for one in (fine, coarse):
            one.step(np.indices(one.size, dtype=np.float32))
    assert coarse.variance == pytest.approx(np.mean([smooth_variance(seed) for seed in range(40)]), rel=0.15)


def smooth_variance(seed):
    values = np.fft.rfft2(field_of(seed))
    k, n = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(128)[None]
    values[(np.abs(k) >= 0.5 / COARSE) | (n >= 0.5 / COARSE)] = 0
    return np.fft.irfft2(values, (96, 128)).var()


def test_the_spline_is_scipys():
    """On a wave, its value at the points and the power that a half-way interpolation leaves, against scipy."""
    line = np.cos(2 * np.pi * np.arange(64) * 6 / 64)
    k = np.array([2 * np.pi * 6 / 64])
    at_points, kept = spline(k)
    coefficients = line / at_points
    places = (np.arange(64 * 8) + 0.5) / 8
    moved = ndimage.map_coordinates(coefficients, [places], order=3, mode="grid-wrap", prefilter=False)
    assert moved.var() / line.var() == pytest.approx(kept[0], rel=1e-3)
    whole = ndimage.map_coordinates(coefficients, [np.arange(64.0)], order=3, mode="grid-wrap", prefilter=False)
    np.testing.assert_allclose(whole, line, atol=1e-6)


@given(st.integers(0, 2**32), st.integers(2, 6))
@settings(max_examples=20)
def test_spread_is_bilinear(seed, nodes):
    values = np.random.default_rng(seed).standard_normal((2, nodes, nodes + 1)).astype(np.float32)
    fine = spread(values, (NODE * nodes, NODE * (nodes + 1)))
    np.testing.assert_allclose(fine[:, ::NODE, ::NODE], values, atol=1e-6)
    middle = (values + np.roll(values, -1, 2)) / 2
    np.testing.assert_allclose(fine[:, ::NODE, NODE // 2 :: NODE], middle, atol=1e-6)


def test_the_wind_turns_and_changes():
    wind = Wind((576, 576), (480, 480), (3, 1), cadence=6)
    steps = np.stack([wind.step() for _ in range(60)])
    speed = np.hypot(*steps.mean((2, 3)).T) * 512 / 480 / 0.1
    assert 4 < speed.mean() < 40, "km/h"
    assert np.abs(steps[0] - steps[-1]).max() > 0.2, "it changes"
    inner = steps[:, :, 5:-5, 5:-5]
    curl = np.diff(inner[:, 0], axis=2)[:, 1:] - np.diff(inner[:, 1], axis=1)[:, :, 1:]
    assert np.abs(curl).max() > 0.01, "it turns"


# ------------------------------------------------------------------ rain


def test_the_map_gives_table_2_exactly_where_the_latent_field_is_known():
    """Normal latent values, cells and all, against a simulation that knows nothing of how the map is solved."""
    draw = np.random.default_rng(1)
    coarse, fine, cells = (draw.standard_normal(4_000_000).astype(np.float32) for _ in range(3))
    short = 0.05
    counts = histogram(np.sqrt(1 - short) * coarse, np.ones(coarse.shape, bool))
    marginal = solve(counts, short)
    field = with_cells(np.sqrt(1 - short) * coarse + np.sqrt(short) * fine, cells)
    rates = HKO7.rates[marginal.levels(field)]
    np.testing.assert_allclose([(rates >= t).mean() for t in THRESHOLDS], EXCEEDANCE, rtol=0.02)


def test_without_cells_the_quantiles_are_the_normal_ones(monkeypatch):
    monkeypatch.setattr("hko7env.synthetic.rain.CELLS", 1e-9)
    grid = np.arange(-8, 8, 0.01)
    marginal = solve(np.exp(-(grid**2) / 2), 1e-6)
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
    changed = with_cells(field, cells)
    quiet = field <= CELLS_FROM
    np.testing.assert_array_equal(changed[quiet], field[quiet])
    assert (changed[~quiet] >= CELLS_FROM).all()
    assert (changed[~quiet][5:] < field[~quiet][5:]).all()
    assert (with_cells(field, -cells)[~quiet] > field[~quiet]).all()


def test_place_and_daily_cycle():
    hills = place((480, 480), 7)
    assert 0.5 * PLACE < hills.std() < 1.5 * PLACE
    np.testing.assert_array_equal(hills, place((480, 480), 7))
    assert (place((480, 480), 8) != hills).any()
    assert growth(minutes("2015-05-20T07:00")) == max(growth(m) for m in range(0, 1440, 6))


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
    back = ndimage.map_coordinates(steps[0].latent, here - spread(nodes, (240, 240)), order=1)
    inner = slice(30, -30)

    def difference(a):
        return np.mean((a[inner, inner] - steps[1].latent[inner, inner]) ** 2)

    assert difference(back) < 0.6 * difference(steps[0].latent)


def test_any_cadence():
    quick = list(latent((96, 96), 2, cadence=1, start=0, key=(1, 0), mean=0.0))
    slow = list(latent((96, 96), 2, cadence=15, start=0, key=(1, 0), mean=0.0))
    change = [np.mean((two.latent - one.latent) ** 2) for one, two in (quick, slow)]
    assert change[0] < change[1] / 3


# ------------------------------------------------------------------ radar


def test_the_mask_is_the_radars_circle_with_clutter_as_hko7s():
    mask = radar_mask((480, 480), 7)
    assert (mask == OUT_OF_RANGE).sum() == 50_260  # HKO-7's own count
    outliers = mask == OUTLIER
    assert 2000 < outliers.sum() < 6000
    radius = np.hypot(*(np.indices(mask.shape) - 239.5))
    assert outliers[radius < 10].mean() == pytest.approx(0.386, abs=0.02)
    assert outliers[(radius > 20) & (radius <= 40)].mean() == pytest.approx(0.127, abs=0.02)
    blobs, count = ndimage.label(outliers, np.ones((3, 3)))
    sizes = ndimage.sum_labels(outliers, blobs, np.arange(1, count + 1))
    assert 100 < count < 900
    assert sizes.max() > 400, "the middle, or the spoke"


def test_the_radar_sees_only_its_circle_and_hides_drizzle():
    radar = site((96, 96), 3)
    clean = np.full((96, 96), 60, np.uint8)
    seen = radar.observe(clean, 0, (3, 0), 1)
    assert (seen[radar.mask == OUT_OF_RANGE] == 0).all()
    scored = (radar.mask == 0) & (radar.loss == 0)
    assert (seen[scored] < 71).all()
    heavy = radar.observe(np.full((96, 96), 200, np.uint8), 0, (3, 0), 1)
    assert (heavy[scored] == 200).all()
    blocked = (radar.mask == 0) & (radar.loss > 0)
    assert blocked.any()
    assert (heavy[blocked] < 200).all()


def test_the_sun_shows_at_its_times_only():
    radar = site((96, 96), 3)
    dry = np.zeros((96, 96), np.uint8)
    outside = (radar.radius > 20) & (radar.mask == 0)
    strong = [
        [(radar.observe(dry, hour * 60 + m, (3, 0), hour * 60 + m)[outside] >= 71).sum() for m in range(0, 60, 6)]
        for hour in (4, 9, 23)
    ]
    assert max(strong[0]) == 0, "noon in Hong Kong"
    assert max(*strong[1], *strong[2]) > 0, "sunset or sunrise"


# ------------------------------------------------------------------ weather


def test_demo_has_what_the_protocol_must_handle():
    splits = {}
    for w in DEMO:
        splits.setdefault(w.split, []).append(w.times(6))
    assert set(splits) == {"train", "valid", "test"}
    walk = schedule(np.concatenate(splits["test"]))
    assert (len(walk), len(walk.episode_starts)) == (88, 2)


@pytest.mark.parametrize("weather", [DEMO, *(small(seed) for seed in range(30)), hko7(7)])
def test_splits_lie_in_different_years_and_days_apart(weather):
    years, ends = {}, []
    for w in weather:
        times = w.times(6)
        years.setdefault(w.split, set()).update({str(np.datetime64(int(t), "m"))[:4] for t in times[[0, -1]]})
        ends.append((times[0], times[-1], w.split))
    assert not years["train"] & years["valid"] | years["train"] & years["test"] | years["valid"] & years["test"]
    for (_, end, split), (begin, _, following) in pairwise(ends):
        assert begin - end >= 120, "in the order of time, and apart: no sequence spans two weathers"
        assert split == following or begin - end >= 2 * 1440


def test_hko7_has_the_papers_numbers():
    weather = hko7(7)
    for split, days, frames in (("train", 812, 192_168), ("valid", 50, 11_736), ("test", 131, 31_350)):
        times = np.concatenate([w.times(6) for w in weather if w.split == split])
        assert len(times) == frames
        assert days - 4 <= len(np.unique(times // 1440)) <= days
    assert {w.start[:4] for w in weather if w.split == "test"} == {"2015"}


def test_the_official_test_list_is_followed_to_the_minute(shared):
    listed = read_times(shared / "hko7" / "index_rainy_test.csv.gz")
    weather = [w for w in hko7(7, listed) if w.split == "test"]
    times = np.concatenate([w.times(6) for w in weather])
    np.testing.assert_array_equal(times, listed)
    walk = schedule(times)
    assert (len(listed), len(walk), len(walk.episode_starts)) == (31_350, 6053, 56)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40))
def test_any_list_of_times_comes_back(gaps):
    times = 24_000_000 + np.cumsum(gaps)
    listed = [t for t in times if len(times) == 1 or t % 6 != 1]  # some off the grid, none within one slot
    listed = [t for i, t in enumerate(listed) if i == 0 or t - listed[i - 1] >= 12]
    if not listed:
        return
    found = np.concatenate([w.times(6) for w in by_times("test", np.array(listed))])
    np.testing.assert_array_equal(found, listed)


def test_wetness_is_stratified_and_follows_the_season():
    weather = small(7)
    drawn = means(weather, 7)
    assert drawn.mean() == pytest.approx(0, abs=1e-9)
    assert drawn.std() == pytest.approx(BETWEEN, abs=0.05)
    month = np.array([int(w.start[5:7]) for w in hko7(7)])
    many = means(hko7(7), 7)
    assert many[(month >= 5) & (month <= 9)].mean() > many[(month <= 2) | (month == 12)].mean() + 0.3


def test_times_that_are_none_are_named(tmp_path):
    file = tmp_path / "times.csv"
    file.write_text("time,x\n2015-01-01T00:00,0\nnoon,0\n")
    with pytest.raises(ValueError, match=r"line 3: 'noon'"):
        read_times(file)
    file.write_text("2015-01-01T00:06\n2015-01-01T00:00\n")
    with pytest.raises(ValueError, match="not increasing"):
        read_times(file)


# ------------------------------------------------------------------ archives


def test_same_seed_same_bytes_whatever_the_workers_and_chunks(tmp_path, monkeypatch):
    first = make(tmp_path / "a", shape=SHAPE, weather=TINY)
    second = make(tmp_path / "b", shape=SHAPE, weather=TINY, workers=2, shard=15)
    monkeypatch.setattr(making, "BLOCK", 7)
    third = make(tmp_path / "c", shape=SHAPE, weather=TINY)
    assert first.fingerprint == second.fingerprint == third.fingerprint
    truths = [Truth(str(tmp_path / name)) for name in "abc"]
    for time in first.times:
        for truth in truths[1:]:
            np.testing.assert_array_equal(truth.clean(int(time)), truths[0].clean(int(time)))
    for ahead in zip(*(truth.ahead(int(first.times[0]), 5) for truth in truths), strict=True):
        np.testing.assert_array_equal(ahead[0][0], ahead[1][0])
        np.testing.assert_array_equal(ahead[0][0], ahead[2][0])
    assert make(tmp_path / "d", shape=SHAPE, seed=8, weather=TINY).fingerprint != first.fingerprint


@pytest.mark.parametrize("stop_at", [0, 7, 15])
def test_a_stopped_making_goes_on(tmp_path, monkeypatch, stop_at):
    whole = make(tmp_path / "a", shape=SHAPE, weather=TINY)
    monkeypatch.setattr(making, "BLOCK", 5)
    original = Archive.append

    def stopping(self, *arguments):
        if len(self) >= stop_at:
            raise KeyboardInterrupt
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "append", stopping)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "b", shape=SHAPE, weather=TINY)
    again = make(tmp_path / "b", shape=SHAPE, weather=TINY)
    assert again.fingerprint == whole.fingerprint
    for time in whole.times:
        np.testing.assert_array_equal(
            Truth(str(tmp_path / "b")).clean(int(time)), Truth(str(tmp_path / "a")).clean(int(time))
        )
    assert not list(tmp_path.glob("*.parts"))


def test_a_making_stopped_before_its_truth_goes_on(tmp_path, monkeypatch):
    whole = make(tmp_path / "a", shape=SHAPE, weather=TINY)
    with monkeypatch.context() as patch:

        def stopping(*_):
            raise KeyboardInterrupt

        patch.setattr(making, "create_truth", stopping)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "b", shape=SHAPE, weather=TINY)
    assert make(tmp_path / "b", shape=SHAPE, weather=TINY).fingerprint == whole.fingerprint


def test_another_archive_is_not_gone_on_with(tmp_path):
    make(tmp_path / "a", shape=SHAPE, weather=TINY)
    with pytest.raises(ValueError, match="other arguments"):
        make(tmp_path / "a", shape=SHAPE, weather=TINY, seed=8)
    (tmp_path / "foreign").mkdir()
    with pytest.raises(ValueError, match="is no archive"):
        make(tmp_path / "foreign", shape=SHAPE, weather=TINY)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": -1}, "a seed is"),
        ({"shape": (5, 200)}, "at least 8 x 8 px"),
        ({"cadence": 0}, "a minute apart"),
        ({"shard": 7}, "multiple of 5"),
        ({"weather": ()}, "at least one episode"),
        ({"weather": TINY[::-1]}, "of 2015-07-09T00:00 is not over when that of 2015-05-20T00:00 begins"),
        ({"weather": (Weather("test", "2015-05-20T00:00", 20), Weather("test", "2015-05-20T01:00", 8))}, "not over"),
    ],
)
def test_what_cannot_be_made_is_said_at_once(tmp_path, other, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "a", **({"shape": SHAPE, "weather": TINY} | other))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("shape", "cadence"), [((8, 8), 6), ((8, 200), 6), ((13, 40), 10), ((48, 31), 1)])
def test_any_shape_and_cadence(tmp_path, shape, cadence):
    archive = make(tmp_path / "a", shape=shape, cadence=cadence, weather=TINY)
    assert archive.shape == shape
    np.testing.assert_array_equal(np.diff(archive.times[-8:]), cadence)
    assert len(list(Truth(str(tmp_path / "a")).ahead(int(archive.times[0]), 4))) == 4


def test_the_truth_of_a_stopped_making_is_what_was_written(tmp_path, monkeypatch):
    original = Archive.append

    def stopping(self, *arguments):
        if len(self):
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(Archive, "append", stopping)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "a", shape=SHAPE, weather=TINY)
    archive, truth = Archive(str(tmp_path / "a")), Truth(str(tmp_path / "a"))
    assert len(archive) == 11
    for time in archive.times:
        assert truth.growth(int(time)) == pytest.approx(growth(int(time)), abs=1e-6)


def test_the_truth_is_beside_the_frames(tmp_path):
    archive, truth = make(tmp_path / "a", shape=(96, 96), weather=TINY), Truth(str(tmp_path / "a"))
    radar = site((96, 96), making.SEED)
    for i, time in enumerate(archive.times):
        clean, frame = truth.clean(int(time)), archive.frames(i, i + 1)[0]
        unblocked = (archive.mask == 0) & (radar.loss == 0)
        rain = unblocked & (clean >= 71)
        sun = (frame >= 71) & unblocked & (clean < 71)
        assert sun.mean() < 0.02
        assert (frame[rain] >= clean[rain]).all(), "what rains is seen; a spike of the sun may hide it"
    with pytest.raises(ValueError, match="no frame at minute"):
        truth.clean(int(archive.times[0]) + 1)


def test_an_archive_without_truth_says_so(small_archive, tmp_path, new_archive):
    new_archive(np.arange(6) * 6, np.zeros((6, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="keeps no truth"):
        Truth(str(tmp_path / "some.zarr"))
    shutil.copytree(small_archive, tmp_path / "torn.zarr")
    shutil.rmtree(tmp_path / "torn.zarr" / "truth" / "clean" / "c")
    torn = Truth(str(tmp_path / "torn.zarr"))
    with pytest.raises(ValueError, match="lacks the chunk"):
        torn.clean(int(Archive(str(small_archive)).times[0]))


def test_the_default_archive_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HKO7ENV_CACHE", str(tmp_path / "cache"))
    made = []
    monkeypatch.setattr(synthetic, "make", lambda *a, **k: made.append(make(*a, **{**k, "weather": TINY})))
    first = synthetic.default_archive((24, 24))
    assert synthetic.default_archive((24, 24)) == first
    assert len(made) == 1
    assert len(Archive(str(first))) == 19
    assert Truth(str(first)).place.shape == (24, 24)


# ------------------------------------------------------------------ oracles


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A wet day of 180 x 180 frames."""
    path = tmp_path_factory.mktemp("oracle") / "moving.zarr"
    make(path, shape=(180, 180), seed=3, weather=(Weather("test", "2015-06-01T00:00", 60, missing=(9, 24)),))
    return str(path)


def test_an_oracle_of_another_archive_is_refused(moving, small_archive):
    task = NowcastingEnv(archive=str(small_archive), split="test").task
    with pytest.raises(ValueError, match="give --truth the archive that is evaluated"):
        load("agents.oracle", task, truth=moving)


def test_the_eddies_have_the_strength_they_should(monkeypatch):
    """Over many winds, and on maps where a single eddy fits."""
    for size, view in (((64, 80), (48, 64)), ((576, 576), (480, 480))):
        winds = [Wind(size, view, (seed, 0), cadence=6) for seed in range(60)]
        ratio = [np.square(w._eddy_scale * w._eddies()).sum(0).mean() / w._speed**2 for w in winds]
        assert np.sqrt(np.mean(ratio)) == pytest.approx(0.15, abs=0.02)


def test_who_knows_more_forecasts_better(moving):
    csi = {}
    for name, agent, options in (
        ("last frame", "agents.last_frame", {}),
        ("motion", "agents.oracle", {"truth": moving}),
        ("growth", "agents.oracle", {"truth": moving, "growth": True}),
    ):
        env = NowcastingEnv(archive=moving, split="test", online=False)
        csi[name] = np.nanmean(scores(run(env, load(agent, env.task, **options)))["csi"][:, :4], axis=1)
    assert (csi["motion"] > csi["last frame"]).mean() > 0.9
    assert csi["growth"].mean() > csi["motion"].mean()


def test_the_oracle_carries_a_frame_along_a_motion_that_is_known_by_hand(moving, tmp_path):
    """Two pixels down and three left a step, everywhere, always: the forecast is the shifted frame."""
    shutil.copytree(moving, tmp_path / "steady.zarr")
    path = str(tmp_path / "steady.zarr")
    writable = Truth(path, writable=True)
    steps = len(writable.steps)
    nodes = next(writable.ahead(int(writable.steps[0]), 1))[0].shape[1:]
    motion = np.broadcast_to(np.array([2, -3], np.float32)[:, None, None], (2, *nodes))
    writable.write("motion", 0, np.broadcast_to(motion, (steps, *motion.shape)))
    env = NowcastingEnv(archive=path, split="test", online=False)
    agent = load("agents.oracle", env.task, truth=path)
    observation, _ = env.reset()
    agent.store(observation)
    forecast = agent.predict()
    clean = Truth(path).clean(int(observation["time"][-1])) / 255
    for k in (0, 4, 19):
        down, left = 2 * (k + 1), 3 * (k + 1)
        np.testing.assert_allclose(forecast[k][down:, : 180 - left], clean[: 180 - down, left:], atol=1e-4)
    assert (forecast[19][:39] == 0).all(), "nothing is known to flow in"


class TestOracle(AgentTests):
    @pytest.fixture(autouse=True)
    def archive(self, tmp_path_factory, monkeypatch):
        from agents import oracle

        class Known:
            """A truth of any grid: still air, and the frame of a fixed pattern."""

            def __init__(self, task):
                self.shape = (task.height, task.width)
                self.place, self.cadence = np.zeros(self.shape, np.float32), task.cadence
                self.marginal = Marginal((1.3, 1.6, 1.9, 2.2, 2.6))

            def clean(self, time):
                return np.random.default_rng(time).integers(0, 256, self.shape, dtype=np.uint8)

            def growth(self, time):
                return 0.0

            def ahead(self, time, steps):
                for _ in range(steps):
                    yield np.ones((2, 6, 6), np.float32), 0.1

        self.known = Known
        self.oracle = oracle
        self.patch = monkeypatch

    def make(self, task):
        self.patch.setattr(self.oracle, "Truth", lambda path: self.known(task))
        return load("agents.oracle", task, truth="x", growth=True)


def test_short_waves_are_few():
    assert 0.001 < short_waves((480, 480), 6) < 0.05
