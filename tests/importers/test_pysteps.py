"""The adapter to pysteps, with an importer that stands in for pysteps', so that pysteps need not be installed."""

import sys
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.archive.format import iso, minutes
from hko7env.commands.main import main
from hko7env.damage import DamagedFile
from hko7env.importers import RadarImportError, format_options, import_radar, load_format
from hko7env.importers.formats import pysteps as adapter
from hko7env.importers.pysteps_importers import library
from hko7env.importers.testing import FormatTests, Written
from tests.helpers.plain_decoders import level_of
from tests.helpers.radar_files import stamp_of

RATES = np.zeros((5, 6))  # mm/h
RATES[0, 5], RATES[1, 2], RATES[3, 4] = 48.0, 1.2, 7.2
RATES[:, 0] = RATES[4, 1] = np.nan
LEVELS = np.where(np.isnan(RATES), 0, level_of(np.nan_to_num(RATES))).astype(np.uint8)
METADATA = {
    "projection": "+proj=aeqd  +lat_0=22.3 +lon_0=114.2", "cartesian_unit": "m", "institution": "a service",
    "x1": 0.0, "x2": 6000.0, "y1": -5000.0, "y2": 0.0, "xpixelsize": 1000.0, "ypixelsize": 1000.0, "yorigin": "upper",
    "unit": "mm/h", "transform": None, "accutime": 5.0, "threshold": np.nan, "zerovalue": np.nan,
}  # fmt: skip
START = minutes("2024-07-01T00:00")


@pytest.fixture
def importers(monkeypatch):
    """Importers by name, in place of those of pysteps."""
    found = {}

    def find(name):
        if name not in found:
            raise RadarImportError(f"there is no importer pysteps:{name}: only {', '.join(found)}")
        return found[name]

    monkeypatch.setattr(adapter, "find_importer", find)
    return found


def returning(values=RATES, /, **metadata):
    """An importer that gives ``values`` and METADATA changed by ``metadata``, whatever is in the file."""

    def importer(filename, qty="RATE", **kwargs):
        return values.copy(), None, METADATA | metadata

    return importer


def read(importers, tmp_path, importer, **options):
    importers["mine"] = importer
    path = tmp_path / "202407010000.x"
    path.write_bytes(b"something")
    reader = load_format("pysteps:mine", **options)
    return reader.read(path), reader.grid(path)


def failing(filename, qty="RATE"):
    raise ZeroDivisionError("the file is odd")


class TestPlugin(FormatTests):
    """A plug-in's importer of text files, with the southern row first."""

    detects_truncation = False

    @pytest.fixture(autouse=True)
    def plugin(self, importers):
        def import_table(filename, **kwargs):
            values = np.loadtxt(filename, ndmin=2)[::-1]
            return np.ma.masked_invalid(values), None, METADATA | {"yorigin": "lower"}

        importers["table"] = import_table

    def make(self):
        return load_format("pysteps:table")

    def write(self, folder, minute):
        path = folder / f"{stamp_of(minute)}.txt"
        np.savetxt(path, RATES)
        return Written(path, LEVELS, np.isnan(RATES))


# ---------------------------------------------------------------- units

DBZ = 10 * np.log10(200 * np.where(RATES > 0, RATES, 1e-4) ** 1.6) + np.where(np.isnan(RATES), np.nan, 0)


@pytest.mark.parametrize(
    "values, metadata",
    [
        (RATES, {"unit": "mm/h", "transform": None}),
        (RATES, {"unit": "mm h-1", "accutime": None}),
        (RATES / 3600, {"unit": "kg m-2 s-1"}),
        (RATES / 12, {"unit": "mm", "accutime": 5.0}),
        (RATES / 12, {"unit": "mm", "accutime": np.array(5)}),
        (RATES / 4, {"unit": "kg m-2", "accutime": 15}),
        (DBZ, {"unit": "dBZ", "transform": "dB"}),
        (DBZ, {"unit": "dBZ", "transform": None, "zr_a": None, "zr_b": None}),
        (DBZ + 10 * np.log10(316 / 200), {"unit": "dBZ", "transform": "dB", "zr_a": 316.0, "zr_b": 1.6}),
        (10 * np.log10(np.maximum(RATES, 10**-1.5)), {"transform": "dB", "zerovalue": -15.0, "threshold": -10.0}),
        (10 * np.log10(np.maximum(RATES / 12, 10**-3)), {"unit": "mm", "transform": "dB", "zerovalue": -30}),
    ],
)  # fmt: skip
def test_units_and_transforms(importers, tmp_path, values, metadata):
    frame, grid = read(importers, tmp_path, returning(values, **metadata))
    np.testing.assert_array_equal(frame.levels, LEVELS)
    np.testing.assert_array_equal(frame.no_data, np.isnan(RATES))
    np.testing.assert_array_equal(grid.mask == 2, np.isnan(RATES))
    assert grid.attributes["conversion"].startswith(metadata.get("unit", "mm/h"))


