"""``hko7env archive`` with lists, masks and radar files that it cannot use."""

import re

import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.archive.format import minutes
from hko7env.commands.main import main
from tests.helpers.mask_files import npz
from tests.helpers.radar_files import draw_eccc


@pytest.fixture
def command(monkeypatch, tmp_path):
    """``hko7env archive`` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda words: main(["archive", *words])


def test_splits_without_a_day_are_refused_and_nothing_is_written(new_archive, tmp_path, command, capsys):
    archive = new_archive(minutes("2015-01-01") + 6 * np.arange(5), np.zeros((5, 4, 4), np.uint8))
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "dry.txt").write_text("20150101, 0\n")
    for words, why in (
        (["--days", "none.txt"], "none.txt lists no day"),
        (["--gauge", "dry.txt"], "dry.txt lists no rainy day"),
        (["--days", "dry.txt", "--years", "2016"], "no day is left for split 'empty'"),
        (["--radar-mean", "3"], "no day is left for split 'empty'"),
    ):
        assert command(["split", archive.name, "empty", *words]) == 1
        assert why in capsys.readouterr().err
    assert Archive(archive.name).splits == {}


def test_masks_of_another_size_or_damaged_are_named(new_archive, tmp_path, command, capsys):
    archive = new_archive([0], np.zeros((1, 4, 5), np.uint8))
    npz(tmp_path / "small.npz")
    npz(tmp_path / "large.npz", (10**5, 10**5))
    for name, why in (("small", "is a mask of 2 x 3, "), ("large", "mask has a header of 100000 x 100000 values")):
        assert command(["mask", archive.name, f"{name}.npz"]) == 1
        said = capsys.readouterr().err
        assert re.search(rf"^hko7env archive mask: {name}\.npz (is not an .npz.*)?{why}", said)
    assert (Archive(archive.name).mask == 0).all()


def test_lists_of_test_times_that_cannot_be_followed(tmp_path, command, capsys):
    for text, why in (
        ("2015-05-01T00:00\n2015-05-01T00:02\n", "less than 6 minutes apart"),
        ("2012-05-01T00:00\n2015-05-01T00:00\n", "2012-05-01T00:00 is not later than all frames of train and valid"),
        ("", "lists no time"),
        ("\udcff", "cannot be read"),
    ):
        (tmp_path / "times.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
        words = ["--preset", "hko7", "--out", "a.zarr", "--test-times", "times.csv"]
        assert command(["synthetic", *words]) == 1
        assert re.search(rf"^hko7env archive synthetic: times\.csv.*{why}", capsys.readouterr().err)
        assert not (tmp_path / "a.zarr").exists()


def test_an_import_lists_what_it_left_out(tmp_path, command, capsys):
    folder, start = tmp_path / "gifs", minutes("2024-07-10T19:00")
    folder.mkdir()
    paths = [draw_eccc(folder, start + 6 * i, [(100, 200, (255, 153, 0))]) for i in range(3)]
    paths[1].write_bytes(b"")
    assert command(["import", "eccc", str(folder), "--out", "a.zarr"]) == 1
    assert re.search(rf"{paths[1].name} cannot be read .* with --keep-going$", capsys.readouterr().err)
    assert command(["import", "eccc", str(folder), "--out", "a.zarr", "--keep-going"]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"left out: .*{paths[1].name} cannot be read", said)
    assert "2 frames, 1 files left out" in said
