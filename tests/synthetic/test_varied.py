"""Varied archives: what a seed fixes, what the attributes list, and what cannot be made."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.synthetic import EpisodeSpec, Truth, make, make_varied, writer
from hko7env.synthetic.coverage import coverage
from hko7env.synthetic.rain_types import TYPES
from hko7env.synthetic.varied import EPISODES, FRAMES, draw_episodes, record, times_by_type, varied

SHAPE = (48, 56)
TINY = varied(3, {"train": 5, "valid": 1}, 8)


def test_same_seed_same_bytes_whatever_the_workers(tmp_path):
    first = make_varied(tmp_path / "a", shape=SHAPE, weather=TINY)
    second = make_varied(tmp_path / "b", shape=SHAPE, weather=TINY, workers=2, shard=15)
    assert first.fingerprint == second.fingerprint
    assert first.attributes["synthetic"] == second.attributes["synthetic"]
    assert make_varied(tmp_path / "c", shape=SHAPE, weather=TINY, seed=8).fingerprint != first.fingerprint
    assert not list(tmp_path.glob("*.parts"))


@pytest.mark.parametrize("stop_at", [0, 20])
def test_a_stopped_making_goes_on(tmp_path, monkeypatch, stop_at):
    whole = make_varied(tmp_path / "a", shape=SHAPE, weather=TINY)
    original = Archive.append

    def stopping(self, *arguments):
        if len(self) >= stop_at:
            raise KeyboardInterrupt
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "append", stopping)
        with pytest.raises(KeyboardInterrupt):
            make_varied(tmp_path / "b", shape=SHAPE, weather=TINY)
    assert make_varied(tmp_path / "b", shape=SHAPE, weather=TINY).fingerprint == whole.fingerprint


def test_the_attributes_list_what_each_episode_is(tmp_path):
    made = make_varied(tmp_path / "a", shape=SHAPE, weather=TINY, cadence=5)
    told = json.loads(json.dumps(Archive(str(tmp_path / "a")).attributes["synthetic"]))
    assert (told["preset"], told["seed"], told["coverage"]) == ("varied", 7, "composite")
    assert [(e["split"], e["start"]) for e in told["episodes"]] == [(w.split, w.start) for w in TINY]
    assert sorted(e["type"] for e in told["episodes"][:5]) == sorted(TYPES)
    assert {"wet", "pace", "process", "faults"} <= set(told["episodes"][0])
    by_type = times_by_type(made)
    assert list(by_type) == [name for name in TYPES if name in {e["type"] for e in told["episodes"]}]
    np.testing.assert_array_equal(np.sort(np.concatenate(list(by_type.values()))), made.times)
    assert set(np.diff(made.times[:8])) == {5}
    np.testing.assert_array_equal(made.mask, coverage(SHAPE, 7).mask)
    assert set(made.splits) == {"train", "valid"}


def test_the_preset_has_all_types_in_both_splits():
    weather = varied(7)
    assert len(weather) == sum(EPISODES.values())
    assert {w.frames for w in weather} == {FRAMES}
    assert {w.start[:4] for w in weather if w.split == "valid"} == {"2014"}
    episodes = draw_episodes(weather, SHAPE, 7, 6)
    for split, count in EPISODES.items():
        types = [e.conditions.type for e in episodes if e.spec.split == split]
        assert {types.count(name) for name in TYPES} == {count // len(TYPES)}


def test_episodes_have_their_own_noise_and_pace(tmp_path):
    """A quick episode begins as a slow one does and then changes more; no other archive of the seed has its waves."""
    one = draw_episodes(TINY, (96, 96), 7, 6)[0]
    slow, quick = (replace(one, conditions=replace(one.conditions, pace=pace)) for pace in (0.2, 2.5))
    a, b = (list(e.generate(None)) for e in (slow, quick))
    np.testing.assert_array_equal(a[0].latent, b[0].latent)
    change = [np.square(m[1].latent - m[0].latent).mean() for m in (a, b)]
    assert change[0] < 0.5 * change[1]
    assert one.key[1] >= 1 << 40
    assert len({e.key for e in draw_episodes(TINY, SHAPE, 7, 6)}) == len(TINY)
    assert len(list(record(one, None))) == 8


def test_there_is_no_truth(tmp_path):
    make_varied(tmp_path / "a", shape=SHAPE, weather=TINY[:1])
    with pytest.raises(ValueError, match="preset varied"):
        Truth(str(tmp_path / "a"))
    assert not times_by_type(make(tmp_path / "b", shape=SHAPE, weather=TINY[:1]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": -1}, "a seed is"),
        ({"shape": (5, 200)}, "at least 8 x 8 px"),
        ({"cadence": 0}, "a minute apart"),
        ({"shard": 7}, "multiple of 5"),
        ({"weather": ()}, "at least one episode"),
        (
            {"weather": (EpisodeSpec("train", "2012-01-01T00:00", 9), EpisodeSpec("train", "2012-01-01T00:30", 9))},
            "not",
        ),
    ],
)
def test_what_cannot_be_made_is_said_at_once(tmp_path, other, message):
    with pytest.raises(ValueError, match=message):
        make_varied(tmp_path / "a", **({"shape": SHAPE, "weather": TINY} | other))
    assert not list(tmp_path.iterdir())


def test_another_archive_is_not_gone_on_with(tmp_path):
    make_varied(tmp_path / "a", shape=SHAPE, weather=TINY[:2])
    for other in ({"seed": 8}, {"cadence": 10}, {"weather": TINY[:1]}):
        with pytest.raises(ValueError, match="other arguments"):
            make_varied(tmp_path / "a", **({"shape": SHAPE, "weather": TINY[:2]} | other))
    make(tmp_path / "b", shape=SHAPE, weather=TINY[:2])
    with pytest.raises(ValueError, match="other arguments"):
        make_varied(tmp_path / "b", shape=SHAPE, weather=TINY[:2])
    with pytest.raises(ValueError, match="other arguments"):
        make(tmp_path / "a", shape=SHAPE, weather=TINY[:2])
    assert writer.GENERATOR_VERSION == 2, "of the other presets, which stay as they are"
