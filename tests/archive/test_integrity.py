"""Attacks on an archive's metadata and on its writers: each is refused or harmless, and nothing committed is lost."""

import errno
import json
import logging
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from hko7env.archive import Archive, ArchiveError, commit_record, create
from hko7env.archive.format import NO_TIME
from hko7env.locking import LockedError, sole_writer
from hko7env.synthetic import EpisodeSpec, make
from hko7env.synthetic.episode import new_array

ROOT = Path(__file__).resolve().parents[2]
FRAMES = np.random.default_rng(1).integers(0, 256, (12, 8, 8), np.uint8)
TIMES = 6 * np.arange(12) + 24_000_000
SPLITS = {"train": [("2015-08-19", "2015-08-20")], "test": [("2015-08-20", "2015-09-01")]}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("archives") / "a.zarr"
    made = create(str(path), shape=(8, 8), splits=SPLITS, x=np.arange(8.0), y=-np.arange(8.0))
    made.append(TIMES, FRAMES)
    return path


@pytest.fixture
def archive(original, tmp_path):
    """A square archive of 12 frames whose axes differ."""
    return shutil.copytree(original, tmp_path / "a.zarr")


def seen(path):
    """All that a score can depend on, and whether verify finds fault; None if the archive is refused."""
    try:
        archive = Archive(str(path))
        faults = [message for message in archive.verify() if message]
        frames = archive.frames(0, len(archive)).tobytes()
    except ArchiveError:
        return None
    axes = (archive.x.tolist(), archive.y.tolist(), archive.crs)
    return (archive.fingerprint, archive.attributes, archive.cadence, archive.zr, archive.splits, axes, frames), faults


def test_200_flipped_bits_in_metadata_are_refused_or_harmless(archive):
    dice = random.Random(4)
    sound, faults = seen(archive)
    assert not faults
    record = archive / "zarr.json"
    own = sorted(archive.glob("*/zarr.json"))
    refused = 0
    for i in range(200):
        file = record if i % 5 else dice.choice(own)
        good = file.read_bytes()
        bad = bytearray(good)
        bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        file.write_bytes(bad)
        result = seen(archive)
        if result is None:
            refused += 1
        else:
            assert result[0] == sound, f"byte of {file} flipped: a score may change in silence"
            changed = json.loads(good) != _parsed(bad)
            assert bool(result[1]) == (changed and file != record), f"verify did not notice {file}"
        file.write_bytes(good)
    assert refused > 120
    assert seen(archive) == (sound, [])


def _parsed(data):
    try:
        return json.loads(data)
    except ValueError:
        return None


@pytest.mark.parametrize(
    "old, new",
    [
        ('"zr_a": 58.53', '"zr_a": 78.53'),
        ('"cadence_minutes": 6', '"cadence_minutes": 4'),
        ('"test"', '"vest"'),
        ('"2015-08-20"', '"2015-08-10"'),
    ],
)
def test_an_edit_of_what_scores_depend_on_is_refused(archive, old, new):
    record = archive / "zarr.json"
    text = record.read_text()
    assert old in text
    record.write_text(text.replace(old, new))
    with pytest.raises(ArchiveError, match=r"digest that was committed.*restore its zarr\.json"):
        Archive(str(archive))


def test_exchanged_axes_of_a_square_archive_are_refused(archive):
    x, y = (archive / name / "c" / "0" for name in "xy")
    first, second = x.read_bytes(), y.read_bytes()
    x.write_bytes(second)
    y.write_bytes(first)
    with pytest.raises(ArchiveError, match="x is damaged or missing"):
        Archive(str(archive))


def test_a_mask_of_an_earlier_commit_is_refused(archive):
    chunk = archive / "mask/c/0/0"
    before = chunk.read_bytes()
    Archive(str(archive), writable=True).update(mask=np.ones((8, 8), np.uint8))
    chunk.write_bytes(before)
    with pytest.raises(ArchiveError, match="mask is damaged or missing"):
        Archive(str(archive))


