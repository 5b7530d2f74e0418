"""Making archives: what a seed fixes, what an interrupted call leaves, and the truth beside the frames."""

import shutil

import numpy as np
import pytest

from hko7env import synthetic
from hko7env.archive import Archive
from hko7env.synthetic import EpisodeSpec, Truth, episode, make, make_demo
from hko7env.synthetic import writer as making
from hko7env.synthetic.radar import site
from hko7env.synthetic.rain import (
    diurnal_cycle,
)

TINY = (EpisodeSpec("test", "2015-05-20T00:00", 12, missing=(3,)), EpisodeSpec("test", "2015-07-09T00:00", 8))
SHAPE = (40, 56)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make(tmp_path_factory.mktemp("archives") / "a", shape=SHAPE, weather=TINY)


def test_same_seed_same_bytes_whatever_the_workers_and_chunks(whole, tmp_path, monkeypatch):
    second = make(tmp_path / "b", shape=SHAPE, weather=TINY, workers=2, shard=15)
    for module in (making, episode):
        monkeypatch.setattr(module, "BLOCK", 7)
    third = make(tmp_path / "c", shape=SHAPE, weather=TINY)
    assert whole.fingerprint == second.fingerprint == third.fingerprint
    truths = [Truth(str(path)) for path in (whole.name, tmp_path / "b", tmp_path / "c")]
    for time in whole.times:
        for truth in truths[1:]:
            np.testing.assert_array_equal(truth.clean(int(time)), truths[0].clean(int(time)))
    for ahead in zip(*(truth.ahead(int(whole.times[0]), 5) for truth in truths), strict=True):
        np.testing.assert_array_equal(ahead[0][0], ahead[1][0])
        np.testing.assert_array_equal(ahead[0][0], ahead[2][0])
    assert make(tmp_path / "d", shape=SHAPE, seed=8, weather=TINY).fingerprint != whole.fingerprint


@pytest.mark.parametrize("stop_at", [0, 7, 15])
def test_a_stopped_making_goes_on(whole, tmp_path, monkeypatch, stop_at):
    for module in (making, episode):
        monkeypatch.setattr(module, "BLOCK", 5)
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
        np.testing.assert_array_equal(Truth(str(tmp_path / "b")).clean(int(time)), Truth(whole.name).clean(int(time)))
    assert not list(tmp_path.glob("*.parts"))


def test_a_making_stopped_before_its_truth_goes_on(whole, tmp_path, monkeypatch):
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
        (
            {"weather": (EpisodeSpec("test", "2015-05-20T00:00", 20), EpisodeSpec("test", "2015-05-20T01:00", 8))},
            "not over",
        ),
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
        assert truth.diurnal_cycle(int(time)) == pytest.approx(diurnal_cycle(int(time)), abs=1e-6)


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
    with pytest.raises(ValueError, match="has no truth"):
        Truth(str(tmp_path / "some.zarr"))
    shutil.copytree(small_archive, tmp_path / "torn.zarr")
    shutil.rmtree(tmp_path / "torn.zarr" / "truth" / "clean" / "c")
    torn = Truth(str(tmp_path / "torn.zarr"))
    with pytest.raises(ValueError, match="lacks the chunk"):
        torn.clean(int(Archive(str(small_archive)).times[0]))


def test_the_default_archive_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HKO7ENV_CACHE", str(tmp_path / "cache"))
    made = []
    monkeypatch.setattr(synthetic, "make_demo", lambda *a, **k: made.append(make_demo(*a, **{**k, "weather": TINY})))
    first = synthetic.default_archive((24, 24))
    assert synthetic.default_archive((24, 24)) == first
    assert len(made) == 1
    assert len(Archive(str(first))) == 19
    assert Truth(str(first)).terrain_bias.shape == (24, 24)