@pytest.mark.parametrize("unit, value", [("mm/h", 0.0), ("mm/h", 30.0), ("mm", 0.0), ("mm", 2.5), ("dBZ", -32.0)])
def test_frames_of_one_value_do_not_need_zerovalue_or_threshold(importers, tmp_path, unit, value):
    values = np.full((5, 6), value)
    frame, _ = read(importers, tmp_path, returning(values, unit=unit, zerovalue=value, threshold=value))
    rate = {"mm/h": value, "mm": value * 12, "dBZ": 0.0}[unit]
    assert (frame.levels == level_of(rate)).all()


def test_all_wet_frames_in_decibels_stay_wet(importers, tmp_path):
    """The zero value is that of the frame, as pysteps' importers set it: the least of its values."""
    frame, _ = read(importers, tmp_path, returning(np.full((5, 6), 10.0), transform="dB", zerovalue=10.0))
    assert (frame.levels == level_of(10.0)).all()


def test_accumulation_and_relation_that_the_user_gives(importers, tmp_path):
    frame, _ = read(importers, tmp_path, returning(RATES / 4, unit="mm", accutime=60.0), accutime=15.0)
    np.testing.assert_array_equal(frame.levels, LEVELS)
    frame, grid = read(importers, tmp_path, returning(DBZ, unit="dBZ", zr_a=316.0, zr_b=1.5), zr_a=200.0, zr_b=1.6)
    np.testing.assert_array_equal(frame.levels, LEVELS)
    assert grid.attributes["source_zr"] == "Z = 200 R^1.6"


@pytest.mark.parametrize(
    "metadata, reason",
    [
        ({"unit": "m"}, "the unit is 'm', expected mm/h, mm or dBZ"),
        ({"unit": None}, "the unit is 'not known'"),
        ({"unit": "mm", "accutime": None}, "accutime is None, expected a number"),
        ({"unit": "mm", "accutime": 0.0}, "accumulated over 0 minutes"),
        ({"unit": "mm", "accutime": np.nan}, "accutime is nan"),
        ({"transform": "Box-Cox"}, "transformed by 'Box-Cox'"),
        ({"unit": "dBZ", "zr_a": 0.0, "zr_b": 1.6}, "Z = 0 R"),
        ({"unit": "dBZ", "zr_a": "many", "zr_b": 1.6}, "zr_a is 'many'"),
        ({"yorigin": None}, "yorigin is None, so north is unknown"),
    ],
)
def test_metadata_that_cannot_be_used(importers, tmp_path, metadata, reason):
    with pytest.raises(DamagedFile, match=reason):
        read(importers, tmp_path, returning(**metadata))


@pytest.mark.parametrize(
    "unit, value, reason",
    [("mm/h", -1.0, "rain below 0"), ("mm/h", np.inf, "rain above 5000"), ("mm", 500.0, "rain above 5000"),
     ("dBZ", 101.0, "reflectivity above 100"), ("dBZ", -9999.0, "reflectivity below -100")],
)  # fmt: skip
def test_values_that_no_radar_gives(importers, tmp_path, unit, value, reason):
    values = RATES.copy()
    values[2, 3] = value
    with pytest.raises(DamagedFile, match=reason):
        read(importers, tmp_path, returning(values, unit=unit))


# ---------------------------------------------------------------- georeference


