"""The default archive: weather that is spread over the climate with any seed, and noise that no other archive has."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import special

from hko7env.archive import Archive
from hko7env.archive.format import DAY
from hko7env.schedule import schedule
from hko7env.synthetic import EpisodeSpec, Truth, make, make_varied
from hko7env.synthetic.demo import (
    DEMO_VERSION,
    DRY,
    EPISODES,
    FRAMES,
    GAINS,
    HEAVY,
    PROCESS,
    SEEN,
    SHAPE,
    SPREAD,
    WET,
    WETNESS,
    demo,
    draw_episodes,
    make_demo,
    settle,
)
from hko7env.synthetic.episode import count_latents
from hko7env.synthetic.rain import wet_quantile
from hko7env.synthetic.weather import small

TINY = (EpisodeSpec("train", "2013-06-01T00:00", 6), EpisodeSpec("test", "2015-07-09T00:00", 30, missing=(4,)))
SEEDS = (*range(12), 2**63 - 1)


def of(split, weather):
    return [spec for spec in weather if spec.split == split]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_test_split_is_many_episodes_of_different_days_and_hours(seed):
    weather = demo(seed)
    assert {split: len(of(split, weather)) for split in EPISODES} == EPISODES
    test = of("test", weather)
    walk = schedule(np.concatenate([spec.times(6) for spec in test]))
    assert len(walk.episode_starts) == EPISODES["test"] >= 20
    assert len(walk) == EPISODES["test"] * ((FRAMES - 25) // 5 + 1)
    starts = np.array([spec.times(6)[0] for spec in test])
    assert np.diff(starts).min() > DAY, "forecasts of one event are alike: each block has an event of its own"
    hours = np.sort(starts % DAY) / DAY
    np.testing.assert_allclose(hours, (np.arange(len(hours)) + 0.5) / len(hours), atol=0.51 / len(hours) + 0.01)
    summer = [spec for spec in test if "05" <= spec.start[5:7] <= "09"]
    assert 0.5 < len(summer) / len(test) < 0.68, "of all rainy days 62 % are from May to September"
    assert any(spec.missing for spec in test)
    assert demo(seed) == weather != demo(seed + 1 if seed < 100 else 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_split_has_the_wetness_and_the_wind_of_the_climate(seed):
    for split, count in EPISODES.items():
        found = [e for e in draw_episodes(demo(seed), SHAPE, seed, 6) if e.spec.split == split]
        means = np.array([e.mean for e in found])
        assert means.mean() == pytest.approx(0, abs=1e-9)
        assert means.std() == pytest.approx(WETNESS, rel=0.05)
        speeds = np.array([e.process.speed[0] for e in found])
        assert all(e.process.speed[0] == e.process.speed[1] for e in found)
        slowest, fastest = PROCESS.speed
        bands = ((speeds - slowest) / (fastest - slowest) * 4).astype(int)[np.argsort(-means)]
        for first in range(0, count - 3, 4):
            assert sorted(bands[first : first + 4]) == [0, 1, 2, 3]
        assert bands[0] in (1, 2), "the wettest episode, which has most of the heavy rain, has an ordinary wind"


def count(episodes):
    return [count_latents(None, episode) for episode in episodes]


@pytest.fixture(scope="module")
def settled():
    """Six episodes with their wetness as mean; the same settled, and their counts; and the counts of those."""
    weather = [EpisodeSpec("test", f"2015-07-0{day}T00:00", 6) for day in range(1, 7)]
    drawn = draw_episodes(weather, (96, 96), 3, 6)
    episodes, counts = settle(drawn, count)
    return drawn, episodes, counts, count(episodes)


def share_above(of_episode, value):
    """Share of the counted values from ``value`` on."""
    return of_episode[round((8 + value) * 100) :].sum() / of_episode.sum()


def test_it_rains_in_each_episode_as_much_as_its_wetness_says(settled):
    """The random waves of an episode decide where and when it rains, not how much."""
    drawn, episodes, counts, counted = settled
    of_wetness = special.ndtr([episode.mean - DRY for episode in drawn])
    assert np.ptp(of_wetness) > 0.3
    np.testing.assert_allclose([share_above(c, WET) for c in counted], of_wetness, atol=0.02)
    for told, found in zip(counts, counted, strict=True):
        assert np.abs(np.cumsum(told - found)).max() < 0.002 * found.sum(), "but for values between two bins"
    assert np.abs([e.mean - d.mean for e, d in zip(episodes, drawn, strict=True)]).max() > 0.1


def test_it_rains_as_hard_in_each_episode_as_its_wetness_says(settled):
    """So no episode has much of the archive's heavy rain because its waves happen to be high."""
    drawn, episodes, _, counted = settled
    seen = np.array([special.ndtr(episode.mean - DRY - HEAVY) >= SEEN for episode in drawn])
    gains = np.array([episode.gain for episode in episodes])
    assert 3 <= seen.sum() < len(seen)
    assert (gains[~seen] == 1).all()
    assert np.ptp(gains) > 0.1
    free = seen & (gains > GAINS[0]) & (gains < GAINS[1])
    assert free.sum() >= 2
    of_wetness = special.ndtr([episode.mean - DRY - HEAVY for episode in drawn])
    for i in np.flatnonzero(free):  # terrain, time of day and slow changes of the mean have no gain
        span = wet_quantile(counted[i], of_wetness[i]) - WET
        assert span == pytest.approx(HEAVY * SPREAD, rel=0.15)


