"""pysteps' own importers behind the adapter, on files that are written here and on real ones."""

import importlib.util
import shutil
import sys

import numpy as np
import pytest

from hko7env.archive.format import iso, minutes
from hko7env.damage import DamagedFile
from hko7env.importers import RadarImportError, Window, import_radar, load_format
from hko7env.importers.testing import FormatTests, Written
from tests.helpers.plain_decoders import level_of
from tests.helpers.pysteps_files import (
    write_crr,
    write_fmi_pgm,
    write_knmi_grid,
    write_mrms,
    write_odim_grid,
    write_radolan,
    write_rainfields,
    write_swiss_gif,
)
from tests.helpers.radar_files import knmi_date


def lacks(*packages):
    return not all(importlib.util.find_spec(package) for package in packages)


pytestmark = pytest.mark.skipif(
    lacks("pysteps", "pyproj", "h5py"),
    reason="needs pysteps, which a C compiler builds: pip install 'hko7env[pysteps]'",
)
needs_netcdf4 = pytest.mark.skipif(lacks("netCDF4"), reason="needs netCDF4")

START = minutes("2018-06-13T12:00")
RATES = np.zeros((5, 6))  # mm/h
RATES[0, 5], RATES[1, 2], RATES[3, 4] = 48.0, 1.2, 7.2
GAP = np.zeros((5, 6), bool)
GAP[:, 0] = GAP[4, 1] = True
LEVELS = np.where(GAP, 0, level_of(RATES)).astype(np.uint8)


class TestFmiPgm(FormatTests):
    def make(self):
        return load_format("pysteps:fmi_pgm")

    def write(self, folder, minute):
        values = np.zeros((5, 6), np.uint8)
        values[0, 5], values[1, 2], values[GAP] = 64 + 2 * 30, 64 + 2 * 45, 255  # 30 and 45 dBZ
        levels = np.zeros((5, 6), np.uint8)
        levels[0, 5], levels[1, 2] = level_of((10.0 ** np.array([3, 4.5]) / 223) ** (1 / 1.53))
        return Written(write_fmi_pgm(folder, minute, values, zipped=True), levels, GAP)


class TestKnmi(FormatTests):
    def make(self):
        return load_format("pysteps:knmi_hdf5")

    def write(self, folder, minute):
        counts = np.where(GAP, 65535, np.round(RATES / 0.12)).astype(np.uint16)
        return Written(write_knmi_grid(folder, minute, counts, knmi_date(minute)), LEVELS, GAP)


class TestOdim(FormatTests):
    def make(self):
        return load_format("pysteps:odim_hdf5")

    def write(self, folder, minute):
        data = np.where(GAP, -9999000.0, np.where(RATES > 0, RATES, -8888000.0))
        return Written(write_odim_grid(folder, minute, data), LEVELS, GAP)


class TestDwdHdf5(TestOdim):
    def make(self):
        return load_format("pysteps:dwd_hdf5")


class TestRadolan(FormatTests):
    def make(self):
        return load_format("pysteps:dwd_radolan")

    def write(self, folder, minute):
        counts, gap, rates = (np.zeros((20, 25), dtype) for dtype in (np.uint16, bool, float))
        counts[3, 4], counts[10, 20], counts[19, 0] = 10, 300, 1  # of 0.01 mm in 5 minutes
        rates[:] = 0.12 * counts
        counts[0, :6], counts[5, 5], counts[6, 6] = 0x29C4, 0x8000 | 7, 0x2000  # no data, clutter, no data
        counts[7, 7], counts[8, 8] = 0x1000, 0x100A  # secondary data: none and 0.1 mm
        rates[8, 8] = 1.2
        gap[0, :6] = gap[5, 5] = gap[6, 6] = True
        path = write_radolan(folder, minute, counts)
        return Written(path, np.where(gap, 0, level_of(rates))[::-1].astype(np.uint8), gap[::-1])


