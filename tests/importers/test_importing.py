import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hko7env.archive import Archive
from hko7env.archive.format import minutes
from hko7env.commands.main import main
from hko7env.importers import RadarImportError, Window, import_radar, load_format
from hko7env.importers.formats import eccc
from hko7env.importers.importing import BATCH_FRAMES
from tests.helpers.radar_files import draw_eccc, stamp_of, write_fmi, write_odim

ROOT = Path(__file__).resolve().parents[2]


def test_a_second_run_adds_only_what_is_new(source, tmp_path):
    last = sorted(source.iterdir())[-1]
    kept = shutil.move(last, tmp_path)
    first, _ = import_radar("eccc", source, tmp_path / "a.zarr")
    assert len(first) == 4
    fingerprint = first.fingerprint
    assert import_radar("eccc", source, tmp_path / "a.zarr")[0].fingerprint == fingerprint
    shutil.move(kept, source)
    grown, _ = import_radar("eccc", source, tmp_path / "a.zarr")
    whole, _ = import_radar("eccc", source, tmp_path / "b.zarr")
    assert grown.fingerprint == whole.fingerprint != fingerprint


def test_workers_and_a_dask_cluster_give_the_same_archive(source, tmp_path, cluster):
    alone, _ = import_radar("eccc", source, tmp_path / "a.zarr")
    two, _ = import_radar("eccc", source, tmp_path / "b.zarr", workers=2)
    assert two.fingerprint == alone.fingerprint
    if cluster:
        spread, _ = import_radar("eccc", source, tmp_path / "c.zarr", scheduler=cluster)
        assert spread.fingerprint == alone.fingerprint


