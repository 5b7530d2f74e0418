"""What becomes of each file of a watched folder."""

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.archive.format import minutes
from hko7env.importers import RadarImportError, Window, drop_folder, import_radar
from hko7env.importers.drop_folder import DropFolder, Signature
from hko7env.importers.file_log import Entry, FileLog
from hko7env.importers.watch_options import WatchOptions
from hko7env.importers.watching import watch, watching
from hko7env.locking import LockedError
from tests.helpers.processes import wait_for
from tests.helpers.radar_files import stamp_of, write_fmi, write_odim

ROOT = Path(__file__).resolve().parents[2]
START = minutes("2016-09-28T14:00")


def values(seed):
    """(5, 6) uint8 of an FMI composite whose western column is outside coverage."""
    frame = np.random.default_rng(seed).integers(64, 164, (5, 6)).astype(np.uint8)
    frame[:, 0] = 255
    return frame


def write(folder, step, seed=None, missing=False):
    """Write the file of frame ``step`` as a service does that renames it into the folder an hour after writing it."""
    frame = values(step if seed is None else seed)
    if missing:
        frame[:3] = 255
    path = write_fmi(folder, stamp_of(START + 5 * step), frame)
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def below(folder):
    """A folder below another, for a second file of the same name."""
    path = folder / "sweden"
    path.mkdir()
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "drop"
    path.mkdir()
    return path