class TestSwissGif(FormatTests):
    def make(self):
        return load_format("pysteps:mch_gif")

    def write(self, folder, minute):
        indices = np.zeros((640, 710), np.uint8)
        indices[100:120, 200:260] = np.arange(100, 160)
        indices[:, 700:], indices[630:, 5:9], indices[1, 1] = 255, 252, 1
        rates = 12 * (10 ** ((indices - 71.5) / 20) / 316) ** (1 / 1.5)
        levels = np.where((indices < 2) | (indices > 250), 0, level_of(rates)).astype(np.uint8)
        return Written(write_swiss_gif(folder, minute, indices), levels, indices == 255)


@needs_netcdf4
class TestRainfields(FormatTests):
    def make(self):
        return load_format("pysteps:bom_rf3")

    def write(self, folder, minute):
        counts = np.where(GAP, -1, np.round(RATES / 10 / 0.05)).astype(np.int16)
        rates = np.round(RATES / 10 / 0.05) * 0.05 * 10
        levels = np.where(GAP, 0, level_of(rates)).astype(np.uint8)
        return Written(write_rainfields(folder, minute, counts), levels, GAP)


@needs_netcdf4
class TestCrr(FormatTests):
    def make(self):
        return load_format("pysteps:saf_crri")

    def write(self, folder, minute):
        return Written(write_crr(folder, minute, np.where(GAP, 65535, RATES * 10).astype(np.uint16)), LEVELS, GAP)


@pytest.mark.skipif(lacks("pygrib"), reason="needs pygrib")
class TestMrms(FormatTests):
    def make(self):
        return load_format("pysteps:mrms_grib")

    def write(self, folder, minute):
        return Written(write_mrms(folder, minute, np.where(GAP, -3.0, RATES)), LEVELS, GAP)

    def test_every_pixel_is_read_unless_an_average_is_asked_for(self, tmp_path):
        path = write_mrms(tmp_path, START, np.ones((8, 12)))
        assert self.make().grid(path).shape == (8, 12)
        assert load_format("pysteps:mrms_grib", arguments="window_size=4").grid(path).shape == (2, 3)


# ---------------------------------------------------------------- each service's traps


def read(name, path, **options):
    return load_format(f"pysteps:{name}", **options).read(path)


@pytest.mark.parametrize("name", ["odim_hdf5", "opera_hdf5", "dwd_hdf5", "mch_hdf5"])
@pytest.mark.parametrize(
    "quantity, scale, span", [("RATE", 1, 5), ("ACRR", 1 / 12, 5), ("ACRR", 1, 60), ("DBZH", None, 5)]
)
def test_odim_quantities_with_the_time_of_the_file(tmp_path, monkeypatch, name, quantity, scale, span):
    zr = (316, 1.5) if name == "mch_hdf5" else (200, 1.6)
    wet = 10 * np.log10(zr[0] * np.maximum(RATES, 1e-9) ** zr[1]) if scale is None else RATES * scale
    data = np.where(GAP, -9999000.0, np.where(RATES > 0, wet, -8888000.0))
    if name == "mch_hdf5":
        swiss_grid(monkeypatch)
    frame = read(name, write_odim_grid(tmp_path, START, data, quantity, minutes=span))
    np.testing.assert_array_equal(frame.levels, LEVELS)
    np.testing.assert_array_equal(frame.no_data, GAP)


def swiss_grid(monkeypatch):
    """pysteps ties the grid of MeteoSwiss to its coordinates; this one has 5 x 6 pixels."""
    from pysteps.io import importers

    known = importers._import_mch_geodata() | {"x2": 255000.0 + 6000, "y1": 480000.0 - 5000}
    monkeypatch.setattr(importers, "_import_mch_geodata", lambda: dict(known))


@pytest.mark.parametrize("name", ["odim_hdf5", "dwd_hdf5"])
def test_dry_is_dry_whatever_the_offset(tmp_path, name):
    """pysteps gives places without rain the value of the offset."""
    counts = np.where(GAP, 255, np.where(RATES > 0, np.round((RATES + 0.6) / 0.6), 0)).astype(np.uint8)
    path = write_odim_grid(tmp_path, START, counts, gain=0.6, offset=-0.6, nodata=255.0, undetect=0.0)
    np.testing.assert_array_equal(read(name, path).levels, LEVELS)