def without_digest(path):
    """Make the archive one that an earlier version has written."""
    file = path / "zarr.json"
    document = json.loads(file.read_text())
    del document["attributes"][commit_record.INTEGRITY]
    file.write_text(json.dumps(document))


def test_an_archive_without_a_digest_opens_with_a_note_and_gets_one(archive, caplog):
    fingerprint = Archive(str(archive)).fingerprint
    without_digest(archive)
    with caplog.at_level(logging.WARNING):
        opened = Archive(str(archive), writable=True)
    assert "without a digest" in caplog.text
    assert opened.fingerprint == fingerprint
    opened.append(TIMES[-1:] + 6, FRAMES[:1])
    caplog.clear()
    assert len(Archive(str(archive))) == 13
    assert not caplog.text
    without_digest(archive)
    Archive(str(archive), writable=True).update(attributes={"note": "x"})
    assert commit_record.INTEGRITY in json.loads((archive / "zarr.json").read_text())["attributes"]


@pytest.mark.parametrize(
    "path, value",
    [
        (("attributes", "splits"), {"test": [["2015-09-01", "2015-08-20"]]}),
        (("attributes", "splits"), {"test": [["soon", "later"]]}),
        (("attributes", "splits"), {"test": 7}),
        (("attributes", "zr_a"), [1]),
        (("attributes", "cadence_minutes"), 1e999),
        (("consolidated_metadata", "metadata", "pixel", "shape"), [10**9, 8, 8]),
        (("consolidated_metadata", "metadata", "pixel", "shape"), [12, 10**6, 10**6]),
        (("consolidated_metadata", "metadata", "mask", "shape"), [10**6, 10**6]),
        (("consolidated_metadata", "metadata", "time", "shape"), [10**12]),
        (("consolidated_metadata", "metadata", "x", "shape"), [10**12]),
        (("consolidated_metadata", "metadata", "time", "data_type"), "float64"),
        (("consolidated_metadata", "metadata", "crs"), None),
        (("consolidated_metadata", "metadata", "x"), {}),
    ],
)
def test_impossible_claims_of_an_archive_without_a_digest_are_refused(archive, path, value):
    without_digest(archive)
    document = inner = json.loads((archive / "zarr.json").read_text())
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    (archive / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(ArchiveError, match=str(archive)):
        Archive(str(archive))


def test_no_frame_is_too_large_to_be_refused(tmp_path):
    with pytest.raises(ValueError, match="too many"):
        create(str(tmp_path / "a"), shape=(10**6, 10**6))


# ---------------------------------------------------------------- appending


@pytest.mark.parametrize("name", ["mask", "x", "y", "crs", "pixel", "time", "status", "checksum"])
@pytest.mark.parametrize("damage", ["gone", "torn", "edited"])
def test_append_mends_damaged_metadata_of_an_array(archive, name, damage):
    file = archive / name / "zarr.json"
    good = file.read_text()
    if damage == "gone":
        file.unlink()
    else:
        file.write_text(good[:40] if damage == "torn" else good.replace('"zstd"', '"gzip"'))
    assert [m for m in Archive(str(archive)).verify() if m and f"{name}/zarr.json" in m]
    Archive(str(archive), writable=True).append(TIMES[-1:] + 6, FRAMES[:1])
    after = Archive(str(archive))
    np.testing.assert_array_equal(after.frames(0, 13), np.concatenate([FRAMES, FRAMES[:1]]))
    assert not [message for message in after.verify() if message]
    assert set(zarr.open_group(str(archive), mode="r", use_consolidated=False)) >= {"mask", "x", "y", "crs", "pixel"}


@pytest.mark.parametrize(
    "times",
    [
        np.array([NO_TIME]),
        np.array([2**63], np.uint64),
        np.array([2**64 - 1], np.uint64),
        np.array([2**62]),
        np.array([-(2**62), 2**62]),
    ],
)
def test_times_that_could_not_be_opened_again_are_refused(tmp_path, times):
    archive = create(str(tmp_path / "a"), shape=(8, 8))
    with pytest.raises(ValueError, match="years 1 to 9999"):
        archive.append(times, FRAMES[: len(times)])
    assert len(Archive(str(tmp_path / "a"))) == 0


# ---------------------------------------------------------------- writers at the same time

WRITER = """
import sys
import numpy as np
from hko7env.archive import Archive, create
print("ready", flush=True)
for path in map(str.strip, sys.stdin):
    try:
        try:
            archive = create(path, shape=(8, 8))
        except FileExistsError:
            archive = Archive(path, writable=True)
        for _ in range(6):
            archive.append([len(archive) * 6], np.full((1, 8, 8), len(archive), np.uint8))
            print("committed", len(archive))
    except ValueError as error:
        print("refused", error)
    print("done", flush=True)
"""


def test_two_writers_lose_nothing_that_was_committed(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], cwd=ROOT, **pipes) for _ in range(2)]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    for trial in range(3):
        path = tmp_path / f"{trial}.zarr"
        for writer in writers:
            writer.stdin.write(f"{path}\n")
            writer.stdin.flush()
        said = [line for writer in writers for line in iter(writer.stdout.readline, "done\n")]
        archive = Archive(str(path))
        committed = [int(line.split()[1]) for line in said if line.startswith("committed")]
        assert len(set(committed)) == len(committed), "two writers committed the same frame"
        assert len(archive) == max(committed) == len(committed)
        assert (archive.frames(0, len(archive))[:, 0, 0] == np.arange(len(archive))).all()
        assert not [message for message in archive.verify() if message]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0


