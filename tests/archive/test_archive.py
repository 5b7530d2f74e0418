import errno
import functools
import http.server
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, MemoryStore, ZipStore

from hko7env.archive import Archive, ArchiveError, create, pack
from hko7env.archive.format import GOOD, SUSPECT, iso, minutes
from hko7env.archive.frame_reader import FrameReader
from hko7env.units import ZR

ROOT = Path(__file__).resolve().parents[2]
START = minutes("2015-05-01T00:00")


def radar(n, shape=(6, 8), seed=0):
    """n frames, some of them dry, and their times with a gap and an off-grid stamp."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (n, *shape), np.uint8)
    frames[::3] = 0
    steps = rng.choice([6, 6, 6, 6, 7, 120], n)
    return START + np.cumsum(steps), frames


@given(st.lists(st.integers(1, 13), min_size=1, max_size=4), st.sampled_from([None, 5, 10]), st.data())
@settings(max_examples=20)
def test_any_slice_equals_numpy(sizes, shard, data):
    times, frames = radar(sum(sizes))
    store = MemoryStore() if data.draw(st.booleans(), label="in memory") else tempfile.mkdtemp() + "/a.zarr"
    try:
        archive = create(store, shape=(6, 8), shard=shard)
        for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
            archive.append(times[start : start + size], frames[start : start + size])
        archive = Archive(store)
        np.testing.assert_array_equal(archive.times, times)
        for _ in range(3):
            start = data.draw(st.integers(0, len(frames)))
            stop = data.draw(st.integers(start, len(frames)))
            got = archive.frames(start, stop)
            np.testing.assert_array_equal(got, frames[start:stop])
            assert not np.shares_memory(got, archive.frames(start, stop))
            got[:] = 1  # a copy: the next read is not touched
            np.testing.assert_array_equal(archive.frames(start, stop), frames[start:stop])
        wanted = data.draw(
            st.lists(st.integers(int(times[0]) - 9, int(times[-1]) + 9) | st.sampled_from(times.tolist()), max_size=30)
        )
        got, present = archive.at(wanted)
        for time_, frame, there in zip(wanted, got, present, strict=True):
            where = np.flatnonzero(times == time_)
            assert there == (len(where) == 1)
            np.testing.assert_array_equal(frame, frames[where[0]] if there else 0)
    finally:
        if isinstance(store, str):
            shutil.rmtree(Path(store).parent)


def test_everything_comes_back(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[0], mask[1] = 1, 2
    splits = {"test": [("2015-05-01T00:00", "2015-05-02T00:00")], "valid": [("2016-01-01", "2017-01-01")]}
    x, y = np.arange(8) * 1000.0, np.arange(6)[::-1] * 1000.0
    create(
        str(tmp_path / "a"), shape=(6, 8), cadence=5, mask=mask, x=x, y=y, crs="+proj=aeqd", zr=ZR(200, 1.6),
        source="a radar", licence="CC0", splits=splits, attributes={"note": 1},
    ).append([START, START + 5], np.ones((2, 6, 8), np.uint8), [GOOD, SUSPECT])  # fmt: skip
    archive = Archive(str(tmp_path / "a"))
    assert (archive.cadence, archive.crs, archive.zr, archive.shape) == (5, "+proj=aeqd", ZR(200, 1.6), (6, 8))
    np.testing.assert_array_equal(archive.mask, mask)
    np.testing.assert_array_equal(archive.scored, mask == 0)
    np.testing.assert_array_equal(archive.x, x)
    np.testing.assert_array_equal(archive.y, y)
    assert archive.attributes["note"] == 1
    assert archive.splits == splits
    assert archive.select("test").tolist() == [START]  # the suspect frame counts as missing
    assert archive.select().tolist() == [START]
    assert archive.at([START + 5])[1].tolist() == [False]


def test_an_empty_or_unknown_split_is_named(new_archive):
    times, frames = radar(10)
    archive = new_archive(
        times, frames, splits={"test": [("2015-05-01", "2015-06-01")], "none": [("1999-01-01", "1999-02-01")]}
    )
    with pytest.raises(ValueError, match=r"no split 'tset'.*did you mean 'test'"):
        archive.select("tset")
    with pytest.raises(ValueError, match=r"'none'.*holds no good frame"):
        archive.select("none")


@pytest.mark.parametrize(
    "times, frames, message",
    [
        ([START + 6, START], np.zeros((2, 6, 8), np.uint8), "strictly increasing"),
        ([START, START], np.zeros((2, 6, 8), np.uint8), "strictly increasing"),
        ([START - 600], np.zeros((1, 6, 8), np.uint8), "after 2015-05-01"),
        ([START + 6000], np.zeros((1, 8, 6), np.uint8), "expected uint8 frames"),
        ([START + 6000], np.zeros((1, 6, 8)), "got float64"),
        ([START + 6000.5], np.zeros((1, 6, 8), np.uint8), "integer minutes"),
    ],
)
def test_a_bad_append_changes_nothing(new_archive, times, frames, message):
    archive = new_archive(*radar(7))
    before = archive.fingerprint
    with pytest.raises(ValueError, match=message):
        archive.append(times, frames)
    assert Archive(archive.name).fingerprint == before


def test_create_refuses_what_does_not_fit(tmp_path):
    for arguments, message in (
        ({"shape": (0, 8)}, "at least 1"),
        ({"mask": np.zeros((8, 6), np.uint8)}, "static mask must be"),
        ({"mask": np.full((6, 8), 3, np.uint8)}, "static mask must be"),
        ({"x": np.zeros(7)}, "x must be 8 finite"),
        ({"y": np.full(6, np.nan)}, "y must be 6 finite"),
        ({"shard": 7}, "multiple of 5"),
        ({"splits": {"a": [("soon", "later")]}}, "soon"),
        ({"splits": {"a": [("NaT", "2015-01-01")]}}, "NaT"),
        ({"splits": {"a": [("2016-01-01", "2015-01-01")]}}, "holds no time"),
        ({"cadence": 6.5}, "whole minutes"),
    ):
        with pytest.raises(ValueError, match=message):
            create(str(tmp_path / "a"), **{"shape": (6, 8), **arguments})
        assert not (tmp_path / "a").exists()
    create(str(tmp_path / "a"), shape=(6, 8))
    with pytest.raises(FileExistsError, match="exists already"):
        create(str(tmp_path / "a"), shape=(6, 8))


def test_an_archive_opened_for_reading_is_not_written(new_archive):
    path = new_archive(*radar(7)).name
    with pytest.raises(ArchiveError, match="read-only"):
        Archive(path).append([START + 6000], np.zeros((1, 6, 8), np.uint8))
    with pytest.raises(ArchiveError, match="read-only"):
        Archive(path).update(splits={})


def test_fingerprint_follows_what_a_score_depends_on(new_archive, tmp_path):
    times, frames = radar(12)
    archive = new_archive(times, frames)
    assert new_archive(times, frames, "again.zarr", source="elsewhere").fingerprint == archive.fingerprint
    assert pack(archive, str(tmp_path / "packed.zarr"), shard=10).fingerprint == archive.fingerprint
    other = frames.copy()
    other[3, 0, 0] ^= 1
    assert new_archive(times, other, "other.zarr").fingerprint != archive.fingerprint
    before = archive.fingerprint
    archive.update(mask=np.ones((6, 8), np.uint8))
    assert archive.fingerprint != before
    assert Archive(archive.name).mask.all()


def test_a_stopped_making_can_be_made_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("hko7env.archive.commit_record.write", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            create(str(tmp_path / "a"), shape=(6, 8))
    assert not (tmp_path / "a").exists()
    create(str(tmp_path / "a"), shape=(6, 8)).append(*radar(3))
    assert [p.name for p in tmp_path.glob("[!.]*")] == ["a"]


def test_update_checks_what_it_is_given(new_archive):
    archive = new_archive(*radar(7))
    with pytest.raises(ValueError, match="soon"):
        archive.update(splits={"test": [("soon", "later")]})
    with pytest.raises(ValueError, match="cadence_minutes of an archive cannot change"):
        archive.update(attributes={"cadence_minutes": 5})
    with pytest.raises(ValueError, match="static mask must be"):
        archive.update(mask=np.zeros((8, 6), np.uint8))
    archive.update(splits={"test": [("2015-05-01", "2015-05-02")]}, attributes={"note": "x"})
    assert Archive(archive.name).attributes["note"] == "x"
    assert list(Archive(archive.name).splits) == ["test"]


def test_a_second_writer_is_noticed(new_archive):
    first = new_archive(*radar(7))
    second = Archive(first.name, writable=True)
    first.append([START + 6000], np.zeros((1, 6, 8), np.uint8))
    with pytest.raises(ArchiveError, match="another writer has changed"):
        second.append([START + 6006], np.zeros((1, 6, 8), np.uint8))
    assert len(Archive(first.name)) == 8


def test_an_empty_archive_has_no_frame_at_any_time(tmp_path):
    frames, present = create(str(tmp_path / "a"), shape=(6, 8)).at([0, 6])
    assert present.tolist() == [False, False]
    assert not np.any(frames)


def test_pack_goes_on_with_its_own_copy_only(new_archive, tmp_path):
    archive = new_archive(*radar(23))
    begun = pack(archive, str(tmp_path / "packed.zarr"), shard=10)
    assert len(begun) == 23
    assert pack(archive, str(tmp_path / "packed.zarr"), shard=10).fingerprint == archive.fingerprint
    assert read_all(begun.name) == []
    times, frames = radar(23)
    frames[4, 3, 3] ^= 1
    with pytest.raises(ArchiveError, match="not the beginning of a copy"):
        pack(new_archive(times, frames, "other.zarr"), begun.name)


# ---------------------------------------------------------------- foreign and damaged archives


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no archive at"):
        Archive(str(tmp_path / "nothing"))
    zarr.open_group(str(tmp_path / "group"), mode="w")
    with pytest.raises(ArchiveError, match="no finished archive"):
        Archive(str(tmp_path / "group"))
    group = zarr.open_group(str(tmp_path / "foreign"), mode="w")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(group.store)
    with pytest.raises(ArchiveError, match="another format"):
        Archive(str(tmp_path / "foreign"))


def edit(path, old, new):
    """Replace text in the archive's metadata."""
    file = Path(path) / "zarr.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"format_version": 1', '"format_version": 3', "version 3 of the archive format"),
        ('"cadence_minutes": 6', '"cadence": 6', "lacks a sound part"),
        ('"zr_a": 58.53', '"zr_a": -58.53', "lacks a sound part"),
        ('"splits": {}', '"splits": []', "lacks a sound part"),
        ('"name": "zstd"', '"name": "brotli"', "codec"),
    ],
)
def test_another_version_layout_or_codec_is_named(new_archive, old, new, message):
    path = new_archive(*radar(7)).name
    edit(path, old, new)
    with pytest.raises(ArchiveError, match=message):
        Archive(path)