def test_odim_files_without_the_quantity(tmp_path):
    path = write_odim_grid(tmp_path, START, RATES, "VRADH")
    with pytest.raises(DamagedFile, match="it holds VRADH, expected RATE or ACRR or DBZH"):
        read("odim_hdf5", path)
    path = write_odim_grid(tmp_path, START, RATES)
    with pytest.raises(DamagedFile, match="it holds RATE, expected DBZH"):
        read("odim_hdf5", path, arguments="qty=DBZH")
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        file.copy("dataset1/data1", "dataset1/data2")
    with pytest.raises(DamagedFile, match="it holds 2 arrays of RATE, expected one"):
        read("odim_hdf5", path)
    with h5py.File(path, "r+") as file:
        del file["dataset1/data2"], file["dataset1/data1/what"].attrs["undetect"]
    with pytest.raises(DamagedFile, match="no attribute undetect in dataset1/data1/what or dataset1/what"):
        read("odim_hdf5", path)


def test_knmi_reads_time_and_meaning_of_counts_from_the_file(tmp_path):
    rain = np.where(GAP, 65535, np.round(RATES * 100)).astype(np.uint16)
    path = write_knmi_grid(tmp_path, START, rain, knmi_date(START), begin=knmi_date(START - 60))
    np.testing.assert_array_equal(read("knmi_hdf5", path).levels, LEVELS)
    dbz = np.where(GAP, 255, 64 + 2 * 30).astype(np.uint8)
    for offset in (-32.0, -31.5):
        path = write_knmi_grid(tmp_path, START, dbz, knmi_date(START), formula=f"GEO=0.5*PV{offset}")
        expected = level_of((10 ** ((62 + offset) / 10) / 200) ** (1 / 1.6))
        np.testing.assert_array_equal(read("knmi_hdf5", path).levels, np.where(GAP, 0, expected))
    for formula in ("GEO=0.1*PV+0.0", "GEO=0.01*PV+1.0", "GEO=PV"):
        path = write_knmi_grid(tmp_path, START, rain, knmi_date(START), formula=formula)
        with pytest.raises(DamagedFile, match=f"counts mean {formula[:7]}"):
            read("knmi_hdf5", path)
    path = write_knmi_grid(tmp_path, START, rain, knmi_date(START))
    with pytest.raises(DamagedFile, match="does not read as DBZH"):
        read("knmi_hdf5", path, arguments="qty=DBZH")


@pytest.mark.parametrize(
    "product, interval, factor", [("RY", "INT   5", 0.12), ("YW", "INT   5", 0.12), ("RW", "INT  60", 0.01)]
)
def test_radolan_accumulations(tmp_path, product, interval, factor):
    counts = np.arange(1, 501, dtype=np.uint16).reshape(20, 25)  # without any 0
    path = write_radolan(tmp_path, START, counts, product, interval=interval)
    np.testing.assert_array_equal(read("dwd_radolan", path).levels, level_of(factor * counts)[::-1])


def test_radolan_reflectivity(tmp_path):
    counts = np.full((20, 25), 0x29C4, np.uint16)
    counts[2:, :] = 0
    counts[4, 5] = 1250  # 30 dBZ
    frame = read("dwd_radolan", write_radolan(tmp_path, START, counts, "WN", exponent=1))
    expected = np.zeros((20, 25))
    expected[20 - 1 - 4, 5] = level_of(12**0 * (1000 / 200) ** (1 / 1.6))
    np.testing.assert_array_equal(frame.levels, expected)
    assert frame.no_data.sum() == 50
    assert frame.no_data[18:].all(), "the southern rows come first in the file"