class Watch:
    """One watch of the folder ``drop``, polled by hand."""

    def __init__(self, base, **options):
        self.base, self.said = base, []
        self.options = WatchOptions(**options)

    def __enter__(self):
        self.context = watching("fmi", self.base / "drop", self.base / "a.zarr", self.options, report=self.said.append)
        self.watcher = self.context.__enter__()
        self.poll = self.watcher.poll
        return self

    def __exit__(self, *error):
        return self.context.__exit__(*error)

    @property
    def steps(self):
        return ((Archive(str(self.base / "a.zarr")).times - START) // 5).tolist()

    @property
    def counts(self):
        return {outcome: count for outcome, count in self.watcher.counts.items() if count}

    def log(self):
        return [json.loads(line) for line in (self.base / "a.zarr.files.jsonl").read_text().splitlines()]


def test_files_are_appended_as_they_arrive_and_equal_an_import(folder, tmp_path):
    with Watch(tmp_path) as one:
        for step in range(4):
            write(folder, step)
            one.poll()
            assert one.steps == list(range(step + 1))
        one.poll()
        assert (one.steps, one.counts, one.said) == ([0, 1, 2, 3], {"imported": 4}, [])
    whole, _ = import_radar("fmi", folder, tmp_path / "b.zarr")
    assert Archive(str(tmp_path / "a.zarr")).fingerprint == whole.fingerprint


def test_a_missing_file_is_a_gap_and_a_frame_that_lacks_data_is_suspect(folder, tmp_path):
    with Watch(tmp_path) as one:
        for step in (0, 1, 4):
            write(folder, step, missing=step == 1)
        one.poll()
        assert one.steps == [0, 1, 4]
    assert Archive(str(tmp_path / "a.zarr")).status.tolist() == [0, 1, 0]


def test_a_late_file_is_named_and_left_out(folder, tmp_path):
    with Watch(tmp_path) as one:
        for step in (0, 2):
            write(folder, step)
        one.poll()
        late = write(folder, 1)
        one.poll()
        one.poll()
        assert (one.steps, one.counts) == ([0, 2], {"imported": 2, "late": 1})
        assert one.said == [
            f"late: {late} (2016-09-28T14:05) is older than the newest frame, 2016-09-28T14:10: frames can only be "
            "appended"
        ]
    assert late.exists(), "without set_aside nothing is moved"
    with Watch(tmp_path) as again:
        again.poll()
        assert (again.counts, again.said) == ({}, []), "a restart does not name it again"


def test_files_of_one_poll_are_appended_in_the_order_of_time(folder, tmp_path):
    with Watch(tmp_path) as one:
        for step in (2, 0, 1):
            write(folder, step)
        one.poll()
        assert one.steps == [0, 1, 2]


def test_a_double_is_left_out_without_harm(folder, tmp_path):
    with Watch(tmp_path) as one:
        first = write(folder, 0)
        one.poll()
        copy = below(folder) / first.name
        copy.write_bytes(first.read_bytes())
        os.utime(copy, (1, 1))
        one.poll()
        assert (one.steps, one.counts) == ([0], {"imported": 1, "double": 1})
        assert "which the archive holds" in one.said[0]


@pytest.mark.parametrize("same_name", [True, False])
def test_a_revised_file_does_not_change_the_archive(folder, tmp_path, same_name):
    with Watch(tmp_path) as one:
        first = write(folder, 0)
        one.poll()
        before = Archive(str(tmp_path / "a.zarr")).fingerprint
        write(folder if same_name else below(folder), 0, seed=77)
        os.utime(first, (5, 5))
        one.poll()
        assert one.counts == {"imported": 1, "revised": 1} if same_name else {"imported": 1, "double": 1, "revised": 1}
        assert "has another frame of 2016-09-28T14:00 than the archive, which keeps the first" in one.said[-1]
    assert Archive(str(tmp_path / "a.zarr")).fingerprint == before


def test_two_files_of_one_time_in_one_poll(folder, tmp_path):
    first = write(folder, 0)
    second = write(below(folder), 0, seed=5)
    with Watch(tmp_path) as one:
        one.poll()
        assert (one.steps, one.counts) == ([0], {"imported": 1, "revised": 1})
        assert str(second) in one.said[0], "the first by name counts"
    assert first.exists()


def test_a_damaged_file_is_a_gap_until_a_sound_one_comes(folder, tmp_path):
    with Watch(tmp_path) as one:
        write(folder, 0)
        bad = write(folder, 1)
        good = bad.read_bytes()
        bad.write_bytes(good[:40])
        os.utime(bad, (1, 1))
        one.poll()
        one.poll()
        assert (one.steps, one.counts) == ([0], {"imported": 1, "damaged": 1})
        assert str(bad) in one.said[0]
        assert "cannot be read" in one.said[0]
        bad.write_bytes(good)
        os.utime(bad, (2, 2))
        one.poll()
        assert (one.steps, one.counts) == ([0, 1], {"imported": 2, "damaged": 1})


def test_a_first_file_that_is_damaged_makes_no_archive(folder, tmp_path):
    write(folder, 0).write_bytes(b"damaged")
    with Watch(tmp_path, settle=0) as one:
        one.poll()
        assert not (tmp_path / "a.zarr").exists()
        assert one.counts == {"damaged": 1}
        write(folder, 1)
        one.poll()
        assert one.steps == [1]


def test_a_half_written_file_is_not_read(folder, tmp_path, monkeypatch):
    with Watch(tmp_path, settle=3) as one:
        write(folder, 0)
        one.poll()
        whole = write(folder, 1).read_bytes()
        path = sorted(folder.iterdir())[1]
        for size in (10, 40, len(whole)):
            path.write_bytes(whole[:size])
            one.poll()
            assert (one.steps, one.counts) == ([0], {"imported": 1})
        now = time.monotonic()
        monkeypatch.setattr(drop_folder.time, "monotonic", lambda: now + 3.5)
        one.poll()
        assert (one.steps, one.counts) == ([0, 1], {"imported": 2})


@pytest.mark.parametrize("name", ["{}.part", "{}.tmp", ".{}", ".{}.Xa3f"])
def test_unfinished_downloads_and_hidden_files_are_passed_over(folder, tmp_path, name):
    with Watch(tmp_path) as one:
        path = write(folder, 0)
        hidden = path.rename(path.with_name(name.format(path.name)))
        assert not one.poll()
        assert one.counts == {}
        hidden.rename(path)
        one.poll()
        assert one.steps == [0]


def test_a_newer_file_waits_for_an_older_one_that_is_being_written(folder, tmp_path, monkeypatch):
    with Watch(tmp_path, settle=3) as one:
        write(folder, 0)
        one.poll()
        os.utime(write(folder, 1))
        write(folder, 2)
        assert one.poll()
        assert one.steps == [0]
        now = time.monotonic()
        monkeypatch.setattr(drop_folder.time, "monotonic", lambda: now + 3.5)
        assert not one.poll()
        assert (one.steps, one.counts) == ([0, 1, 2], {"imported": 3})


def test_other_files_are_named_once_and_never_moved(folder, tmp_path):
    (folder / "notes.txt").write_text("not radar")
    os.utime(folder / "notes.txt", (1, 1))
    with Watch(tmp_path, set_aside=tmp_path / "aside") as one:
        one.poll()
        one.poll()
        assert one.counts == {"foreign": 1}
        assert "is not named like a file of this format" in one.said[0]
    assert (folder / "notes.txt").exists()


def test_files_that_were_not_imported_are_moved_aside(folder, tmp_path):
    aside = tmp_path / "aside"
    with Watch(tmp_path, set_aside=aside, settle=0) as one:
        write(folder, 1)
        one.poll()
        late = write(below(folder), 0)
        bad = write(folder, 2)
        bad.write_bytes(b"damaged")
        one.poll()
        assert one.counts == {"imported": 1, "late": 1, "damaged": 1}
        bad.write_bytes(b"damaged again")
        one.poll()
    assert sorted(str(p.relative_to(aside)) for p in aside.rglob("*.gz*")) == [
        bad.name, f"{bad.name}.1", f"sweden/{late.name}",
    ]  # fmt: skip
    assert len(list(folder.rglob("*.gz"))) == 1


def test_a_set_aside_folder_within_the_watched_one_is_not_watched(folder, tmp_path):
    with Watch(tmp_path, set_aside=folder / "aside") as one:
        write(folder, 1)
        one.poll()
        write(folder, 0)
        for _ in range(3):
            one.poll()
        assert one.counts == {"imported": 1, "late": 1}


def test_a_file_of_another_area_is_left_out(folder, tmp_path):
    with Watch(tmp_path) as one:
        write(folder, 0)
        one.poll()
    other = folder / "201609281430_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz"
    text = gzip.decompress(write(folder, 3).read_bytes()).replace(b"6 5\n", b"5 6\n")
    other.write_bytes(gzip.compress(text))
    os.utime(other, (1, 1))
    with Watch(tmp_path) as again:
        again.poll()
        assert again.steps == [0, 3]
        assert sum(again.counts.get(outcome, 0) for outcome in ("foreign", "damaged")) == 1


def test_a_file_that_is_deleted_before_it_is_read_is_no_damage(folder, tmp_path):
    with Watch(tmp_path) as one:
        write(folder, 0)
        one.poll()
        path = write(folder, 1)
        original = one.watcher._drops.poll

        def poll():
            found = original()
            path.unlink()
            return found

        one.watcher._drops.poll = poll
        one.poll()
        assert (one.steps, one.counts, one.said) == ([0], {"imported": 1}, [])


def test_a_folder_that_is_gone_for_a_while(folder, tmp_path):
    with Watch(tmp_path) as one:
        write(folder, 0)
        one.poll()
        folder.rename(tmp_path / "away")
        assert one.poll()
        assert one.poll()
        assert len(one.said) == 1
        assert "mount or restore it" in one.said[0]
        (tmp_path / "away").rename(folder)
        write(folder, 1)
        one.poll()
        assert (one.steps, one.counts) == ([0, 1], {"imported": 2})


def test_a_format_without_a_cadence_waits_for_four_frames(folder, tmp_path):
    said = []
    with watching("odim", folder, tmp_path / "o.zarr", WatchOptions(settle=0), report=said.append) as watcher:
        for i, minute in enumerate(("00", "15", "30", "45")):
            assert not (tmp_path / "o.zarr").exists()
            write_odim(folder, f"202405010{0}{minute}00", np.arange(20.0).reshape(4, 5))
            watcher.poll()
            assert watcher.frames == (4 if i == 3 else 0)
    assert Archive(str(tmp_path / "o.zarr")).cadence == 15
    assert said == []


def test_a_window_is_cut_out(folder, tmp_path):
    write(folder, 0)
    with watching(
        "fmi", folder, tmp_path / "a.zarr", WatchOptions(), window=Window(1, 2, 3, 3), report=print
    ) as watcher:
        watcher.poll()
    assert Archive(str(tmp_path / "a.zarr")).shape == (3, 3)


# ---------------------------------------------------------------- restarts


def test_a_watch_continues_an_import_without_naming_its_files(folder, tmp_path):
    for step in range(3):
        write(folder, step)
    import_radar("fmi", folder, tmp_path / "a.zarr")
    write(folder, 3)
    with Watch(tmp_path) as one:
        one.poll()
        assert (one.steps, one.said) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("appended", [False, True])
def test_a_watch_that_is_killed_around_an_append_continues(folder, tmp_path, monkeypatch, appended):
    class Killed(BaseException):
        pass

    append = Archive.append

    def killed(self, *words):
        if appended:
            append(self, *words)
        raise Killed

    with Watch(tmp_path) as one:
        write(folder, 0)
        one.poll()
    write(folder, 1)
    write(folder, 2)
    with monkeypatch.context() as patch, pytest.raises(Killed), Watch(tmp_path) as one:
        patch.setattr(Archive, "append", killed)
        one.poll()
    with Watch(tmp_path, set_aside=tmp_path / "aside") as again:
        again.poll()
        assert again.steps == [0, 1, 2]
        assert again.counts == ({} if appended else {"imported": 2}), "nothing is lost and nothing counted as double"
    assert not (tmp_path / "aside").exists()


def test_a_file_replaced_while_nobody_watched_is_revised(folder, tmp_path):
    with Watch(tmp_path) as one:
        write(folder, 0)
        write(folder, 1)
        one.poll()
    write(folder, 0, seed=9)
    with Watch(tmp_path) as again:
        again.poll()
        assert again.counts == {"revised": 1}


def test_a_move_that_was_stopped_is_made_up_for(folder, tmp_path, monkeypatch):
    with Watch(tmp_path) as one:
        write(folder, 1)
        one.poll()
        late = write(folder, 0)
        one.poll()
    with Watch(tmp_path, set_aside=tmp_path / "aside"):
        assert not late.exists()
    assert (tmp_path / "aside" / late.name).exists()


KILLER = """
import sys
from hko7env.commands.main import main
sys.exit(main(["archive", "watch", "fmi", sys.argv[1], "--out", sys.argv[2], "--poll", "0.01", "--settle", "0",
               "--keep-days", "1"]))
"""


def start(folder, archive):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", KILLER, str(folder), str(archive)], cwd=ROOT, **pipes)


def frames_of(path):
    return len(Archive(str(path))) if path.exists() else 0


def test_kill_9_at_any_moment_and_sigterm_lose_nothing(folder, tmp_path):
    """Files drop one by one and in heaps, while the watch is killed; then it ends by SIGTERM."""
    archive, dropped, dice = tmp_path / "a.zarr", 0, np.random.default_rng(8)
    hidden = tmp_path / "hidden"
    hidden.mkdir()

    def drop(count):
        nonlocal dropped
        for _ in range(count):
            path = write(hidden, dropped)
            path.rename(folder / path.name)
            dropped += 1

    for _ in range(2):
        drop(5)
        with start(folder, archive) as process:
            wait_for(lambda: frames_of(archive) >= dropped - 3, process)
            for _ in range(int(dice.integers(1, 6))):
                drop(int(dice.integers(1, 20)))
                time.sleep(float(dice.random()) * 0.02)
            process.kill()
    with start(folder, archive) as process:
        wait_for(lambda: frames_of(archive) == dropped, process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert f"{dropped} frames" in out.splitlines()[-1]
    found = Archive(str(archive))
    assert found.fingerprint == import_radar("fmi", folder, tmp_path / "b.zarr")[0].fingerprint
    logged = [json.loads(line) for line in (tmp_path / "a.zarr.files.jsonl").read_text().splitlines()]
    assert {line["outcome"] for line in logged} == {"imported"}, "nothing counted twice"
    assert json.loads((tmp_path / "a.zarr.watch.json").read_text())["state"] == "stopped"


# ---------------------------------------------------------------- bounds


def test_keep_days_removes_what_is_older_than_the_newest_frame(folder, tmp_path):
    day = 288
    for step in (0, 1, 2, 3, 4, 5, 20, 21, 22, 23, 24):
        write(folder, step)
    with Watch(tmp_path, keep_days=1) as one:
        one.poll()
        assert len(one.steps) == 11
        write(folder, day + 5)
        one.poll()
        assert one.steps[0] == 0, "less than an hour too old"
        write(folder, day + 20)
        one.poll()
        assert one.steps[0] == 5
        assert one.steps[-1] == day + 20
    with Watch(tmp_path, keep_days=1) as again:
        again.poll()
        assert (again.counts, again.said) == ({}, []), "the files of removed frames are known"


def test_the_log_keeps_what_is_in_the_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("hko7env.importers.watcher.SPARE_LINES", 5)
    with Watch(tmp_path, settle=0) as one:
        for step in range(30):
            path = write(folder, step)
            one.poll()
            if step < 28:
                path.unlink()
            one.poll()
        assert len(one.log()) <= 2 + 5 + 1
    with Watch(tmp_path) as again:
        again.poll()
        assert (again.counts, len(again.steps)) == ({}, 30)


def test_the_log_survives_a_torn_line(tmp_path):
    log = FileLog(tmp_path / "log.jsonl")
    one, two = (Entry(name, Signature(1, 2), "late", "why") for name in ("a", "b\udcff"))
    log.add([one])
    with log.path.open("a") as file:
        file.write('{"file": "torn')
    log.add([two])
    assert list(log.read(None)) == [one, two]
    assert list(FileLog(log.path).read(None)) == [one, two]


def test_imported_lines_that_the_archive_does_not_hold_are_passed_over(tmp_path):
    log = FileLog(tmp_path / "log.jsonl")
    log.add([Entry(str(t), Signature(1, 2), "imported", "", START + t) for t in range(3)])
    assert [entry.file for entry in log.read(START + 1)] == ["0", "1"]
    assert list(log.read(None)) == []


def test_names_that_are_gone_are_forgotten(folder):
    drops = DropFolder(folder, 0)
    below = folder / "day"
    below.mkdir()
    for name in ("a", "b"):
        (below / name).write_text(name)
    arrived, _ = drops.poll()
    for arrival in arrived:
        drops.add_known(*arrival)
    assert (drops.files, drops.poll()) == (2, ([], []))
    (below / "a").unlink()
    drops.poll()
    assert drops.files == 1
    (below / "b").unlink()
    below.rmdir()
    drops.poll()
    assert drops.files == 0


def test_a_folder_that_has_not_changed_is_not_listed_again(folder, monkeypatch):
    for i in range(5):
        (folder / str(i)).write_text("")
    os.utime(folder, (1, 1))
    drops, listed = DropFolder(folder, 0), []
    original = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or original(path))
    for _ in range(3):
        drops.poll()
    assert len(listed) == 1
    (folder / "new").write_text("")
    assert "new" in [arrival.name for arrival in drops.poll()[0]]


# ---------------------------------------------------------------- errors


def test_a_full_disk_is_named_and_nothing_is_lost(folder, tmp_path, monkeypatch):
    def full(self, columns):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Watch(tmp_path) as one:
        write(folder, 0)
        one.poll()
    write(folder, 1)
    with (
        monkeypatch.context() as patch,
        pytest.raises(OSError, match=r"a\.zarr cannot be extended \(.*No space left on device\): make room"),
        Watch(tmp_path) as one,
    ):
        patch.setattr("hko7env.archive.writer.Writer.append", full)
        one.poll()
    health = json.loads((tmp_path / "a.zarr.watch.json").read_text())
    assert (health["state"], health["frames"]) == ("failed", 1)
    assert "No space left" in health["error"]
    with Watch(tmp_path) as again:
        again.poll()
        assert again.steps == [0, 1]


def test_only_one_watch_extends_an_archive(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("hko7env.locking.WAIT_SECONDS", 0.05)
    refused = []

    def other():
        try:
            with Watch(tmp_path):
                pass
        except LockedError as error:
            refused.append(str(error))

    with Watch(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "is being written by process" in refused[0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"keep_days": 0}, "keep_days is at least 1"),
        ({"poll": 0.0}, "poll must be above 0"),
        ({"settle": -1.0}, "settle at least 0"),
        ({"poll": float("nan")}, "poll must be above 0"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        WatchOptions(**options)


def test_a_folder_or_format_that_is_not_there_is_named(folder, tmp_path):
    for name, place, message in (("fmi", "nowhere", "there is no folder"), ("fmu", "drop", "did you mean 'fmi'")):
        with (
            pytest.raises(RadarImportError, match=message),
            watching(name, tmp_path / place, tmp_path / "a.zarr", WatchOptions()),
        ):
            pass


def test_health_tells_state_frames_and_problems(folder, tmp_path):
    with Watch(tmp_path) as one:
        write(folder, 1)
        one.poll()
        write(folder, 0)
        one.poll()
        health = json.loads((tmp_path / "a.zarr.watch.json").read_text())
        assert health["state"] == "watching"
        assert (health["frames"], health["newest_frame"]) == (1, "2016-09-28T14:05")
        assert health["files"] == {"imported": 1, "double": 0, "revised": 0, "late": 1, "damaged": 0, "foreign": 0}
        assert health["age_minutes"] > 0
        assert health["process"] == os.getpid()
        assert "late: " in health["problems"][0]
    assert json.loads((tmp_path / "a.zarr.watch.json").read_text())["state"] == "stopped"


def test_once_waits_for_files_that_are_being_written(folder, tmp_path):
    write(folder, 0)
    os.utime(write(folder, 1))
    slept = []
    with Watch(tmp_path, once=True, settle=0.3) as one:
        watch(one.watcher, one.options, lambda: False, lambda seconds: slept.append(seconds) or time.sleep(0.1))
        assert one.steps == [0, 1]
    assert slept