def test_coordinates_are_those_of_pixel_centres(importers, tmp_path):
    for origin in ("upper", "lower"):
        values = RATES if origin == "upper" else RATES[::-1]
        frame, grid = read(importers, tmp_path, returning(values, yorigin=origin))
        np.testing.assert_array_equal(frame.levels, LEVELS)
        np.testing.assert_allclose(grid.x, 1000 * np.arange(6) + 500)
        np.testing.assert_allclose(grid.y, -1000 * np.arange(5) - 500)
        assert grid.crs == "+proj=aeqd +lat_0=22.3 +lon_0=114.2"
        assert (grid.source, grid.cadence) == ("a service, read by pysteps:mine", 0)


@pytest.mark.parametrize(
    "words",
    [
        {"xpixelsize": None, "ypixelsize": None},
        {"x2": 6100.0, "y1": -4900.0},  # rounded corners
        {"x1": 500.0, "x2": 5500.0, "y1": -4500.0, "y2": -500.0},  # centres of the outermost pixels
    ],
)
def test_ways_to_state_the_same_grid(importers, tmp_path, words):
    _, grid = read(importers, tmp_path, returning(**words))
    np.testing.assert_allclose(grid.x, 1000 * np.arange(6) + 500)
    np.testing.assert_allclose(grid.y, -1000 * np.arange(5) - 500, atol=101)


def test_pixels_need_not_be_square(importers, tmp_path):
    _, grid = read(importers, tmp_path, returning(y1=-2500.0, ypixelsize=500.0))
    assert (np.diff(grid.x)[0], np.diff(grid.y)[0]) == (1000, -500)


@pytest.mark.parametrize(
    "given, expected",
    [
        ("+proj=stere +a=6378.137 +b=6356.75 +x_0=10", "+proj=stere +a=6378137 +b=6356750 +x_0=10000"),
        ("+proj=stere +a=6378.137 +y_0=-0.5", "+proj=stere +a=6378137 +y_0=-500"),
        ("+proj=laea +R=6371 +lat_0=55", "+proj=laea +R=6371000 +lat_0=55"),
        ("+proj=laea +ellps=WGS84 +units=km", "+proj=laea +ellps=WGS84 +units=m"),
        ("+proj=aea +a=6378137 +lat_1=18", "+proj=aea +a=6378137 +lat_1=18"),
        ("PROJCS[x]", "PROJCS[x]"),
    ],
)  # fmt: skip
def test_kilometres_become_metres(importers, tmp_path, given, expected):
    words = {"x2": 6.0, "y1": -5.0, "xpixelsize": 1.0, "ypixelsize": 1.0, "cartesian_unit": "km", "projection": given}
    _, grid = read(importers, tmp_path, returning(**words))
    assert (grid.x[0], grid.y[-1], grid.crs) == (500.0, -4500.0, expected)


def test_degrees_become_metres(importers, tmp_path):
    words = {"x1": 240.0, "x2": 300.0, "y1": 20.0, "y2": 60.0, "xpixelsize": 10.0, "ypixelsize": 8.0}
    _, grid = read(importers, tmp_path, returning(**words, cartesian_unit="degrees", projection="+proj=longlat"))
    assert grid.crs == "+proj=eqc +lat_ts=40.000000 +lon_0=270.000000 +R=6371000 +units=m"
    degree = 2 * np.pi * 6371000 / 360
    np.testing.assert_allclose(grid.y, degree * np.array([56, 48, 40, 32, 24]))
    np.testing.assert_allclose(grid.x, degree * np.cos(np.radians(40)) * np.array([-25, -15, -5, 5, 15, 25]))
    pyproj = pytest.importorskip("pyproj")
    longitude, latitude = pyproj.Proj(grid.crs)(grid.x, np.full(6, grid.y[0]), inverse=True)
    np.testing.assert_allclose(longitude % 360, [245, 255, 265, 275, 285, 295])
    np.testing.assert_allclose(latitude, 56)