def test_radolan_files_that_pysteps_would_misread(tmp_path):
    counts = np.zeros((20, 25), np.uint16)
    for product in ("RX", "WX", "SF"):
        with pytest.raises(DamagedFile, match=f"RADOLAN product {product}: pysteps reads RW, RY, YW, WN only"):
            read("dwd_radolan", write_radolan(tmp_path, START, counts, product))
    path = write_radolan(tmp_path, START, counts)
    path.write_bytes(path.read_bytes()[:-20])  # pysteps rounds the length, and takes 20 bytes of the header for rain
    with pytest.raises(DamagedFile, match="980 bytes of values for 20 x 25"):
        read("dwd_radolan", path)
    with pytest.raises(DamagedFile, match="its header has no precision, minutes and grid, or no end"):
        read("dwd_radolan", write_radolan(tmp_path, START, counts, interval=""))


def test_swiss_products(tmp_path):
    indices = np.full((640, 710), 90, np.uint8)
    path = write_swiss_gif(tmp_path, START, indices, "CPC")
    with pytest.raises(RadarImportError, match=r"does not tell its product, unit and minutes: say arguments="):
        read("mch_gif", path)
    hour = read("mch_gif", path, arguments="product=CPC,unit=mm,accutime=60").levels
    assert (hour == level_of((10 ** ((90 - 71.5) / 20) / 316) ** (1 / 1.5))).all()
    with pytest.raises(RadarImportError, match=r"pysteps:mch_metranet lacks a package: .*metranet"):
        read("mch_metranet", write_swiss_gif(tmp_path, START, indices))


@pytest.mark.skipif(not lacks("osgeo"), reason="GDAL is here")
def test_geotiff_needs_gdal(tmp_path):
    path = tmp_path / "201806131200_FINUTM.tif"
    path.write_bytes(b"II*\0")
    with pytest.raises(RadarImportError, match=r"pysteps:fmi_geotiff lacks a package: .*gdal"):
        read("fmi_geotiff", path)


@needs_netcdf4
def test_rainfields_in_another_unit(tmp_path):
    with pytest.raises(DamagedFile, match="the unit is 'not known'"):
        read("bom_rf3", write_rainfields(tmp_path, START, np.zeros((5, 6), np.int16), units="inch"))
    frame = read("bom_rf3", write_rainfields(tmp_path, START, np.full((5, 6), 20, np.int16), minutes=10))
    assert (frame.levels == level_of(6.0)).all()


def test_a_pgm_without_comments_does_not_hang(tmp_path):
    path = tmp_path / "201806131200_fmi.radar.composite.lowest_FIN_SUOMI1.pgm"
    path.write_bytes(b"P5\n6 5\n255\n" + bytes(30))
    with pytest.raises(DamagedFile, match="its header has no comments"):
        read("fmi_pgm", path)


def test_fmi_files_need_not_be_compressed(tmp_path):
    values = np.arange(30, dtype=np.uint8).reshape(5, 6) + 90
    one, two = (read("fmi_pgm", write_fmi_pgm(tmp_path, START, values, zipped=zipped)) for zipped in (False, True))
    np.testing.assert_array_equal(one.levels, two.levels)
    assert one.levels.any()


def test_an_fmi_file_in_another_projection(tmp_path):
    path = write_fmi_pgm(tmp_path, START, np.zeros((5, 6), np.uint8), zipped=False)
    path.write_bytes(path.read_bytes().replace(b"stereographic", b"equirectangular"))
    with pytest.raises(DamagedFile, match="yorigin is None, so north is unknown"):
        load_format("pysteps:fmi_pgm").grid(path)


# ---------------------------------------------------------------- plug-ins

PLUGIN = """
import numpy as np


def import_text(filename, scale=1.0, **kwargs):
    'pysteps takes no plug-in without a docstring'
    metadata = {"unit": "mm", "transform": None, "accutime": 5.0, "yorigin": "lower", "cartesian_unit": "km"}
    metadata |= {"x1": 0, "x2": 6, "y1": 0, "y2": 5, "projection": "+proj=aeqd +units=km", "institution": "mine"}
    return scale * np.loadtxt(filename), None, metadata
"""


