"""Files made to mislead or to stop an import: each is refused by name, and with keep_going the others come in."""

import gzip
import importlib.util
import json
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hko7env.archive.format import minutes
from hko7env.damage import DAMAGE, DamagedFile, gunzip, inflate
from hko7env.importers import RadarImportError, import_radar, load_format, reading
from hko7env.importers.formats import eccc, fmi
from hko7env.units import HKO7
from tests.helpers.radar_files import cf_dataset, write_fmi, write_hko7, write_knmi, write_odim

FUZZ = Path(__file__).resolve().parent / "fuzz.py"
ROOT = Path(__file__).resolve().parents[2]
DRY = np.full((5, 6), -8888000.0)
MIB = 1 << 20


def left_out(name, folder, path, words, tmp_path):
    """Import a folder of two good files and the bad one at ``path``, which alone is left out, for a reason."""
    archive, problems = import_radar(name, folder, tmp_path / "a.zarr", keep_going=True)
    assert len(problems) == 1, problems
    assert path.name in problems[0]
    for word in words if isinstance(words, tuple) else (words,):
        assert word in problems[0]
    assert len(archive) == 2


# ---------------------------------------------------------------- pictures


def field(path, place, form, *values):
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, place, *values)
    path.write_bytes(data)


def descriptor(path):
    """Where the GIF's image descriptor begins."""
    data = path.read_bytes()
    return data.index(b"\x2c", 13 + 3 * (2 << (data[10] & 7)))


@pytest.mark.parametrize("entries", [1, 4, 256])
def test_a_palette_of_zeros_is_not_dry_weather(gifs, tmp_path, entries):
    folder, paths = gifs
    data = bytearray(paths[1].read_bytes())
    colours = 2 << (data[10] & 7)
    used = [13 + 3 * i for i in range(colours) if tuple(data[13 + 3 * i : 16 + 3 * i]) in eccc.CLASSES]
    for place in used[:entries]:
        data[place : place + 3] = bytes(3)
    paths[1].write_bytes(data)
    left_out("eccc", folder, paths[1], "its legend does not have the colours", tmp_path)


@pytest.mark.parametrize(
    "place, values, words",
    [
        ("screen", (65535, 65535), "4294836225 pixels"),
        ("offset", (60000, 60000), "pixels) exceeds limit"),
        ("offset", (9000, 9000), "pixels"),  # more than PIL warns of, less than it refuses
        ("size", (580, 300), "does not cover"),  # the rest would be the first colour of the palette
    ],
)
def test_gifs_of_other_sizes(gifs, tmp_path, little_memory, place, values, words):
    folder, paths = gifs
    where = {"screen": 6, "offset": descriptor(paths[1]) + 1, "size": descriptor(paths[1]) + 5}[place]
    field(paths[1], where, "<HH", *values)
    left_out("eccc", folder, paths[1], words, tmp_path)


