"""Removing the oldest frames of an archive that grows, while others have it open."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from hko7env.archive import Archive, ArchiveError, create, opening, pack
from hko7env.synthetic import EpisodeSpec, make

ROOT = Path(__file__).resolve().parents[2]
FRAMES = np.random.default_rng(3).integers(0, 256, (23, 6, 8), np.uint8)
TIMES = 24_000_000 + 6 * np.arange(23)


@pytest.fixture
def path(tmp_path):
    archive = create(str(tmp_path / "a.zarr"), shape=(6, 8))
    archive.append(TIMES, FRAMES)
    return tmp_path / "a.zarr"


def chunks(path, name="pixel"):
    return sorted(int(p.name) for p in (path / name / "c").iterdir())


def test_what_is_left_is_as_before_and_files_are_gone(path):
    archive = Archive(str(path), writable=True)
    assert archive.remove_before(TIMES[13]) == 10, "the chunk of frames 10 to 14 has frames that stay"
    for one in (archive, Archive(str(path))):
        np.testing.assert_array_equal(one.times, TIMES[10:])
        np.testing.assert_array_equal(one.frames(0, 13), FRAMES[10:])
        assert not [message for message in one.verify() if message]
        found, present = one.at(TIMES[[3, 10, 22]])
        assert present.tolist() == [False, True, True]
        np.testing.assert_array_equal(found[2], FRAMES[22])
    assert chunks(path) == [2, 3, 4]


def test_the_fingerprint_is_that_of_an_archive_of_the_same_frames(path, new_archive):
    archive = Archive(str(path), writable=True)
    empty = archive.fingerprint_of_first(0)
    archive.remove_before(TIMES[10])
    assert archive.fingerprint == new_archive(TIMES[10:], FRAMES[10:], "b.zarr").fingerprint
    assert archive.fingerprint_of_first(0) == empty, "what stays the same while an archive grows and is shortened"


def test_an_archive_that_is_shortened_can_grow_and_be_packed(path, tmp_path):
    archive = Archive(str(path), writable=True)
    archive.remove_before(TIMES[10])
    archive.append(TIMES + 23 * 6, FRAMES)
    assert archive.remove_before(archive.times[20]) == 20
    np.testing.assert_array_equal(archive.frames(0, len(archive)), np.concatenate([FRAMES, FRAMES])[30:])
    copy = pack(archive, str(tmp_path / "packed.zarr"), shard=10)
    assert copy.fingerprint == archive.fingerprint
    assert copy.remove_before(copy.times[-1]) == 10, "files of 10 frames go as a whole"
    np.testing.assert_array_equal(copy.frames(0, len(copy)), archive.frames(10, len(archive)))


def test_an_index_that_has_nothing_to_remove_changes_nothing(path):
    archive, before = Archive(str(path), writable=True), (path / "zarr.json").read_bytes()
    assert archive.remove_before(TIMES[4]) == 0
    assert (path / "zarr.json").read_bytes() == before
    assert archive.remove_before(10**9) == 20, "the newest frame stays"
    assert archive.remove_before(10**9) == 0
    assert create(str(path.with_name("empty.zarr")), shape=(6, 8)).remove_before(10**9) == 0


def test_a_reader_gets_what_is_left_and_an_error_for_what_is_gone(path):
    reader = Archive(str(path))
    Archive(str(path), writable=True).remove_before(TIMES[10])
    np.testing.assert_array_equal(reader.frames(10, 23), FRAMES[10:])
    with pytest.raises(ArchiveError, match=r"2015-.* have been removed since it was opened: open it again"):
        reader.frames(4, 12)


def test_a_removed_chunk_is_an_error_to_other_stores_too(path, tmp_path):
    store = zarr.storage.MemoryStore()
    writer = create(store, shape=(6, 8))
    writer.append(TIMES, FRAMES)
    reader = Archive(store)
    assert writer.remove_before(TIMES[10]) == 10
    np.testing.assert_array_equal(reader.frames(10, 23), FRAMES[10:])
    with pytest.raises(ArchiveError, match="have been removed"):
        reader.frames(0, 5)
    assert not [key for key in store._store_dict if key.startswith("pixel/c/1/")]


def test_files_left_by_a_stopped_removal_are_deleted_by_the_next(path, monkeypatch):
    archive = Archive(str(path), writable=True)
    with monkeypatch.context() as patch:
        patch.setattr("hko7env.archive.writer._delete_files", interrupted)
        with pytest.raises(OSError, match="stopped here"):
            archive.remove_before(TIMES[10])
    archive = Archive(str(path), writable=True)
    np.testing.assert_array_equal(archive.times, TIMES[10:])
    assert chunks(path) == [0, 1, 2, 3, 4]
    (path / "time/c/0.5e1f.partial").write_text("")
    archive.remove_before(TIMES[10])
    assert chunks(path, "time") == [0]
    assert chunks(path) == [2, 3, 4]


async def interrupted(*_):
    raise OSError("stopped here")


@pytest.fixture
def short_chunks(tmp_path, monkeypatch):
    """An archive whose times, like its frames, are in chunks of 5."""
    monkeypatch.setattr("hko7env.archive.format.TIME_CHUNK", 5)
    archive = create(str(tmp_path / "short.zarr"), shape=(6, 8))
    archive.append(TIMES, FRAMES)
    return tmp_path / "short.zarr"


def test_chunks_of_the_times_go_as_well(short_chunks):
    Archive(str(short_chunks), writable=True).remove_before(TIMES[15])
    for name in ("pixel", "time", "status", "checksum"):
        assert chunks(short_chunks, name) == [3, 4]
    np.testing.assert_array_equal(Archive(str(short_chunks)).times, TIMES[15:])


def test_opening_while_frames_are_removed_reads_the_newer_commit(short_chunks, monkeypatch):
    """The record is read, then frames are removed with the chunks of their times, then the times are read."""
    writer, read = Archive(str(short_chunks), writable=True), opening._read_record

    def slow(*words):
        monkeypatch.undo()
        found = read(*words)
        writer.remove_before(TIMES[15])
        return found

    monkeypatch.setattr(opening, "_read_record", slow)
    np.testing.assert_array_equal(Archive(str(short_chunks)).times, TIMES[15:])


def test_a_claim_about_removed_frames_is_checked(path):
    Archive(str(path), writable=True).remove_before(TIMES[10])
    record = path / "zarr.json"
    for wrong in ('"first_frame": 5', '"first_frame": 3', '"first_frame": -5', '"first_frame": 500'):
        text = record.read_text()
        assert '"first_frame": 10' in text
        record.write_text(text.replace('"first_frame": 10', wrong))
        with pytest.raises(ArchiveError, match=r"a\.zarr"):
            Archive(str(path))
        record.write_text(text)
    assert json.loads(record.read_text())["attributes"]["format_version"] == 2


def test_what_cannot_be_shortened_is_named(path, tmp_path):
    with pytest.raises(ArchiveError, match="read-only"):
        Archive(str(path)).remove_before(TIMES[10])
    rain = make(tmp_path / "s.zarr", shape=(24, 32), weather=(EpisodeSpec("train", "2013-06-10T00:00", 12),))
    with pytest.raises(ArchiveError, match=r"holds truth.*cannot be removed"):
        Archive(rain.name, writable=True).remove_before(int(rain.times[10]))
    with pytest.raises(ValueError, match="first_frame of an archive cannot change"):
        Archive(str(path), writable=True).update(attributes={"first_frame": 5})


GROWING = """
import sys
import numpy as np
from hko7env.archive import Archive
archive = Archive(sys.argv[1], writable=True)
while True:
    n = (int(archive.times[-1]) - 24_000_000) // 6 + 1
    archive.append([24_000_000 + 6 * n], np.full((1, 6, 8), n % 251, np.uint8))
    if n % 7 == 0:
        archive.remove_before(24_000_000 + 6 * (n - 20))
    print(n, flush=True)
"""


def test_a_writer_killed_while_it_removes_frames_loses_nothing(tmp_path):
    path = tmp_path / "a.zarr"
    create(str(path), shape=(6, 8)).append(TIMES[:1], np.zeros((1, 6, 8), np.uint8))
    for _ in range(2):
        words = [sys.executable, "-c", GROWING, str(path)]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) as writer:
            said = [int(writer.stdout.readline()) for _ in range(15)]
            writer.kill()
        archive = Archive(str(path))
        steps = (archive.times - 24_000_000) // 6
        assert (np.diff(steps) == 1).all()
        assert said[-1] <= steps[-1] <= said[-1] + 25
        assert (archive.frames(0, len(archive))[:, 0, 0] == steps % 251).all()
        assert len(archive) <= 40