def test_a_gain_is_of_the_waves_alone():
    weather = [EpisodeSpec("test", "2015-07-01T00:00", 2)]
    (drawn,) = draw_episodes(weather, (48, 48), 3, 6)
    one, two, three = (next(replace(drawn, gain=g).generate(None, coarse=True)).latent for g in (1.0, 2.0, 3.0))
    np.testing.assert_allclose(two - one, three - two, atol=1e-5)
    rest = one - (two - one)  # without waves: mean, terrain, time of day
    assert rest.std() < 0.3 < (two - one).std()


def test_an_interrupted_call_goes_on_with_the_same_means_and_gains(tmp_path, monkeypatch):
    monkeypatch.setattr("hko7env.synthetic.demo.SEEN", 1e-3)
    whole = make_demo(tmp_path / "a", shape=(24, 40), weather=TINY)
    means, gains = (whole.attributes["synthetic"][name] for name in ("means", "gains"))
    assert len(means) == len(gains) == len(TINY)
    assert gains != [1.0] * len(TINY)
    assert means != [episode.mean for episode in draw_episodes(TINY, (24, 40), 7, 6)]
    with monkeypatch.context() as broken:
        broken.setattr("hko7env.synthetic.writer.observed", None)
        with pytest.raises(TypeError):
            make_demo(tmp_path / "b", shape=(24, 40), weather=TINY)
    monkeypatch.setattr("hko7env.synthetic.writer.solve", None)
    assert make_demo(tmp_path / "b", shape=(24, 40), weather=TINY).fingerprint == whole.fingerprint


def test_no_episode_has_the_noise_of_another_archive(tmp_path):
    """Rain that a network was trained on, but for its wetness, would be no test of it."""
    numbers = {e.key for e in draw_episodes(demo(7), SHAPE, 7, 6)}
    assert len(numbers) == sum(EPISODES.values())
    assert min(number for _, number in numbers) >= len(small(7)) + 2**40 + 10**6
    made = make_demo(tmp_path / "demo", shape=(48, 48), weather=TINY[1:])
    other = make(tmp_path / "other", shape=(48, 48), weather=TINY[1:])
    one, two = (Truth(str(tmp_path / a)).clean(int(made.times[0])).astype(float) for a in ("demo", "other"))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.9
    assert (Truth(str(tmp_path / "demo")).terrain_bias == Truth(str(tmp_path / "other")).terrain_bias).all()
    assert other.attributes["synthetic"]["generator"] == 2


def test_it_is_made_as_the_other_archives_are(tmp_path, monkeypatch):
    first = make_demo(tmp_path / "a", shape=(24, 40), weather=TINY)
    second = make_demo(tmp_path / "b", shape=(24, 40), weather=TINY, workers=2, shard=10)
    assert first.fingerprint == second.fingerprint
    assert first.attributes["synthetic"]["generator"] == DEMO_VERSION == 4
    assert f"generator {DEMO_VERSION}, seed 7" in first.attributes["source"]
    assert make_demo(tmp_path / "c", shape=(24, 40), weather=TINY, seed=8).fingerprint != first.fingerprint
    with pytest.raises(ValueError, match="another generator"):
        make(tmp_path / "a", shape=(24, 40), weather=TINY)
    assert len(Archive(str(tmp_path / "a"))) == 35


@pytest.mark.parametrize(("seed", "shape"), [(-1, SHAPE), (0, (5, 200))])
def test_bad_arguments_are_refused(tmp_path, seed, shape):
    with pytest.raises(ValueError, match=r"a seed is|at least 8"):
        make_demo(tmp_path / "a", seed=seed, shape=shape)
    with pytest.raises(ValueError, match=r"a seed is|at least 8"):
        make_varied(tmp_path / "a", seed=seed, shape=shape)


def test_days_are_apart_and_in_order():
    for seed in SEEDS:
        for one, following in pairwise(demo(seed)):
            assert one.times(6)[-1] + 6 < following.times(6)[0]