def test_a_stopped_import_goes_on(source, tmp_path, monkeypatch):
    monkeypatch.setattr("hko7env.importers.importing.BATCH_FRAMES", 2)
    original, read = eccc.EnvironmentCanada.read, []

    def stopping(self, path):
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(path)
        return original(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(eccc.EnvironmentCanada, "read", stopping)
        with pytest.raises(KeyboardInterrupt):
            import_radar("eccc", source, tmp_path / "a.zarr")
    assert len(Archive(str(tmp_path / "a.zarr"))) == 2
    resumed, _ = import_radar("eccc", source, tmp_path / "a.zarr")
    assert resumed.fingerprint == import_radar("eccc", source, tmp_path / "b.zarr")[0].fingerprint


def killed_when(words, ready):
    """Run a tool until ``ready()`` and kill it; whether it was still running."""
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while not ready() and process.poll() is None:
            time.sleep(0.01)
        running = process.poll() is None
        process.kill()
    return running


KILLED_AS_IT_WRITES = """
import os, signal, sys
from hko7env.archive import Archive
from hko7env.commands.main import main
Archive.update = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
main(["archive", "denoise", sys.argv[1]])
"""


def test_a_killed_import_and_a_killed_denoise_end_as_unbroken_ones(tmp_path):
    source, start, rng = tmp_path / "in", minutes("2016-09-28T00:00"), np.random.default_rng(0)
    source.mkdir()
    for i in range(4 * BATCH_FRAMES):
        write_fmi(source, stamp_of(start + 5 * i), rng.integers(64, 200, (5, 6), np.uint8))
    whole, _ = import_radar("fmi", source, tmp_path / "a.zarr")
    broken = tmp_path / "b.zarr"
    words = ["tools/archive.py", "import", "fmi", str(source), "--out", str(broken)]
    assert killed_when(words, (broken / "pixel/c/5").exists)
    assert 0 <= len(Archive(str(broken))) < len(whole)
    again, problems = import_radar("fmi", source, broken)
    assert (again.fingerprint, problems) == (whole.fingerprint, [])

    words = [sys.executable, "-c", KILLED_AS_IT_WRITES, str(broken)]
    assert subprocess.run(words, cwd=ROOT, check=False, capture_output=True).returncode == -signal.SIGKILL
    assert Archive(str(broken)).attributes == whole.attributes
    for path in (tmp_path / "a.zarr", broken):
        assert main(["archive", "denoise", str(path)]) == 0
    one, other = Archive(str(tmp_path / "a.zarr")), Archive(str(broken))
    assert one.fingerprint == other.fingerprint
    assert one.attributes["denoised"] == other.attributes["denoised"]


def test_bad_files_are_named_or_left_out(source, tmp_path):
    first, second, third, *_ = sorted(source.iterdir())
    second.write_bytes(second.read_bytes()[:900])  # truncated
    third.write_bytes(b"not a GIF")
    (source / "notes.txt").write_text("misnamed")
    (source / "202413451906_CASGO_CAPPI_1.5_RAIN.gif").write_bytes(first.read_bytes())  # no such date
    (source / "again").mkdir()
    shutil.copy(first, source / "again")
    draw_eccc(source, minutes("2024-07-10T20:00"), [(100, 200, (1, 2, 3))])
    Image.new("RGB", (100, 100)).save(source / "202407102006_CASGO_CAPPI_1.5_RAIN.gif")
    with pytest.raises(RadarImportError, match="keep_going=True"):
        import_radar("eccc", source, tmp_path / "a.zarr")
    archive, problems = import_radar("eccc", source, tmp_path / "b.zarr", keep_going=True)
    assert len(archive) == 3
    text = "\n".join(problems)
    for part in (
        second.name, third.name, "notes.txt is not named like", "202413451906", "has the same time",
        "a colour that is no rain class", "100 x 100 pixels",
    ):  # fmt: skip
        assert part in text
    assert len(problems) == 7


def test_older_files_and_other_grids_are_refused(source, tmp_path):
    import_radar("eccc", source, tmp_path / "a.zarr")
    old = draw_eccc(source, minutes("2024-07-01T00:00"))
    with pytest.raises(RadarImportError, match="older than the newest frame"):
        import_radar("eccc", source, tmp_path / "a.zarr")
    old.unlink()
    other = source / "202407111906_CASMB_CAPPI_1.5_RAIN.gif"
    other.write_bytes(next(source.iterdir()).read_bytes())
    with pytest.raises(RadarImportError, match="of CASMB, other files are of CASGO"):
        import_radar("eccc", source, tmp_path / "b.zarr")
    other.unlink()
    (source / "202407102000_CASMB_CAPPI_1.5_RAIN.gif").write_bytes(next(source.iterdir()).read_bytes())
    for path in source.glob("*CASGO*"):
        path.unlink()
    with pytest.raises(RadarImportError, match="another grid"):
        import_radar("eccc", source, tmp_path / "a.zarr")


@pytest.mark.parametrize(("height", "width"), [(-5, 10), (10, 0)])
def test_a_window_has_rows_and_columns(height, width):
    with pytest.raises(RadarImportError, match=f"at least 1 x 1 px, got {height} x {width}"):
        Window(0, 0, height, width)


def test_a_window_cuts_frames_mask_and_axes(finland, tmp_path):
    whole, _ = import_radar("fmi", finland, tmp_path / "a.zarr")
    part, _ = import_radar("fmi", finland, tmp_path / "b.zarr", window=Window(1, 2, 3, 4))
    np.testing.assert_array_equal(part.frames(0, 2), whole.frames(0, 2)[:, 1:4, 2:6])
    np.testing.assert_array_equal(part.mask, whole.mask[1:4, 2:6])
    np.testing.assert_array_equal(part.x, whole.x[2:6])
    np.testing.assert_array_equal(part.y, whole.y[1:4])
    padded, _ = import_radar("fmi", finland, tmp_path / "c.zarr", window=Window(-2, 3, 9, 5))
    frame, mask = padded.frames(0, 1)[0], np.full((9, 5), 2)
    np.testing.assert_array_equal(frame[2:7, :3], whole.frames(0, 1)[0][:, 3:])
    assert np.count_nonzero(frame) == np.count_nonzero(frame[2:7, :3]) == 1
    mask[2:7, :3] = whole.mask[:, 3:]
    np.testing.assert_array_equal(padded.mask, mask)
    np.testing.assert_array_equal(padded.x[:3], whole.x[3:])
    np.testing.assert_array_equal(padded.y[2:7], whole.y)
    np.testing.assert_allclose(np.diff(padded.y), -999.62859)
    with pytest.raises(RadarImportError, match="does not overlap the grid of 5 x 6"):
        import_radar("fmi", finland, tmp_path / "d.zarr", window=Window(5, 0, 3, 4))
    for other in (Window(1, 1, 3, 4), Window(0, 2, 3, 4)):
        with pytest.raises(RadarImportError, match="another grid"):
            import_radar("fmi", finland, tmp_path / "b.zarr", window=other)


def test_frames_that_lack_locations_are_suspect_and_missing(finland, tmp_path):
    blank = np.zeros((5, 6), np.uint8)
    write_fmi(finland, "201609281440", np.full((5, 6), 255, np.uint8))  # the first of all, without data
    blank[:, :3] = 255
    write_fmi(finland, "201609281455", blank)
    archive, problems = import_radar("fmi", finland, tmp_path / "a.zarr", keep_going=True)
    assert len(problems) == 1
    assert "no location holds data" in problems[0]
    assert archive.scored.sum() == 25, "the mask is that of the first file that sees something"
    assert archive.status.tolist() == [1, 0, 0, 1]
    assert len(archive.select()) == 2


def test_an_import_goes_on_with_one_file_and_its_own_cadence(tmp_path):
    dry, folder = np.full((5, 6), -8888000.0), tmp_path / "opera"
    folder.mkdir()
    for minute in ("00", "15"):
        write_odim(folder, f"2018061312{minute}00", dry)
    import_radar("odim", folder, tmp_path / "a.zarr")
    for path in folder.iterdir():
        path.unlink()
    write_odim(folder, "20180613150000", dry)
    grown, _ = import_radar("odim", folder, tmp_path / "a.zarr")
    assert (len(grown), grown.cadence) == (3, 15)


def test_unknown_formats_and_empty_sources_are_named(tmp_path):
    with pytest.raises(RadarImportError, match="did you mean 'eccc'"):
        load_format("ecc")
    with pytest.raises(RadarImportError, match="there is no"):
        import_radar("eccc", tmp_path / "nowhere", tmp_path / "a.zarr")
    with pytest.raises(RadarImportError, match="no file under"):
        import_radar("eccc", tmp_path, tmp_path / "a.zarr")
