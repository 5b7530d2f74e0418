import numpy as np
import pytest

from hko7env.archive.format import iso
from hko7env.importers import Window, import_radar
from hko7env.units import HKO7
from tests.helpers.radar_files import write_knmi


def test_knmi_counts_become_rates(tmp_path):
    values = np.zeros((5, 6), np.uint16)
    values[:, 0], values[2, 3] = 65535, 100
    (tmp_path / "nl").mkdir()
    for minute in ("00", "05"):
        write_knmi(tmp_path / "nl", f"2010082600{minute}", values, f"26-AUG-2010;00:{minute}:00.000")
    archive, problems = import_radar("knmi", tmp_path / "nl", tmp_path / "a.zarr")
    assert (problems, [iso(t) for t in archive.times]) == ([], ["2010-08-26T00:00", "2010-08-26T00:05"])
    frame = archive.frames(0, 1)[0]
    assert HKO7.rates[frame[2, 3]] == pytest.approx(12, rel=0.02)
    assert np.count_nonzero(frame) == 1
    np.testing.assert_array_equal(archive.mask == 2, values == 65535)


def test_damaged_knmi_files_are_named(tmp_path):
    values, end = np.zeros((5, 6), np.uint16), "26-AUG-2010;00:00:00.000"
    folder = tmp_path / "nl"
    folder.mkdir()
    write_knmi(folder, "201008260000", values, end)
    write_knmi(folder, "201008260005", values, end)
    write_knmi(folder, "201008260010", values, "26-AUG-2010;00:10:00.000", formula="GEO=PV")
    hour = "25-AUG-2010;23:20:00.000"
    write_knmi(folder, "201008260012", values, "26-AUG-2010;00:12:00.000", begin=hour)
    (folder / "RAD_NL25_RAP_5min_201008260015.h5").write_bytes(b"no HDF5")
    _, problems = import_radar("knmi", folder, tmp_path / "a.zarr", keep_going=True)
    expected = ("misnamed: its five minutes end", "counts mean GEO=PV", "expected 5 minutes", "cannot be read")
    for text, part in zip(problems, expected, strict=True):
        assert part in text


def test_real_dutch_rain(shared, tmp_path):
    pytest.importorskip("h5py")
    archive, problems = import_radar("knmi", shared / "knmi", tmp_path / "a.zarr", window=Window(188, 130, 480, 480))
    assert (len(archive), problems) == (92, [])
    assert (archive.mask == 0).sum() == 137_229
    assert HKO7.rates[archive.frames(0, 92)].max() < 30, "these events never reach 30 mm/h"
