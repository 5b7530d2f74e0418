import numpy as np
import pytest

from hko7env.importers import Window, import_radar
from hko7env.units import HKO7
from tests.helpers.radar_files import write_fmi


def test_fmi_reflectivity_becomes_rate_becomes_level(finland, tmp_path):
    archive, problems = import_radar("fmi", finland, tmp_path / "a.zarr")
    assert (problems, archive.cadence, archive.shape) == ([], 5, (5, 6))
    frame = archive.frames(0, 1)[0]
    for place, dbz in (((1, 2), 30), ((2, 3), 45)):
        rate = (10 ** (dbz / 10) / 223) ** (1 / 1.53)
        assert HKO7.rates[frame[place]] == pytest.approx(rate, rel=0.03)
    assert np.count_nonzero(frame) == 2
    np.testing.assert_array_equal(archive.mask == 2, np.arange(6) == 0 * np.ones((5, 1)))
    np.testing.assert_allclose(archive.x[0], 999.674053 / 2)
    np.testing.assert_allclose(archive.y[[0, -1]], 999.62859 * np.array([4.5, 0.5]))


def test_damaged_fmi_files_are_named(finland, tmp_path):
    blank = np.zeros((5, 6), np.uint8)
    cut = write_fmi(finland, "201609281455", blank)
    cut.write_bytes(cut.read_bytes()[:-12])
    flipped = write_fmi(finland, "201609281457", np.arange(30, dtype=np.uint8).reshape(5, 6))
    flipped.write_bytes(flipped.read_bytes()[:40] + b"\xff\xff" + flipped.read_bytes()[42:])
    write_fmi(finland, "201609281500", blank[:4])
    write_fmi(finland, "201609281505", blank, header="P2\n6 5\n255\n")
    (finland / "201609281510_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz").write_bytes(b"no gzip")
    archive, problems = import_radar("fmi", finland, tmp_path / "a.zarr", keep_going=True)
    assert len(archive) == 2
    for text, part in zip(
        problems, ("truncated", "", "24 values for 6 x 5", "not a binary PGM", "Not a gzipped"), strict=True
    ):
        assert part in text


def test_real_finnish_events(shared, tmp_path):
    for day, wet in (("20160928", 0.28), ("20170509", 0.04)):
        source = shared / "fmi" / "pgm" / day
        archive, problems = import_radar("fmi", source, tmp_path / day, window=Window(560, 160, 480, 480))
        assert (len(archive), problems) == (40, [])
        assert np.diff(archive.times).tolist() == [5] * 39
        assert not archive.mask.any(), "this window is inside coverage"
        assert (HKO7.rates[archive.frames(0, 40)] >= 0.5).mean() == pytest.approx(wet, abs=0.02)