def test_unsorted_or_duplicate_times_are_named(new_archive):
    path = new_archive(*radar(7)).name
    for value in (START + 6000, None):
        times = zarr.open_group(path, mode="r+")["time"]
        times[2] = times[1] if value is None else value
        with pytest.raises(ArchiveError, match="not strictly increasing"):
            Archive(path)


def read_all(path):
    """Open, and read every frame; errors of opening and reading alike."""
    try:
        return [message for message in Archive(path).verify() if message]
    except ArchiveError as error:
        return [str(error)]


@pytest.fixture(params=[None, 10], ids=["plain", "sharded"])
def sound(request, new_archive):
    times, frames = radar(33, shape=(24, 32))
    frames[10:15] = 0  # a whole chunk without echo: it must be there all the same
    archive = new_archive(times, frames, shard=request.param)
    assert read_all(archive.name) == []
    return Path(archive.name)


def chunk_files(path):
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")


def test_every_flipped_bit_is_an_error(sound):
    dice = random.Random(3)
    for file in 6 * chunk_files(sound):
        good = file.read_bytes()
        bad = bytearray(good)
        bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        file.write_bytes(bad)
        messages = read_all(str(sound))
        assert messages, f"{file} flipped in silence"
        assert file.relative_to(sound).parts[0] in messages[0] or "time axis" in messages[0]
        file.write_bytes(good)
    assert read_all(str(sound)) == []


