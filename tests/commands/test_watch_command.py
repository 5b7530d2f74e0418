"""``hko7env archive watch`` and ``hko7env archive replay``."""

import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.archive.format import minutes
from hko7env.importers import import_radar
from tests.helpers.radar_files import stamp_of, write_fmi

START = minutes("2016-09-28T14:00")


@pytest.fixture
def originals(tmp_path):
    folder = tmp_path / "originals"
    folder.mkdir()
    for step in range(4):
        write_fmi(folder, stamp_of(START + 5 * step), np.full((5, 6), 64 + 20 * step, np.uint8))
    return folder


def test_files_that_are_replayed_and_watched_are_an_import(command, originals, tmp_path):
    done = command("archive", "replay", "fmi", originals, "--out", "drop", "--speed", "100000")
    assert (done.status, done.out) == (0, "drop: 4 files dropped\n"), done.err
    (tmp_path / "drop/201609281500_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz").write_bytes(b"damaged")
    done = command("archive", "watch", "fmi", "drop", "--out", "a.zarr", "--once", "--settle", "0", "--poll", "0.01")
    assert (done.status, done.err) == (0, "")
    assert "damaged: " in done.out
    assert done.out.endswith("a.zarr: 4 frames; files since the start: 4 imported, 1 damaged\n")
    assert Archive("a.zarr").fingerprint == import_radar("fmi", originals, tmp_path / "b.zarr")[0].fingerprint


def test_a_part_is_replayed_and_a_window_watched(command, originals):
    words = ["--begin", "2016-09-28T14:05", "--end", "2016-09-28T14:15", "--speed", "1e6"]
    assert command("archive", "replay", "fmi", originals, "--out", "drop", *words).status == 0
    words = ["--once", "--settle", "0", "--window", "0", "0", "3", "4"]
    assert command("archive", "watch", "fmi", "drop", "--out", "a.zarr", *words).status == 0
    found = Archive("a.zarr")
    assert (found.shape, (found.times - START).tolist()) == ((3, 4), [5, 10])


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["watch", "fmi", "originals"], 2, "required: --out"),
        (["watch", "fmi", "nowhere", "--out", "a.zarr"], 1, "there is no folder"),
        (["watch", "fmu", "originals", "--out", "a.zarr"], 1, "did you mean 'fmi'?"),
        (["watch", "fmi", "originals", "--out", "a.zarr", "--keep-days", "0"], 1, "keep_days is at least 1"),
        (["watch", "fmi", "originals", "--out", "a.zarr", "--kep-days", "1"], 2, "did you mean '--keep-days'?"),
        (["watch", "fmi", "originals", "--out", "a.zarr", "--poll", "soon"], 2, "--poll expects float"),
        (["replay", "fmi", "originals", "--out", "drop", "--speed", "0"], 2, "expects a number above 0, got '0'"),
        (["replay", "fmi", "originals", "--out", "drop", "--begin", "noon"], 2, "expects a time such as"),
        (["replay", "fmi", "originals", "--out", "drop", "--begin", "2020-01-01"], 1, "check begin and end"),
    ],
)
def test_a_wrong_command_line_is_named(command, originals, words, status, message):
    done = command("archive", *words)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_an_hour_of_real_radar(command, shared, tmp_path):
    """Slovenia's maps: the time is in the folders' names, so the watched folder has the same folders."""
    words = ["--begin", "2026-07-18T12:00", "--end", "2026-07-18T13:00", "--speed", "1e6"]
    done = command("archive", "replay", "arso", shared / "arso", "--out", "drop", *words)
    assert done.status == 0, done.err
    words = ["--once", "--settle", "0", "--poll", "0.01"]
    assert command("archive", "watch", "arso", "drop", "--out", "a.zarr", *words).status == 0
    found, whole = Archive("a.zarr"), import_radar("arso", tmp_path / "drop", tmp_path / "b.zarr")[0]
    assert len(found) >= 10
    assert found.fingerprint == whole.fingerprint
