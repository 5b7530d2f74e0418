import zlib

import numpy as np
import pytest

from hko7env.archive.format import iso
from hko7env.importers import RadarImportError, Window, import_radar
from hko7env.importers.formats import hko7
from hko7env.scores import scored
from hko7env.synthetic.radar import site
from hko7env.synthetic.rain import rain
from tests.helpers.radar_files import write_hko7


@pytest.fixture(scope="module")
def official():
    """Thirty synthetic frames of the official size and the static mask that they were made with."""
    radar = site((480, 480), 7)
    clean = rain((480, 480), 30, key=(5, 0))
    return np.stack([radar.observe(frame, 6 * i, (5, 0), i) for i, frame in enumerate(clean)]), radar.mask


def test_official_folders_come_in_as_they_are(official, tmp_path):
    frames, static = official
    write_hko7(tmp_path, frames, static)
    archive, problems = import_radar("hko7", tmp_path, tmp_path / "a.zarr")
    assert (problems, len(archive), iso(archive.times[0])) == ([], 30, "2015-01-07T00:00")
    np.testing.assert_array_equal(archive.frames(0, 30), frames)
    np.testing.assert_array_equal(archive.mask, static)
    for path in sorted(tmp_path.rglob("*.mask"))[::7]:  # scoring restores the official masks from the static one
        frame = archive.frames(int(path.stem[-6:-2][:2]) * 10 + int(path.stem[-4:-2]) // 6, 30)[0]
        np.testing.assert_array_equal(scored(frame, archive.scored), hko7.read_mask(path))


def test_official_folders_in_parts_give_the_mask_of_the_whole(official, tmp_path):
    frames, static = official
    write_hko7(tmp_path / "one", frames[:12], static)
    write_hko7(tmp_path / "two", frames[12:14], static, start="2015-01-08T00:00")
    import_radar("hko7", tmp_path / "one", tmp_path / "a.zarr")
    archive, _ = import_radar("hko7", tmp_path / "two", tmp_path / "a.zarr")
    np.testing.assert_array_equal(archive.mask, static)
    part, _ = import_radar("hko7", tmp_path / "one", tmp_path / "b.zarr", window=Window(100, 120, 200, 300))
    np.testing.assert_array_equal(part.mask, static[100:300, 120:420])
    archive.update(mask=np.zeros((480, 480), np.uint8), attributes={"mask_from": "a file"})
    write_hko7(tmp_path / "three", frames[14:15], static, start="2015-01-09T00:00")
    again, _ = import_radar("hko7", tmp_path / "three", tmp_path / "a.zarr")
    assert not again.mask.any(), "a mask that was chosen stays"


def test_damaged_official_masks_are_named_and_a_second_run_reads_them(official, tmp_path):
    frames, static = official
    write_hko7(tmp_path / "official", frames[:12], static)
    path = sorted(tmp_path.rglob("*.mask"))[1]
    good = path.read_bytes()
    for data, part in ((b"torn", "not a zlib stream"), (zlib.compress(b"\1" * 9), "9 bytes, expected 230400")):
        path.write_bytes(data)
        with pytest.raises(RadarImportError, match=part):
            import_radar("hko7", tmp_path / "official", tmp_path / "a.zarr")
    _, problems = import_radar("hko7", tmp_path / "official", tmp_path / "b.zarr", keep_going=True)
    assert len(problems) == 1
    path.write_bytes(good)
    archive, _ = import_radar("hko7", tmp_path / "official", tmp_path / "a.zarr", keep_going=True)
    np.testing.assert_array_equal(archive.mask, static)
