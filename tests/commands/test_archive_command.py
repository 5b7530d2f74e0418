import re
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from hko7env.archive import Archive, create
from hko7env.synthetic import SIZES
from hko7env.synthetic.rain_types import TYPES
from hko7env.synthetic.varied import varied


def test_describe_verify_and_pack(command, small_archive, tmp_path):
    text = command("archive", "describe", small_archive).out
    for part in (
        "142 frames of 48 x 64, every 6 min", "gaps: 4", "2015-05-20T00:36 -> 2015-05-20T00:48: 12 min",
        "test: 102 frames, 13 sequences in 2 episodes", "0.5 mm/h = 12.98 dBZ = level  83.70, reached from 84",
    ):  # fmt: skip
        assert part in text
    assert "142 frames, 0 damaged chunks" in command("archive", "verify", small_archive).out
    packed = command("archive", "pack", small_archive, "--out", "packed.zarr")
    assert Archive(str(small_archive)).fingerprint in packed.out
    (tmp_path / "packed.zarr/pixel/c/0/0/0").unlink()
    damaged = command("archive", "verify", "packed.zarr")
    assert damaged.status == 1
    assert "file pixel/c/0/0/0" in damaged.out
    missing = command("archive", "describe", "nowhere.zarr")
    assert (missing.status, missing.err.startswith("hko7env archive describe: no archive at nowhere.zarr")) == (1, True)