@pytest.mark.parametrize(
    "words, reason",
    [
        ({"x1": None, "projection": None}, "lack projection, x1"),
        ({"cartesian_unit": None}, "lack cartesian_unit"),
        ({"cartesian_unit": "miles"}, "coordinates are in 'miles'"),
        ({"cartesian_unit": "degrees"}, "latitudes from"),
        ({"x1": 6000.0, "x2": 0.0}, "x1 is 6000 and x2 is 0"),
        ({"x2": np.nan}, "x2 is nan"),
        ({"xpixelsize": 500.0}, "6 pixels of 500 do not reach from x1 = 0 to x2 = 6000"),
        ({"ypixelsize": 0.0}, "5 pixels of 0 do not reach"),
        ({"xpixelsize": np.array([1000.0, 900.0])}, "xpixelsize is array"),
    ],
)
def test_georeferences_that_cannot_be_used(importers, tmp_path, words, reason):
    with pytest.raises(DamagedFile, match=reason):
        read(importers, tmp_path, returning(**words))


# ---------------------------------------------------------------- what an importer returns


@pytest.mark.parametrize(
    "importer, reason",
    [
        (failing, "pysteps:mine failed: ZeroDivisionError: the file is odd"),
        (lambda filename: None, "cannot unpack"),
        (lambda filename: (None, None, METADATA), "gave no frame of numbers, but NoneType"),
        (lambda filename: (RATES[0], None, METADATA), r"but float64 \(6,\)"),
        (lambda filename: (RATES[:0], None, METADATA), r"but float64 \(0, 6\)"),
        (lambda filename: (RATES.astype(complex), None, METADATA), "but complex128"),
        (lambda filename: (np.broadcast_to(0.0, (1 << 20, 1 << 20)), None, METADATA), "gave no frame"),
        (lambda filename: (RATES, None, None), "gave no metadata, but NoneType"),
        (lambda filename: sys.stdout.undefined, "AttributeError"),
    ],
)
def test_importers_that_return_no_frame(importers, tmp_path, importer, reason):
    with pytest.raises(DamagedFile, match=reason):
        read(importers, tmp_path, importer)


class MissingOptionalDependency(Exception):
    """Named as pysteps names it."""


@pytest.mark.parametrize("error", [MissingOptionalDependency("pygrib package is required"), ImportError("no pygrib")])
def test_a_missing_package_is_not_damage(importers, tmp_path, error):
    def importer(filename):
        raise error

    importers["mine"] = importer
    for minute in ("00", "05"):
        (tmp_path / f"2024070100{minute}.x").write_bytes(b"something")
    with pytest.raises(RadarImportError, match=r"pysteps:mine lacks a package: .*pygrib"):
        import_radar(load_format("pysteps:mine"), tmp_path, tmp_path / "a.zarr", keep_going=True)


def test_output_and_warnings_stay_inside(importers, tmp_path, capsys):
    import warnings

    def importer(filename, **kwargs):
        sys.stdout.write("reading")
        sys.stderr.write("reading")
        warnings.warn("odd", RuntimeWarning, stacklevel=1)
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        np.array([1.0]) / np.array([0.0])
        return returning()(filename)

    before = list(warnings.filters)
    frame, _ = read(importers, tmp_path, importer)
    np.testing.assert_array_equal(frame.levels, LEVELS)
    assert warnings.filters == before
    assert capsys.readouterr() == ("", "")


def test_arguments_reach_the_importer(importers, tmp_path):
    seen = []

    def importer(filename, qty="RATE", scale=1.0, window=4, flag=False, extent=(), accutime=5.0):
        seen.append((qty, scale, window, flag, extent, accutime))
        return returning()(filename)

    read(importers, tmp_path, importer, arguments="qty=DBZH, scale=-2.5,window=1,flag=true,extent=none", accutime=10.0)
    assert set(seen) == {("DBZH", -2.5, 1, True, None, 10.0)}


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"arguments": "colour=red"}, "has no argument 'colour', only qty"),
        ({"arguments": "kwargs=1"}, "has no argument 'kwargs'"),
        ({"arguments": "qty"}, "'qty' in arguments is not name=value"),
        ({"arguments": "1=2"}, "'1=2' in arguments is not name=value"),
        ({"timestamp": "%Y"}, "needs year, date, hour and minute"),
        ({"zr_a": 200.0}, "zr_a and zr_b belong together"),
        ({"accutime": -5.0}, "accutime is -5 minutes"),
        ({"accutime": float("nan")}, "accutime is nan minutes"),
    ],
)
def test_options_that_are_not_valid(importers, options, reason):
    importers["mine"] = returning()
    with pytest.raises(RadarImportError, match=reason):
        load_format("pysteps:mine", **options)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08", "compressed by gzip: decompress it first"),
        (b"BZh91AY", "compressed by bzip2"),
        (b"PK\3\4rest", "compressed by zip"),
        (b"\xfd7zXZ\0", "compressed by xz"),
    ],
)
def test_files_that_pysteps_need_not_try(importers, tmp_path, data, reason):
    importers["mine"] = returning()
    path = tmp_path / "202407010000.x"
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=reason):
        load_format("pysteps:mine").read(path)