def test_every_lost_or_torn_chunk_is_an_error(sound):
    for file in chunk_files(sound):
        good = file.read_bytes()
        file.unlink()
        assert read_all(str(sound)), f"{file} lost in silence"
        for size in (0, 3, len(good) // 2, len(good) - 1):
            file.write_bytes(good[:size])
            assert read_all(str(sound)), f"{file} torn to {size} bytes in silence"
        file.write_bytes(good)
    assert read_all(str(sound)) == []


def test_damage_is_reported_with_frames_times_and_file(new_archive):
    times, frames = radar(12)
    path = Path(new_archive(times, frames).name)
    (path / "pixel/c/1/0/0").unlink()
    archive = Archive(str(path))
    np.testing.assert_array_equal(archive.frames(0, 5), frames[:5])
    with pytest.raises(
        ArchiveError, match=rf"frames 5 to 9 \({iso(times[5])} to {iso(times[9])}\), file pixel/c/1/0/0"
    ):
        archive.frames(4, 6)


def test_a_chunk_in_the_wrong_place_is_an_error(new_archive):
    path = Path(new_archive(*radar(12)).name)
    shutil.copy(path / "pixel/c/0/0/0", path / "pixel/c/1/0/0")
    assert len(read_all(str(path))) == 1


# ---------------------------------------------------------------- writers that stop


class FullDisk(LocalStore):
    """A store that fails at the n-th write."""

    writes_left = 10**9

    async def set(self, key, value):
        self._spend()
        await super().set(key, value)

    async def set_if_not_exists(self, key, value):
        self._spend()
        await super().set_if_not_exists(key, value)

    def _spend(self):
        if self.writes_left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.writes_left -= 1


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Copy an archive with the first 7 of 16 frames to a path: begun(path, shard)."""
    folder, (times, frames) = tmp_path_factory.mktemp("begun"), radar(16)
    for shard in (None, 5):
        create(str(folder / str(shard)), shape=(6, 8), shard=shard).append(times[:7], frames[:7])
    return lambda path, shard=None: shutil.copytree(folder / str(shard), path)


@pytest.mark.parametrize("shard", [None, 5])
def test_a_full_disk_at_any_write_loses_nothing(tmp_path, begun, shard):
    times, frames = radar(16)
    for failing in range(60):
        path = begun(tmp_path / f"{failing}.zarr", shard)
        store = FullDisk(path)
        archive = Archive(store, writable=True)
        store.writes_left = failing
        try:
            archive.append(times[7:], frames[7:])
        except OSError:
            after = Archive(str(path))
            assert len(after) == 7, f"write {failing}"
            np.testing.assert_array_equal(after.frames(0, 7), frames[:7], f"write {failing}")
            store.writes_left = 10**9
            Archive(str(path), writable=True).append(times[7:], frames[7:])
            done = False
        else:
            done = True
        whole = Archive(str(path))
        np.testing.assert_array_equal(whole.times, times)
        np.testing.assert_array_equal(whole.frames(0, 16), frames)
        assert read_all(str(path)) == []
        if done:
            assert failing > 5
            return
    raise AssertionError("the append never went through")


@pytest.mark.parametrize("left_over", range(8))
def test_an_update_stopped_at_any_write_or_after_a_stopped_append_loses_nothing(tmp_path, begun, left_over):
    times, frames = radar(16)
    mask = np.ones((6, 8), np.uint8)
    for failing in range(9):
        path = begun(tmp_path / f"{failing}.zarr")
        store = FullDisk(path)
        archive = Archive(store, writable=True)
        store.writes_left = left_over  # an append that was stopped, and left arrays of several lengths
        with pytest.raises(OSError, match="No space"):
            archive.append(times[7:], frames[7:])
        store.writes_left = failing
        try:
            archive.update(mask=mask, splits={"test": [("2015-05-01", "2015-06-01")]})
        except OSError:
            done = False
        else:
            done = True
        after = Archive(str(path), writable=True)
        assert len(after) == 7
        np.testing.assert_array_equal(after.frames(0, 7), frames[:7])
        assert read_all(str(path)) == []
        after.append(times[7:], frames[7:])
        np.testing.assert_array_equal(Archive(str(path)).frames(0, 16), frames)
        if done:
            assert list(Archive(str(path)).splits) == ["test"]
            np.testing.assert_array_equal(Archive(str(path)).mask, mask)
            return
    raise AssertionError("the update never went through")


KILLED = """
import numpy as np, sys
from hko7env.archive import Archive
archive = Archive(sys.argv[1], writable=True)
while True:
    n = 1 + len(archive) % 4
    first = len(archive)
    frames = np.stack([np.full((64, 64), i % 251, np.uint8) for i in range(first, first + n)])
    archive.append(6 * np.arange(first, first + n), frames)
    print(len(archive), flush=True)
"""


def test_a_killed_writer_leaves_what_it_committed(tmp_path):
    path = str(tmp_path / "a.zarr")
    create(path, shape=(64, 64))
    dice = random.Random(5)
    before = 0
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", KILLED, path], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            for _ in range(dice.randrange(2, 6)):
                writer.stdout.readline()
            time.sleep(dice.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
        archive = Archive(path)
        assert len(archive) > before
        before = len(archive)
        np.testing.assert_array_equal(archive.times, 6 * np.arange(before))
        assert (archive.frames(0, before)[:, 5, 5] == np.arange(before) % 251).all()
        assert read_all(path) == []


# ---------------------------------------------------------------- other readers


def test_xarray_shows_dbz_on_the_right_axes(small_archive):
    xarray = pytest.importorskip("xarray")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(str(small_archive))
        archive = Archive(str(small_archive))
        assert data.pixel.dims == ("time", "y", "x")
        assert data.pixel.attrs["units"] == "dBZ"
        np.testing.assert_array_equal(data.time.values, archive.times.astype("datetime64[m]"))
        assert (np.diff(data.y) < 0).all(), "row 0 is north"
        assert (np.diff(data.x) > 0).all(), "column 0 is west"
        expected = archive.frames(0, len(archive)) * (70 / 255) - 10
        np.testing.assert_allclose(data.pixel.values, expected, atol=1e-5)
        assert np.isfinite(data.pixel.values).all()


def test_reading_in_order_decodes_each_chunk_once(small_archive, monkeypatch):
    decoded = []
    original = FrameReader.decode
    monkeypatch.setattr(FrameReader, "decode", lambda self, chunk: decoded.append(chunk) or original(self, chunk))
    archive = Archive(str(small_archive))
    for start in range(0, len(archive) - 25, 5):
        archive.frames(start, start + 25)
    assert len(decoded) == len(set(decoded))


def test_an_archive_is_read_over_http(small_archive):
    pytest.importorskip("aiohttp")
    handler = functools.partial(QuietHandler, directory=str(small_archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            remote = Archive(f"http://127.0.0.1:{server.server_port}/{small_archive.name}")
            local = Archive(str(small_archive))
            assert remote.fingerprint == local.fingerprint
            np.testing.assert_array_equal(remote.frames(3, 17), local.frames(3, 17))
        finally:
            server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_an_archive_is_read_from_a_zip(small_archive, tmp_path):
    shutil.make_archive(str(tmp_path / "a"), "zip", small_archive)
    with ZipStore(tmp_path / "a.zip", mode="r") as store:
        zipped = Archive(store)
        assert read_all(store) == []
        np.testing.assert_array_equal(zipped.frames(0, len(zipped)), Archive(str(small_archive)).frames(0, len(zipped)))