def test_denoise_writes_the_mask_and_says_how(command, small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    before = Archive(str(small_archive)).mask
    compared = command("archive", "denoise", "a.zarr", "--against-truth")
    assert compared.status == 0, compared.err
    assert f"of {(before == 1).sum()} (" in compared.out
    np.testing.assert_array_equal(Archive(str(tmp_path / "a.zarr")).mask, before)
    done = command("archive", "denoise", "a.zarr", "--split", "train", "--deviations", "2")
    assert "40 frames" in done.out
    after = Archive(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(after.mask == 2, before == 2)
    assert after.attributes["denoised"]["deviations"] == 2
    assert f"{(after.mask == 1).sum()} outliers" in done.out


def test_splits_by_lists_and_rules(command, small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    (tmp_path / "list.csv").write_text("20130610, 0\n20150520, 12.5\n20150709, Trace\n20991231, 1\n")
    for words, text in (
        (("days", "--days", "list.csv"), "days: 4 days, 3 of them with frames, 142 frames"),
        (("wet", "--gauge", "list.csv"), "wet: 2 days, 1 of them with frames, 57 frames"),
        (("echo", "--radar-mean", "0"), "echo: 3 days, 3 of them with frames, 142 frames"),
        (("fifteen", "--radar-mean", "0", "--years", "2015"), "fifteen: 2 days, 2 of them with frames, 102 frames"),
    ):
        done = command("archive", "split", "a.zarr", *words)
        assert done.out.strip() == text, done.err
    archive = Archive(str(tmp_path / "a.zarr"))
    assert set(archive.splits) == {"train", "test", "days", "wet", "echo", "fifteen"}
    assert len(archive.select("wet")) == 57


def test_describe_a_split_that_lies_ahead(command, tmp_path):
    archive = create(str(tmp_path / "a.zarr"), shape=(4, 4), splits={"later": [("2099-01-01", "2100-01-01")]})
    archive.append([0], np.zeros((1, 4, 4), np.uint8))
    done = command("archive", "describe", "a.zarr")
    assert done.status == 0, done.err
    assert "later: no good frame" in done.out
    assert "fingerprint" in done.out


def test_describe_an_empty_archive(command, tmp_path):
    create(str(tmp_path / "empty.zarr"), shape=(4, 4))
    done = command("archive", "describe", "empty.zarr")
    assert done.status == 0, done.err
    assert "0 frames of 4 x 4" in done.out


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["describe"], 2, "required: ARCHIVE"),
        (["describe", "a.zarr", "b.zarr"], 2, "unexpected 'b.zarr'"),
        (["import", "ecc", ".", "--out", "a.zarr"], 1, "there is no import format 'ecc', did you mean 'eccc'?"),
        (["import", "eccc", ".", "a.zarr"], 2, "required: --out"),
        (["import", "eccc", ".", "--out", "a.zarr", "--window", "1", "2"], 2, "--window: expected 4 arguments"),
        (["synthetic", "--size", "small"], 2, "there is no option '--size', use --preset"),
        (["synthetic", "--preset", "tiny", "--out", "a.zarr"], 2, "invalid choice: 'tiny'"),
        (["synthetic", "--preset", "hko7", "--cadence", "5", "--out", "a.zarr"], 2, "6 minutes apart"),
        (["synthetic", "--preset", "varied", "--test-times", "t.csv", "--out", "a.zarr"], 2, "--preset hko7 only"),
        (["synthetic", "--preset", "varied", "--shape", "4", "9", "--out", "a.zarr"], 1, "at least 8 x 8 px"),
        (["texture"], 2, "required: ARCHIVE"),
        (["texture", "none.zarr"], 1, "none.zarr"),
        (["synthetic", "--shard", "7", "--out", "a.zarr"], 1, "a shard holds a multiple of 5 frames, got 7"),
        (["stats", "a.zarr", "--page", "p.html"], 2, "use hko7env archive plot --out"),
        (["stats", "a.zarr", "--workers", "0"], 2, "must be at least 1"),
        (["split", "a.zarr", "wet"], 2, "one of the arguments --days --gauge --radar-mean is required"),
        (["mask", "a.zarr", "none.npz"], 1, "none.npz"),
        (["pack", "a.zarr", "b.zarr"], 2, "required: --out"),
    ],
)
def test_a_wrong_command_line_is_named(command, tmp_path, words, status, message):
    done = command("archive", *words)
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith(f"hko7env archive {words[0]}: ")
    assert message in done.err
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_mask_is_taken_from_a_file(command, small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    mask = np.zeros((48, 64), np.uint8)
    mask[0], mask[1, :3] = 2, 1
    np.savez(tmp_path / "mask.npz", mask=mask)
    done = command("archive", "mask", "a.zarr", "mask.npz")
    assert done.out == "a.zarr: 3005 scored, 3 outlier, 64 out of range\n", done.err
    np.testing.assert_array_equal(Archive(str(tmp_path / "a.zarr")).mask, mask)


def test_a_mask_of_another_size_is_refused(command, small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    np.savez(tmp_path / "mask.npz", mask=np.zeros((10, 20), np.uint8))
    done = command("archive", "mask", "a.zarr", "mask.npz")
    assert done.status == 1
    assert "mask.npz is a mask of 10 x 20, a.zarr has frames of 48 x 64" in done.err


def test_a_split_without_days_is_not_written(command, small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    done = command("archive", "split", "a.zarr", "wet", "--radar-mean", "1000")
    assert done.status == 1
    assert "no day is left for split 'wet'" in done.err
    assert "wet" not in Archive(str(tmp_path / "a.zarr")).splits


@pytest.mark.parametrize(
    "times, message",
    [
        (("2010-06-01T00:00", "2010-06-01T00:06"), "2010-06-01T00:00 is not later than all frames of train and valid"),
        (("2015-06-01T00:00", "2015-06-01T00:04", "2015-06-01T00:06"), "less than 6 minutes apart"),
    ],
)
def test_test_times_that_no_episodes_can_have_are_refused(command, tmp_path, times, message):
    (tmp_path / "times.csv").write_text("\n".join(times) + "\n")
    done = command("archive", "synthetic", "--preset", "hko7", "--test-times", "times.csv", "--out", "a.zarr")
    assert done.status == 1
    assert message in done.err
    assert not (tmp_path / "a.zarr").exists()


def test_stats_are_printed(command, small_archive):
    done = command("archive", "stats", small_archive, "--split", "test")
    assert done.status == 0, done.err
    assert "Rain rate (Table 2), 102 frames" in done.out
    assert "2 days with frames, 102 frames" in done.out


def test_varied_archives_are_made_and_measured_by_type(command, monkeypatch, small_archive):
    monkeypatch.setattr("hko7env.synthetic.varied.EPISODES", {"train": 5, "valid": 1})
    monkeypatch.setattr("hko7env.synthetic.varied.varied", partial(varied, frames=7))
    made = command("archive", "synthetic", "--preset", "varied", "--out", "v.zarr", "--shape", "48", "64")
    assert made.status == 0, made.err
    assert "v.zarr: 42 frames" in made.out
    assert Archive("v.zarr").shape == (48, 64)
    done = command("archive", "texture", "v.zarr", small_archive, "--split", "train")
    assert done.status == 0, done.err
    rows = [line for line in done.out.splitlines() if line]
    assert rows[0].split()[:2] == ["frames", "wet"]
    assert [row.split("  ")[0] for row in rows[1:-1]] == [f"v, {name}" for name in TYPES]
    assert not rows[-1].startswith("v, ")
    assert all(re.search(r"%.*%.*%", row) for row in rows[1:])
    none = command("archive", "texture", "v.zarr", "--split", "wet")
    assert none.status == 1
    assert "wet" in none.err
    for words, message in (
        (("denoise", "v.zarr", "--against-truth"), "other clutter"),
        (("check", "v.zarr"), "no truth"),
    ):
        refused = command("archive", *words)
        assert (refused.status, refused.out) == (1, ""), refused.err
        assert message in refused.err


def test_synthetic_archives_are_made_checked_and_drawn(command, tmp_path, monkeypatch):
    """Two episodes on a tiny map; the archive is whole, the check says what is missed, the page is written."""
    two = SIZES["two-days"]
    monkeypatch.setitem(SIZES, "two-days", lambda seed: [replace(e, frames=50, missing=()) for e in two(seed)[:2]])
    made = ("archive", "synthetic", "--preset", "two-days", "--out", "demo.zarr", "--shape", "32", "48", "--seed", "3")
    first = command(*made)
    assert first.status == 0, first.err
    assert "100 frames, fingerprint" in first.out
    assert command(*made).out == first.out
    other = command(*made[:-1], "4")
    assert other.status == 1
    assert "other arguments" in other.err
    other = command(*made, "--test-times", "x.csv")
    assert other.status == 2
    assert "--test-times goes with --preset hko7 only" in other.err
    checked = command("archive", "check", "demo.zarr", "--sequences", "3")
    assert checked.status == 1, "a map of 32 x 48 cannot be as HKO-7"
    assert "MISSED" in checked.out
    assert "of 17 targets met" in checked.out
    drawn = command("archive", "plot", "demo.zarr", "--out", "page.html")
    assert drawn.status == 0, drawn.err
    assert (tmp_path / "page.html").stat().st_size > 50_000
