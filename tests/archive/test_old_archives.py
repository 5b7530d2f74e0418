"""Archives that earlier versions of hko7env have written still open, can be scored and can be appended to."""

import json
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hko7env.archive import Archive, commit_record
from hko7env.archive.format import GOOD, SUSPECT, minutes
from hko7env.synthetic import EpisodeSpec, Truth, make

DATA = Path(__file__).resolve().parent / "data"
START = minutes("2015-05-20T00:00")


@pytest.fixture
def unpacked(tmp_path):
    """Unpack one of the stored archives: unpacked(name) is its path."""

    def unpack(name):
        with zipfile.ZipFile(DATA / f"{name}.zip") as file:
            file.extractall(tmp_path / name)
        return tmp_path / name

    return unpack


def record_of(path):
    return json.loads((path / "zarr.json").read_text())["attributes"]


def test_an_archive_of_the_first_version_without_a_digest(unpacked, caplog):
    path = unpacked("without-digest")
    assert commit_record.INTEGRITY not in record_of(path)
    with caplog.at_level(logging.WARNING):
        archive = Archive(str(path), writable=True)
    assert "without a digest" in caplog.text
    assert archive.fingerprint == "53757b7b281980722d34805b30e0d71b31785c17882f01c87e0f009e084da365"
    frames = (np.arange(7 * 6 * 8).reshape(7, 6, 8) * 37 % 256).astype(np.uint8)
    frames[2] = 0
    np.testing.assert_array_equal(archive.frames(0, 7), frames)
    np.testing.assert_array_equal(archive.times, START + np.array([0, 6, 12, 18, 24, 30, 48]))
    assert archive.status.tolist() == [GOOD] * 6 + [SUSPECT]
    assert archive.mask[:, 0].tolist() == [1, 0, 0, 0, 0, 2]
    assert archive.crs == "+proj=aeqd +lat_0=22.3 +lon_0=114.2 +units=m"
    assert (archive.attributes["source"], archive.attributes["note"]) == ("a test", 1)
    assert len(archive.select("test")) == 6
    assert not [message for message in archive.verify() if message]
    archive.append([START + 54], frames[:1])
    assert "sha256" in record_of(path)[commit_record.INTEGRITY]
    np.testing.assert_array_equal(Archive(str(path)).frames(6, 8), frames[[6, 0]])


def test_a_synthetic_archive_with_its_truth(unpacked):
    path = unpacked("synthetic")
    archive, truth = Archive(str(path)), Truth(str(path))
    assert archive.fingerprint == "6d78476bdeb64d9ec032fb9f3db475b18f98960e67314ce511e780759cf4cc7a"
    assert len(archive) == 11
    assert not [message for message in archive.verify() if message]
    assert len(truth.steps) == 12
    assert truth.clean(int(archive.times[-1])).shape == (8, 8)
    motions, daily = zip(*truth.ahead(int(archive.times[0]), 4), strict=True)
    assert all(motion.any() for motion in motions)
    assert len(set(daily)) == 4


def test_the_generator_still_makes_the_stored_archive(unpacked, tmp_path):
    """Another version of the generator needs a new GENERATOR_VERSION; rounding may differ from machine to machine."""
    path = unpacked("synthetic")
    stored, truth = Archive(str(path)), Truth(str(path))
    weather = (EpisodeSpec("test", "2015-05-20T00:00", 12, missing=(3,)),)
    made = make(tmp_path / "made", shape=(8, 8), weather=weather)
    assert made.attributes["synthetic"] == {
        **stored.attributes["synthetic"],
        "quantiles": pytest.approx(stored.attributes["synthetic"]["quantiles"], rel=1e-6),
    }
    assert (made.splits, made.crs, made.x.tolist()) == (stored.splits, stored.crs, stored.x.tolist())
    np.testing.assert_array_equal(made.times, stored.times)
    assert (made.frames(0, 11) != stored.frames(0, 11)).mean() < 0.01
    first = int(made.times[0])
    pairs = zip(Truth(str(tmp_path / "made")).ahead(first, 11), truth.ahead(first, 11), strict=True)
    for (motion, diurnal), (stored_motion, stored_diurnal) in pairs:
        np.testing.assert_allclose(motion, stored_motion, atol=1e-5)
        assert diurnal == pytest.approx(stored_diurnal)
