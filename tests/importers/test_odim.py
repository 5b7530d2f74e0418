import numpy as np
import pytest

from hko7env.importers import RadarImportError, import_radar
from hko7env.units import HKO7
from tests.helpers.radar_files import write_odim


@pytest.mark.parametrize("where_what", ["dataset1/what", "dataset1/data1/what"])
@pytest.mark.parametrize(
    "quantity, value, rate",
    [("RATE", 12.0, 12.0), ("ACRR", 3.0, 12.0), ("DBZH", 10 * np.log10(200 * 12**1.6), 12.0)],
)
def test_odim_composites_in_both_layouts(tmp_path, quantity, value, rate, where_what):
    data = np.full((5, 6), -8888000.0)
    data[:, 0], data[2, 3] = -9999000.0, value
    folder = tmp_path / "opera"
    folder.mkdir()
    day = np.bytes_("20180613")
    hour = {"startdate": day, "starttime": np.bytes_("114500"), "enddate": day, "endtime": np.bytes_("120000")}
    for minute in ("00", "15", "30"):
        write_odim(folder, f"2018061312{minute}00", data, quantity, where_what=where_what, **hour)
    archive, problems = import_radar("odim", folder, tmp_path / "a.zarr")
    assert (problems, archive.cadence, len(archive)) == ([], 15, 3)
    frame = archive.frames(0, 1)[0]
    assert HKO7.rates[frame[2, 3]] == pytest.approx(rate, rel=0.02)
    assert np.count_nonzero(frame) == 1
    np.testing.assert_array_equal(archive.mask == 2, data == -9999000.0)
    assert archive.crs.startswith("+proj=laea")
    assert archive.y[0] > archive.y[-1]


def test_damaged_odim_files_are_named(tmp_path):
    dry = np.full((5, 6), -8888000.0)
    folder = tmp_path / "opera"
    folder.mkdir()
    for minute in ("00", "15"):
        write_odim(folder, f"2018061312{minute}00", dry)
    write_odim(folder, "20180613123000", dry, inside="20180613124500")
    write_odim(folder, "20180613124500", dry, "VRAD")
    write_odim(folder, "20180613130000", np.full((5, 6), np.nan))
    (folder / "T_PAAH21_C_EUOC_20180613131500.hdf").write_bytes(b"no HDF5")
    archive, problems = import_radar("odim", folder, tmp_path / "a.zarr", keep_going=True)
    assert len(archive) == 2
    assert len(problems) == 4
    for part in ("misnamed", "quantity VRAD", "NaN", "131500.hdf cannot be read"):
        assert part in "\n".join(problems)
    alone = tmp_path / "alone"
    alone.mkdir()
    write_odim(alone, "20180613120000", dry)
    with pytest.raises(RadarImportError, match="does not show the cadence"):
        import_radar("odim", alone, tmp_path / "b.zarr")
