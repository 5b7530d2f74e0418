import gymnasium
import numpy as np
import pytest

from agents.calibrated_flow import Config, make
from agents.calibration import counting, prior
from hko7env.archive import create
from hko7env.runner import run
from hko7env.units import HKO7, ZR


def test_a_prior_is_made_and_an_interrupted_command_continues(command, small_archive, tmp_path, monkeypatch):
    done = command("calibrate", small_archive, "--out", "whole", "--cache", "a")
    assert done.status == 0, done.err
    assert "1 x hko7env synthetic rain" in done.out
    assert "train, 4 sequences" in done.out
    monkeypatch.setattr(counting, "PART", 1)
    original, calls = counting.count_sequence, []

    def stopping(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(counting, "count_sequence", stopping)
    words = ("calibrate", small_archive, "--out", "parts", "--cache", "b")
    assert command(*words).status == 130
    assert not (tmp_path / "parts").exists()
    assert command(*words).status == 0
    assert len(calls) == 3 + 2, "the two sequences that were kept are not counted again"
    made, parts = (prior.read(tmp_path / name, HKO7) for name in ("whole", "parts"))
    np.testing.assert_array_equal(parts.counts, made.counts)
    assert parts.metadata == made.metadata
    np.testing.assert_allclose(made.counts.reshape(20, 5, -1).sum(2), prior.SUM, rtol=1e-3)
    assert made.metadata["archives"][0]["sequences"] == 4
    env = gymnasium.make("HKO7-Offline-v0", archive=str(small_archive))
    run(env, make(env.unwrapped.task, Config(prior=tmp_path / "whole")), options={"stop": 1})


def test_weights_scale_mean_sequences(command, small_archive, tmp_path):
    assert command("calibrate", f"{small_archive}=3", "--out", "one").status == 0
    assert command("calibrate", small_archive, f"{small_archive}=2", "--out", "two").status == 0
    one, two = (prior.read(tmp_path / name, HKO7) for name in ("one", "two"))
    np.testing.assert_array_equal(one.counts, two.counts)
    assert [source["weight"] for source in two.metadata["archives"]] == [1, 2]


@pytest.mark.parametrize("weight", ["0", "-1", "x", "inf", "nan", ""])
def test_a_weight_is_a_number_above_0(command, weight):
    done = command("calibrate", f"a.zarr={weight}", "--out", "b")
    assert done.status == 2
    assert "a weight above 0" in done.err


def test_frames_of_a_test_split_calibrate_nothing(command, small_archive):
    for split in ("test", "all"):
        done = command("calibrate", small_archive, "--split", split, "--out", "b")
        assert done.status == 1
        assert "holds frames of the split 'test'" in done.err


def test_archives_of_one_prior_have_one_relation_of_level_to_rain_rate(command, tmp_path):
    for name, zr in (("one.zarr", HKO7), ("other.zarr", ZR(200.0, 1.6))):
        made = create(str(tmp_path / name), shape=(48, 64), zr=zr)
        made.append(60 + 6 * np.arange(30), np.zeros((30, 48, 64), np.uint8))
    done = command("calibrate", "one.zarr", "other.zarr", "--split", "all", "--out", "b")
    assert done.status == 1
    assert "make a prior of each" in done.err


def test_a_split_without_sequences_is_named(command, new_archive):
    archive = new_archive(60 + 6 * np.arange(10), np.zeros((10, 16, 16), np.uint8))
    done = command("calibrate", archive.name, "--split", "all", "--out", "b")
    assert done.status == 1
    assert "split all, holds no sequence" in done.err


def test_damaged_counts_are_named_with_the_remedy(command, small_archive, tmp_path):
    words = ("calibrate", small_archive, "--out", "prior")
    assert command(*words).status == 0
    (kept,) = (tmp_path / "calibration").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    done = command(*words)
    assert done.status == 1
    assert f"{kept.name} is damaged" in done.err
    assert "delete it" in done.err