def test_hdf5_that_was_never_written_or_claims_too_much(importers, tmp_path):
    h5py = pytest.importorskip("h5py")
    importers["mine"] = returning()
    path = tmp_path / "202407010000.h5"
    for shape, reason in (
        ((5, 6), "rain/data was not written in full: 0 of 1 chunks"),
        ((10**6, 10**6), "rain/data has frames"),
    ):
        with h5py.File(path, "w") as file:
            file.create_dataset("rain/data", shape, "f4", chunks=(5, 6))
        with pytest.raises(DamagedFile, match=reason):
            load_format("pysteps:mine").read(path)


def test_times_come_from_names(importers, tmp_path):
    importers["mine"] = returning()
    for minute in (0, 5, 15):
        (tmp_path / f"run7 at {iso(START + minute)[11:].replace(':', '.')}, 1 July 2024.x").write_bytes(b"something")
    with pytest.raises(RadarImportError, match=r"run7 at 00.00.*holds no time: say where .*timestamp="):
        import_radar(load_format("pysteps:mine"), tmp_path, tmp_path / "a.zarr")
    reader = load_format("pysteps:mine", timestamp="at %H.%M, %d.%m.%Y")
    assert reader.times_of(tmp_path / "run7 at 12.34, 01.07.2024.x") == [START + 12 * 60 + 34]
    assert reader.time_of(tmp_path / "12.34.x") is None


def test_times_in_the_names_of_folders(importers, tmp_path):
    importers["mine"] = returning()
    folder = tmp_path / "2024" / "07-01"
    folder.mkdir(parents=True)
    for minute in ("00", "05"):
        (folder / f"rain00{minute}.x").write_bytes(b"something")
    reader = load_format("pysteps:mine", timestamp="%Y/%m-%d/rain%H%M")
    archive, problems = import_radar(reader, tmp_path / "2024", tmp_path / "a.zarr")
    assert (archive.times.tolist(), problems) == ([START, START + 5], [])


def test_products_are_not_mixed(importers, tmp_path):
    importers["mine"] = returning()
    for name in ("202407010000_fast.x", "202407010005_fast.x", "202407010010_slow.x"):
        (tmp_path / name).write_bytes(b"something")
    archive, problems = import_radar(load_format("pysteps:mine"), tmp_path, tmp_path / "a.zarr", keep_going=True)
    assert archive.times.tolist() == [START, START + 5]
    assert "010_slow.x is of *_slow.x, other files are of *_fast.x: import them into separate archives" in problems[0]


def test_other_importers_are_other_sources(importers, tmp_path):
    importers |= {"mine": returning(), "yours": returning()}
    for name in ("202407010000.x", "202407010005.x"):
        (tmp_path / name).write_bytes(b"something")
    import_radar(load_format("pysteps:mine"), tmp_path, tmp_path / "a.archive")
    with pytest.raises(RadarImportError, match="another grid or source"):
        import_radar(load_format("pysteps:yours"), tmp_path, tmp_path / "a.archive", keep_going=True)


# ---------------------------------------------------------------- names of formats


def test_formats_go_to_worker_processes(importers):
    importers["mine"] = returning()
    reader = ForkingPickler.loads(ForkingPickler.dumps(load_format("pysteps:MINE", accutime=5.0)))
    assert (reader.name, reader.config) == ("mine", replace(adapter.Config(), accutime=5.0))