def png(pixels, depth=8, colour=0, size=(480, 480), interlace=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


ROW = b"\0" + bytes(range(100, 220)) * 4


@pytest.mark.parametrize(
    "data, words",
    [
        (png((b"\0" + b"\1\0" * 480) * 480, depth=16), "PNG of 16 bits"),
        (png((b"\0" + b"\0\1" * 1440) * 480, depth=16, colour=2), "PNG of 16 bits"),
        (png(ROW * 300), "144300 bytes of pixels, expected 230880"),  # the rest would be dry
        (
            png(bytes(60 * 61 * 2 + 60 * 121 + 120 * 121 + 120 * 241 + 240 * 241 + 240 * 481), interlace=1),
            "interlace 1",
        ),
        (png((b"\0" + b"\1\2\3" * 480) * 480, colour=2), "colours, expected grey"),
        (png(ROW * 480, size=(2**31 - 1, 2**31 - 1)), "pixels) exceeds limit"),
        (png(ROW * 480, size=(12000, 10000)), "pixels"),
        (png(bytes(100 * MIB)), ("decompresses to more than 230880 bytes",)),
        (b"GIF89a" + bytes(100), "cannot identify"),
        (b"", "cannot identify"),
    ],
)
def test_pngs_that_are_no_frames(tmp_path, little_memory, data, words):
    folder = tmp_path / "official"
    write_hko7(folder, np.zeros((3, 480, 480), np.uint8), np.zeros((480, 480)))
    path = sorted(folder.rglob("*.png"))[1]
    path.write_bytes(data)
    left_out("hko7", folder, path, words, tmp_path)


def test_grey_levels_in_any_colour_type(tmp_path):
    levels = np.arange(480 * 480, dtype=np.uint32).reshape(480, 480).astype(np.uint8)
    grey = Image.fromarray(levels)
    for mode in ("L", "RGB", "P"):
        path = tmp_path / "RAD15010700000000.png"
        picture = grey.convert(mode)
        if mode == "P":
            picture.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
        picture.save(path)
        np.testing.assert_array_equal(load_format("hko7").read(path).levels, levels)


# ---------------------------------------------------------------- streams that decompress to 3 GB


def zlib_bomb(blocks=48):
    """A zlib stream of 64 MiB of zeros a block, in a few MiB."""
    stream, zeros = zlib.compressobj(9), bytes(64 * MIB)
    first, again = (stream.compress(zeros) + stream.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (blocks - 1)


def test_three_gigabytes_behind_a_small_gz(tmp_path, little_memory):
    folder = tmp_path / "fmi"
    folder.mkdir()
    paths = [write_fmi(folder, f"2016092814{minute}", np.zeros((5, 6), np.uint8)) for minute in (40, 45, 50)]
    paths[1].write_bytes(gzip.compress(b"P5\n60000 60000\n255\n") + gzip.compress(bytes(64 * MIB)) * 48)
    left_out("fmi", folder, paths[1], "decompresses to more than", tmp_path)


def test_three_gigabytes_behind_a_mask(tmp_path, little_memory):
    write_hko7(tmp_path / "in", np.zeros((2, 480, 480), np.uint8), np.zeros((480, 480)))
    path = sorted(tmp_path.rglob("*.mask"))[0]
    path.write_bytes(zlib_bomb())
    left_out("hko7", tmp_path / "in", path, "decompresses to more than 230400 bytes", tmp_path)
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse
    _, problems = import_radar("hko7", tmp_path / "in", tmp_path / "b.zarr", keep_going=True)
    assert "3221225472 bytes, expected at most" in problems[0]


def test_bounded_streams():
    for data in (b"", b"\0" * 99, bytes(range(100))):
        assert gunzip(gzip.compress(data), 100) == inflate(zlib.compress(data), 100) == data
    for read, made, check in ((gunzip, gzip.compress(bytes(101)), -8), (inflate, zlib.compress(bytes(101)), -4)):
        with pytest.raises(DamagedFile, match="more than 100 bytes"):
            read(made, 100)
        with pytest.raises(DamagedFile, match="truncated"):
            read(made[:-1], 200)
        with pytest.raises(DamagedFile, match=r"CRC|check"):
            read(made[:check] + bytes([made[check] ^ 1]) + made[check:][1:], 200)


# ---------------------------------------------------------------- HDF5 and netCDF


def knmi(folder, minute):
    stamp = f"26-AUG-2010;00:{minute:02}:00.000"
    return write_knmi(folder, f"2010082600{minute:02}", np.zeros((5, 6), np.uint16), stamp)


def odim(folder, minute, data=DRY, **words):
    return write_odim(folder, f"2018061312{minute:02}00", data, **words)


def remade(path, name, shape=(5, 6), dtype="f8", **words):
    """Replace a dataset by an empty one; only some of its chunks are written, if any."""
    import h5py

    with h5py.File(path, "r+") as file:
        del file[name]
        made = file.create_dataset(name, shape, dtype, **words)
        if words.get("chunks") == (2, 3):
            made[:2] = 1


@pytest.fixture
def hdf5_folders(tmp_path):
    pytest.importorskip("h5py")
    found = {}
    for name, make, array in (("knmi", knmi, "image1/image_data"), ("odim", odim, "dataset1/data1/data")):
        (tmp_path / name).mkdir()
        found[name] = tmp_path / name, [make(tmp_path / name, 5 * i) for i in range(3)][1], array
    return found


@pytest.mark.parametrize("name, dtype", [("knmi", "u2"), ("odim", "f8")])
@pytest.mark.parametrize(
    "words, reason",
    [
        ({"chunks": (5, 6)}, "was not written in full: 0 of 1 chunks"),
        ({"chunks": (2, 3)}, "was not written in full: 2 of 6 chunks"),
        ({"chunks": (2, 3), "compression": "gzip"}, "2 of 6 chunks"),
        ({}, "was not written in full: 0 of"),
        ({"shape": (10**6, 10**5), "chunks": (1000, 1000)}, "frames of 1000000 x 100000"),
        ({"shape": (10**6, 10**5)}, "frames of 1000000 x 100000"),
        ({"shape": (5,)}, "not a two-dimensional array of numbers"),
        ({"shape": (0, 6), "chunks": (5, 6), "maxshape": (None, 6)}, "not a two-dimensional array"),
        ({"dtype": "S3"}, "not a two-dimensional array of numbers"),
    ],
)
def test_arrays_that_were_never_written(hdf5_folders, tmp_path, little_memory, name, dtype, words, reason):
    folder, path, array = hdf5_folders[name]
    remade(path, array, **({"dtype": dtype} | words))
    left_out(name, folder, path, (array, reason), tmp_path)


def test_arrays_kept_in_other_files_and_groups_in_their_place(hdf5_folders, tmp_path):
    h5py = pytest.importorskip("h5py")
    folder, path, array = hdf5_folders["odim"]
    layout = h5py.VirtualLayout((5, 6), "f8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "gone.h5"), "x", (5, 6))
    with h5py.File(path, "r+") as file:
        del file[array]
        file.create_virtual_dataset(array, layout)
    left_out("odim", folder, path, (array, "stored in other files"), tmp_path)
    with h5py.File(path, "r+") as file:
        del file[array]
        file.create_group(array)
    _, problems = import_radar("odim", folder, tmp_path / "b.zarr", keep_going=True)
    assert f"{array} is not a two-dimensional array" in problems[0]


DAY = {"startdate": np.bytes_("20180613"), "enddate": np.bytes_("20180613"), "starttime": np.bytes_("120000")}


@pytest.mark.parametrize(
    "words, reason",
    [
        ({"quantity": "ACRR", "endtime": np.bytes_("120000"), **DAY}, "startdate and starttime 2018-06-13T12:00:00 to"),
        ({"quantity": "ACRR", "endtime": np.bytes_("110000"), **DAY}, "enddate and endtime 2018-06-13T11:00:00"),
        ({"quantity": "ACRR", "endtime": np.bytes_("1100"), **DAY}, "'1100' are not a date"),
        ({"quantity": "ACRR"}, "no attribute startdate"),
        ({"gain": np.inf}, "attribute gain of /dataset1/what is inf"),
        ({"gain": np.nan}, "attribute gain of /dataset1/what is nan"),
        ({"gain": 0.0}, "attribute gain is 0.0"),
        ({"gain": -1.0, "quantity": "DBZH"}, "attribute gain is -1.0"),
        ({"offset": np.inf}, "attribute offset of /dataset1/what is inf"),
        ({"offset": -np.inf, "quantity": "DBZH"}, "attribute offset of /dataset1/what is -inf"),
        ({"offset": np.nan}, "attribute offset of /dataset1/what is nan"),
        ({"gain": 1e300}, "rain above 5000 mm/h, which no radar measures: 1e+300"),
        ({"gain": 1e300, "offset": 1e308}, "mm/h"),
        (
            {"gain": 30.0, "offset": 80.0, "quantity": "DBZH"},
            "reflectivity above 100 dBZ, which no radar measures",
        ),
        ({"offset": -9999.0, "quantity": "DBZH"}, "reflectivity below -100 dBZ: -9998"),
        ({"gain": np.bytes_("one")}, "attribute gain of /dataset1/what is not a number"),
        ({"gain": [1.0, 2.0]}, "attribute gain of /dataset1/what is not one value"),
        ({"undetect": np.nan}, "attribute undetect of /dataset1/what is nan"),
    ],
)
def test_odim_fields_that_mean_nothing(tmp_path, words, reason):
    folder, rain = tmp_path / "odim", DRY.copy()
    folder.mkdir()
    rain[2, 3] = 1.0
    odim(folder, 0)
    odim(folder, 10)
    left_out("odim", folder, odim(folder, 5, rain, **words), reason, tmp_path)


def test_the_highest_rain_that_is_believed(tmp_path):
    odim_reader, rain = load_format("odim"), DRY.copy()
    rain[2, 3] = 5000.0
    assert odim_reader.read(odim(tmp_path, 0, rain)).levels[2, 3] == 255
    rain[2, 3] = 100.0
    assert odim_reader.read(odim(tmp_path, 5, rain, quantity="DBZH")).levels[2, 3] == 255
    assert HKO7.rates[255] < 5000, "what is believed reaches beyond the scale"


def write_cf(path, values, units="mm/h", minute=0, **encoding):
    pytest.importorskip("h5netcdf")
    data = cf_dataset(values, units)
    data = data.assign_coords(time=data.time + np.timedelta64(minute, "m"))
    data.to_netcdf(path, engine="h5netcdf", encoding={"rain": encoding} if encoding else None)
    return path


@pytest.mark.parametrize(
    "units, value, reason",
    [
        ("mm/h", 1e300, "rain above 5000 mm/h, which no radar measures: 1e+300"),
        ("mm/h", 5001.0, "rain above 5000 mm/h"),
        ("mm/h", np.inf, "rain above 5000 mm/h, which no radar measures: inf"),
        ("m s-1", 1e305, "rain above 5000 mm/h, which no radar measures: inf"),
        ("mm/h", -1.0, "rain below 0 mm/h: -1"),
        ("dBZ", 101.0, "reflectivity above 100 dBZ"),
        ("dBZ", -np.inf, "reflectivity below -100 dBZ: -inf"),
        ("dBZ", -9999.0, "reflectivity below -100 dBZ: -9999"),
    ],
)
def test_cf_values_that_no_radar_gives(tmp_path, units, value, reason):
    values = np.zeros((3, 5, 6))
    values[1, 2, 3] = value
    path = write_cf(tmp_path / "rain.nc", values, units)
    left_out("cf", path, path, ("frame 1,", reason), tmp_path)


def test_cf_times_that_are_none(tmp_path):
    folder = tmp_path / "cf"
    folder.mkdir()
    write_cf(folder / "a.nc", np.zeros((2, 5, 6)))
    data = cf_dataset(np.zeros((2, 5, 6)), "mm/h")
    data = data.assign_coords(time=[np.datetime64("2024-06-02", "ns"), np.datetime64("NaT", "ns")])
    data.to_netcdf(folder / "b.nc", engine="h5netcdf")
    left_out("cf", folder, folder / "b.nc", "time number 1 is not a time (NaT)", tmp_path)


def empty_cf(path, y=5, x=6, times=2, fill=None, length=None):
    """A netCDF file whose rain was never written."""
    h5netcdf = pytest.importorskip("h5netcdf")
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"time": times, "y": y, "x": x}
        for name, size in (("time", times), ("y", y), ("x", x)):
            made = file.create_variable(name, (name,), "f8", chunks=(min(size, 1000),))
            if size <= 10**6:
                made[...] = np.arange(size)[:: -1 if name == "y" else 1]
        file.variables["time"].attrs["units"] = "minutes since 2024-07-01"
        chunks = (1, min(y, 1000), min(x, 1000))
        rain = file.create_variable("rain", ("time", "y", "x"), "f4", chunks=chunks, fillvalue=fill)
        rain.attrs["units"] = "mm/h"
        if fill is not None:
            rain.attrs["_FillValue"] = np.float32(fill)
    return path


@pytest.mark.parametrize(
    "words, reason",
    [
        ({}, "rain was not written in full: 0 of 2 chunks"),
        ({"y": 10**6, "x": 10**5}, "rain has frames of 1000000 x 100000"),
        ({"y": 10**12}, "y has 1000000000000 values"),
        ({"times": 10**12}, "time has 1000000000000 values"),
    ],
)
def test_netcdf_that_was_never_written(tmp_path, little_memory, words, reason):
    folder = tmp_path / "cf"
    folder.mkdir()
    write_cf(folder / "a.nc", np.zeros((2, 5, 6)))
    left_out("cf", folder, empty_cf(folder / "b.nc", **words), reason, tmp_path)


def test_netcdf_whose_unwritten_values_are_missing_ones(tmp_path):
    """The fill value is masked, so nothing passes for dry weather."""
    seen = load_format("cf").read_at(empty_cf(tmp_path / "a.nc", fill=-1.0), 0)
    assert load_format("cf").times_of(tmp_path / "a.nc") == [minutes("2024-07-01"), minutes("2024-07-01") + 1]
    assert seen.no_data.all()


def test_zarr_stores_that_claim_too_much(tmp_path, little_memory):
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("xarray")
    for name, shape, reason in (
        ("time", (10**12,), "time has 1000000000000 values"),
        ("rain", (3, 10**6, 10**5), "rain has frames of 1000000 x 100000"),
    ):
        store = tmp_path / f"{name}.zarr"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cf_dataset(np.zeros((3, 5, 6)), "mm/h").to_zarr(store, zarr_format=2)
        described = json.loads((store / ".zmetadata").read_text())
        if name == "rain":  # the coordinates must go with it
            del described["metadata"]["y/.zarray"], described["metadata"]["y/.zattrs"]
            del described["metadata"]["x/.zarray"], described["metadata"]["x/.zattrs"]
        described["metadata"][f"{name}/.zarray"]["shape"] = shape
        (store / ".zmetadata").write_text(json.dumps(described))
        with pytest.raises(RadarImportError, match=reason):
            import_radar("cf", store, tmp_path / "a.archive")
    assert zarr


# ---------------------------------------------------------------- whatever a decoder raises


@pytest.mark.parametrize("error", [*DAMAGE, IndexError, RecursionError, None])
def test_whatever_a_decoder_raises_leaves_out_the_file(tmp_path, monkeypatch, error):
    folder = tmp_path / "fmi"
    folder.mkdir()
    paths = [write_fmi(folder, f"2016092814{minute}", np.zeros((5, 6), np.uint8)) for minute in (40, 45, 50)]
    original = fmi.FinnishComposite.read

    def failing(self, path):
        if path == paths[0]:
            if error is None:
                np.subtract(np.array(["a"]), np.array(["b"]))  # UFuncNoLoopError
            raise error("a\nfault\0")
        return original(self, path)

    monkeypatch.setattr(fmi.FinnishComposite, "read", failing)
    left_out("fmi", folder, paths[0], "", tmp_path)


def test_what_is_not_the_file_s_fault_stops():
    for error in (RadarImportError("h5py is missing"), KeyboardInterrupt(), SystemExit(), NameError("typo")):
        with pytest.raises(type(error)), reading("a file"):
            raise error
    with pytest.raises(DamagedFile, match=r"^a file cannot be read \(TypeError: x y \?\)$"), reading("a file"):
        raise TypeError("x\n  y \x07")


def test_without_keep_going_the_first_bad_file_stops(gifs, tmp_path):
    folder, paths = gifs
    paths[1].write_bytes(b"")
    with pytest.raises(RadarImportError, match=rf"{paths[1].name} cannot be read .*keep_going=True"):
        import_radar("eccc", folder, tmp_path / "a.zarr")


def test_a_worker_that_dies_is_an_error(tmp_path, monkeypatch):
    folder = tmp_path / "fmi"
    folder.mkdir()
    for minute in (40, 45):
        write_fmi(folder, f"2016092814{minute}", np.zeros((5, 6), np.uint8))

    class Dying:
        def __enter__(self):
            def spread(*_):
                raise BrokenProcessPool

            return spread

        def __exit__(self, *_):
            return False

    monkeypatch.setattr("hko7env.importers.importing.worker_map", lambda *_: Dying())
    with pytest.raises(RadarImportError, match="a worker process died"):
        import_radar("fmi", folder, tmp_path / "a.zarr", workers=2)


def test_a_file_that_fails_twice_is_listed_once_and_any_name_can_be_printed(tmp_path):
    folder = tmp_path / "fmi"
    folder.mkdir()
    first, *_ = (write_fmi(folder, f"2016092814{minute}", np.zeros((5, 6), np.uint8)) for minute in (40, 45, 50))
    first.write_bytes(b"the first of all gives the grid")
    (folder / "caf\udce9.gif").write_bytes(b"")
    _, problems = import_radar("fmi", folder, tmp_path / "a.zarr", keep_going=True)
    assert sorted(first.name in text for text in problems) == [False, True]
    assert any("caf\\udce9.gif is not named" in text.encode().decode() for text in problems)


@pytest.mark.parametrize("written", ["nan", "inf", "0", "-5", "1e400", "wide"])
def test_fmi_headers_without_a_grid(tmp_path, written):
    folder = tmp_path / "fmi"
    folder.mkdir()
    header = f"P5\n# metersperpixel_x {written}\n# metersperpixel_y 1000\n6 5\n255\n"
    write_fmi(folder, "201609281440", np.zeros((5, 6), np.uint8), header=header)
    with pytest.raises(RadarImportError, match=r"201609281440_fmi.* read \(its header has .*metersperpixel_x"):
        import_radar("fmi", folder, tmp_path / "a.zarr")


# ---------------------------------------------------------------- fuzzing


def fuzz(folder, count, *names):
    """Mutations of each format, or of those named: every one reads as a plain decoder has it, or is refused."""
    words = [sys.executable, "-X", "faulthandler", FUZZ, folder, str(count), *names]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    tally = json.loads(done.stdout)
    for name, counts in tally.items():
        assert counts["read"] + counts["refused"] == count
        assert min(counts.values()) > 0, f"{name}: {counts}"
    return set(tally)


@pytest.mark.slow
def test_a_hundred_mutations_of_each_format(tmp_path):
    """In bounded memory and time; see fuzz.py."""
    pytest.importorskip("h5netcdf")
    assert fuzz(tmp_path, 100) == {"arso", "cf", "eccc", "fmi", "hko7", "knmi", "mask", "odim"}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pysteps") is None, reason="needs pysteps")
def test_mutations_of_files_that_pysteps_reads(tmp_path):
    names = {"pysteps:fmi_pgm", "pysteps:knmi_hdf5", "pysteps:dwd_radolan"}
    assert fuzz(tmp_path, 100, *sorted(names)) == names