@pytest.mark.parametrize("group", ["pysteps.plugins.importer", "pysteps.plugins.importers"])
def test_a_plugin_of_another_package(tmp_path, monkeypatch, group):
    from pysteps.io import importers, interface

    (tmp_path / "text_radar.py").write_text(PLUGIN)
    info = tmp_path / "text_radar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: text-radar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\ntext = text_radar:import_text\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(interface, "_importer_methods", dict(interface._importer_methods))
    monkeypatch.setattr(importers, "import_text", None, raising=False)
    monkeypatch.delattr(importers, "import_text")
    interface.discover_importers()
    monkeypatch.delitem(sys.modules, "text_radar")
    folder = tmp_path / "rain"
    folder.mkdir()
    for minute in (0, 5):
        np.savetxt(folder / f"{iso(START + minute).replace(':', '')}.txt", np.where(GAP, np.nan, RATES / 24)[::-1])
    archive, problems = import_radar(load_format("pysteps:text", arguments="scale=2"), folder, tmp_path / "a.zarr")
    assert (problems, len(archive), archive.cadence, archive.crs) == ([], 2, 5, "+proj=aeqd +units=m")
    np.testing.assert_array_equal(archive.frames(0, 1)[0], LEVELS)
    np.testing.assert_array_equal(archive.mask == 2, GAP)


def test_importers_that_do_not_exist():
    with pytest.raises(RadarImportError, match=r"there is no importer pysteps:fmi_pmg: .*'fmi_pgm'"):
        load_format("pysteps:fmi_pmg")
    with pytest.raises(RadarImportError, match="has no argument 'gzip', only gzipped"):
        load_format("pysteps:fmi_pgm", arguments="gzip=true")
    with pytest.raises(RadarImportError, match="has no argument 'window_size', only product_name"):
        load_format("pysteps:dwd_radolan", arguments="window_size=1")


# ---------------------------------------------------------------- real files


@pytest.mark.parametrize(
    "own, theirs, folder, count",
    [
        ("fmi", "fmi_pgm", "fmi/pgm/20160928", 40),
        ("fmi", "fmi_pgm", "fmi/pgm/20170509", 40),
        ("knmi", "knmi_hdf5", "knmi", 92),
    ],
)
def test_real_frames_equal_those_of_our_own_importers(shared, own, theirs, folder, count):
    ours, adapter = load_format(own), load_format(f"pysteps:{theirs}")
    paths = ours.sources(shared / folder)
    assert len(paths) == count
    grid, same = ours.grid(paths[0]), adapter.grid(paths[0])
    np.testing.assert_array_equal(grid.mask, same.mask)
    np.testing.assert_allclose(grid.x, same.x, atol=0.1)  # metres
    np.testing.assert_allclose(grid.y, same.y, atol=0.1)
    for path in paths[::8]:  # the others are equal as well, and take a minute
        one, two = ours.read(path), adapter.read(path)
        assert ours.time_of(path) == adapter.time_of(path)
        np.testing.assert_array_equal(one.levels, two.levels)
        np.testing.assert_array_equal(one.no_data, two.no_data)


def test_a_real_import_is_that_of_our_own_importer(shared, tmp_path):
    window, folder = Window(188, 130, 480, 480), tmp_path / "some"
    folder.mkdir()
    for path in sorted((shared / "knmi").rglob("*.h5"))[40:43]:
        shutil.copy(path, folder)
    ours, _ = import_radar("knmi", folder, tmp_path / "a.zarr", window=window)
    theirs, problems = import_radar("pysteps:knmi_hdf5", folder, tmp_path / "b.zarr", window=window)
    assert problems == []
    np.testing.assert_array_equal(ours.times, theirs.times)
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    np.testing.assert_array_equal(ours.frames(0, 3), theirs.frames(0, 3))
    assert ours.frames(0, 3).any()