def test_names_and_options_of_formats(importers):
    for name, options, reason in (
        ("pysteps", {}, r"pysteps reads several kinds of files: name one, as in pysteps:fmi_pgm"),
        ("pysteps:", {}, "name one"),
        ("pysteps:his", {}, "there is no importer pysteps:his"),
        ("fmi:pgm", {}, "the import format fmi has no variants, got fmi:pgm"),
        ("fmi", {"accutime": 5}, "the import format fmi has no option 'accutime', there are none"),
        ("pysteps:mine", {"acutime": 5}, "pysteps:mine has no option 'acutime', did you mean 'accutime'"),
        ("pystep:fmi_pgm", {}, "there is no import format 'pystep', did you mean 'pysteps'"),
    ):
        with pytest.raises(RadarImportError, match=reason):
            load_format(name, **options)
    assert format_options("fmi") is None
    assert format_options("pysteps:fmi_pgm") is adapter.Config


def test_without_pysteps_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pysteps"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pysteps", None)
    with pytest.raises(RadarImportError, match=r"pysteps:fmi_pgm needs pysteps: pip install 'hko7env\[pysteps\]'"):
        load_format("pysteps:fmi_pgm")


@pytest.mark.parametrize(
    "text, reason",
    [
        ("import a_package_that_is_missing", "cannot be imported: .*a_package_that_is_missing"),
        ("raise RuntimeError('Error reading pystepsrc file.')", "Error reading pystepsrc file.*check pystepsrc"),
    ],
)
def test_a_pysteps_that_cannot_be_imported(tmp_path, monkeypatch, text, reason):
    for name in [name for name in sys.modules if name.partition(".")[0] == "pysteps"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "pysteps").mkdir()
    (tmp_path / "pysteps" / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RadarImportError, match=reason):
        library.find_importer("fmi_pgm")


# ---------------------------------------------------------------- the command


def run(*words):
    return main(["archive", "import", *map(str, words)])


def test_the_command_has_the_options_of_the_format(importers, tmp_path, capsys):
    importers["mine"] = returning(RATES / 6, unit="mm", accutime=60.0)
    folder = tmp_path / "rain"
    folder.mkdir()
    for minute in ("00", "05"):
        (folder / f"rain 01-07-2024 00h{minute}.x").write_bytes(b"something")
    out = tmp_path / "a.zarr"
    assert run("pysteps:mine", folder, "--out", out) == 1
    assert 'say where it stands, such as --timestamp "%Y%m%d%H%M"); repair' in capsys.readouterr().err
    options = ("--timestamp", "%d-%m-%Y ?%Hh%M", "--accutime", 10, "--arguments", "qty=DBZH")
    assert run("pysteps:mine", folder, "--out", out, "--workers", 1, *options) == 1, "the pattern fits no name"
    options = ("--timestamp", "%d-%m-%Y %Hh%M", "--accutime", 10, "--arguments", "qty=DBZH")
    assert run("pysteps:mine", folder, "--out", out, "--workers", 1, *options) == 0
    assert "2 frames, 0 files left out" in capsys.readouterr().out
    np.testing.assert_array_equal(Archive(str(out)).frames(0, 1)[0], LEVELS)


@pytest.mark.parametrize(
    "words, status, text",
    [
        (("fmi", ".", "--out", "a.zarr", "--timestamp", "%Y"), 2, "there is no option '--timestamp'"),
        (("pysteps:mine", "--out", "a.zarr"), 2, "SOURCE"),
        (("--out", "a.zarr"), 2, "FORMAT"),
        (("pysteps", ".", "--out", "a.zarr"), 1, "name one, as in pysteps:fmi_pgm"),
        (("pysteps:mine", ".", "--out", "a.zarr", "--arguments", "colour=red"), 1, "has no argument 'colour'"),
        (("pysteps:mine", ".", "--out", "a.zarr", "--accutime", "soon"), 2, "--accutime expects float, got 'soon'"),
    ],
)
def test_command_lines_that_are_wrong(importers, capsys, words, status, text):
    importers["mine"] = returning()
    assert run(*words) == status
    assert text in capsys.readouterr().err


def test_help_shows_the_options_of_the_format(capsys):
    for words, shown in ((("pysteps:fmi_pgm", "--help"), True), (("fmi", "--help"), False), (("--help",), False)):
        with pytest.raises(SystemExit):
            run(*words)
        assert ("--timestamp" in capsys.readouterr().out) is shown