HOLDER = """
import sys
from pathlib import Path
from hko7env.locking import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held(archive, monkeypatch):
    """The archive while another process writes to it."""
    monkeypatch.setattr("hko7env.locking.WAIT_SECONDS", 0.1)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, archive], cwd=ROOT, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        yield archive, other
        other.kill()


def test_a_second_writer_is_told_who_writes(held):
    path, other = held
    writer = Archive(str(path), writable=True)
    for attempt in (
        lambda: writer.append(TIMES[-1:] + 6, FRAMES[:1]),
        lambda: writer.update(splits={}),
        lambda: make(path, shape=(8, 8), weather=(EpisodeSpec("train", "2013-06-10T00:00", 2),)),
    ):
        with pytest.raises(LockedError, match=f"a.zarr is being written by process {other.pid} on .* since 2"):
            attempt()
    assert len(Archive(str(path))) == 12, "reading needs no lock"


def test_the_lock_of_a_killed_writer_is_released(held):
    path, other = held
    other.kill()
    other.wait()
    Archive(str(path), writable=True).append(TIMES[-1:] + 6, FRAMES[:1])
    assert len(Archive(str(path))) == 13


def test_a_thread_may_take_its_lock_again(tmp_path):
    with sole_writer(tmp_path / "a"), sole_writer(tmp_path / "a"):
        assert (tmp_path / ".a.writer").exists()
    assert not (tmp_path / ".a.writer").exists()


# ---------------------------------------------------------------- a full disk while synthetic rain is made


def test_the_space_of_an_episode_is_reserved(tmp_path):
    new_array(tmp_path / "a.npy", np.uint8, (64, 64, 64))
    status = (tmp_path / "a.npy").stat()
    assert status.st_blocks * 512 >= 64**3, "a sparse file: a full disk would kill the process"


def test_making_rain_on_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    weather = (EpisodeSpec("train", "2013-06-10T00:00", 6),)
    with pytest.raises(OSError, match=r"No space left on device: \d+ bytes for.*frames\.npy"):
        make(tmp_path / "a.zarr", shape=(24, 32), weather=weather)
    monkeypatch.undo()
    whole = make(tmp_path / "a.zarr", shape=(24, 32), weather=weather)
    shutil.rmtree(tmp_path / "a.zarr")
    assert make(tmp_path / "a.zarr", shape=(24, 32), weather=weather).fingerprint == whole.fingerprint
