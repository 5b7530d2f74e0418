import gzip
import shutil
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hko7env.archive import Archive
from hko7env.archive.format import iso, minutes
from hko7env.importers import ImportProblem, Window, eccc, find, hko7, import_radar
from hko7env.scores import scored
from hko7env.synthetic.radar import site
from hko7env.synthetic.rain import rain
from hko7env.units import HKO7

ROOT = Path(__file__).resolve().parent.parent
LAND = (153, 153, 102)


def draw(folder, minute, cells=(), palette_seed=0):
    """An ECCC-like GIF: land, the given (row, column, colour) cells of 9 x 9 px, the red frame, cross and legend."""
    rgb = np.zeros((480, 580, 3), np.uint8)
    rgb[:, :480] = LAND
    for row, column, colour in cells:
        rgb[row : row + 9, column : column + 9] = colour
    rgb[[0, -1], :480] = rgb[:, [0, 479]] = (255, 0, 0)
    rgb[239, 235:246] = rgb[234:245, 240] = 255
    rgb[2:20, 2:100] = (221, 56, 49)  # the logo
    for i, colour in enumerate(reversed(eccc.CLASSES)):
        rgb[144 + 14 * i : 158 + 14 * i, 515:535] = colour
    image = Image.fromarray(rgb).quantize(32, dither=Image.Dither.NONE)
    order = np.random.default_rng(palette_seed).permutation(len(image.getcolors()))
    image = image.remap_palette(order.tolist())  # the order of colours differs from file to file
    stamp = iso(minute).translate({ord(c): None for c in "-T:"})
    path = folder / f"{stamp}_CASGO_CAPPI_1.5_RAIN.gif"
    image.save(path)
    return path


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "CASGO"
    folder.mkdir()
    start = minutes("2024-07-10T19:06")
    for i in range(6):
        if i != 3:
            cells = [(100 + i, 200, (255, 153, 0)), (300, 150, (153, 204, 255)), (60, 360, (102, 0, 153))]
            draw(folder, start + 6 * i, cells, palette_seed=i)
    return folder


def test_colours_become_rates_whatever_the_palette(source, tmp_path):
    archive, problems = import_radar("eccc", source, tmp_path / "a.zarr")
    assert problems == []
    assert np.diff(archive.times).tolist() == [6, 6, 12, 6]
    frames = archive.frames(0, 5)
    for frame, i in zip(frames, (0, 1, 2, 4, 5), strict=True):
        rate = HKO7.rates[frame]
        assert rate[104 + i, 204] == pytest.approx(40, rel=0.02)  # class 32 to 50 mm/h
        assert rate[304, 154] == pytest.approx(np.sqrt(0.1), rel=0.02)
        assert rate[64, 364] == pytest.approx(200, rel=0.02)
        assert np.count_nonzero(frame) == 3 * 81, "logo, frame, cross and border lines are no echo"
    assert (archive.mask[239, 235:246] == 2).all(), "the cross"
    assert (archive.mask[234:245, 240] == 2).all()
    assert archive.mask[233, 240] == archive.mask[238, 239] == 0
    assert archive.mask[239, 0] == archive.mask[0, 0] == 2
    assert archive.mask[239, 1] == archive.mask[1, 240] == 0
    assert (archive.x[240], archive.y[239]) == (0, 0)
    assert archive.y[0] > archive.y[-1]


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
    monkeypatch.setattr("hko7env.importers.BATCH", 2)
    original, read = eccc.read, []

    def stopping(path):
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(path)
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(eccc, "read", stopping)
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


def test_a_killed_import_and_a_killed_denoise_end_as_unbroken_ones(source, tmp_path):
    start = minutes("2024-07-10T20:00")
    drawn = draw(source, start, [(100, 200, (255, 153, 0))])
    for i in range(1, 150):
        stamp = iso(start + 6 * i).translate({ord(c): None for c in "-T:"})
        (source / f"{stamp}_CASGO_CAPPI_1.5_RAIN.gif").write_bytes(drawn.read_bytes())
    whole, _ = import_radar("eccc", source, tmp_path / "a.zarr")
    broken = tmp_path / "b.zarr"
    words = ["tools/archive.py", "import", "eccc", str(source), "--out", str(broken)]
    assert killed_when(words, (broken / "pixel/c/5").exists)
    assert 0 <= len(Archive(str(broken))) < len(whole)
    again, problems = import_radar("eccc", source, broken)
    assert (again.fingerprint, problems) == (whole.fingerprint, [])

    words = ["tools/archive.py", "denoise", str(broken)]
    began = time.monotonic()
    assert killed_when(words, lambda: time.monotonic() - began > 1)
    for path in (tmp_path / "a.zarr", broken):
        subprocess.run([sys.executable, "tools/archive.py", "denoise", path], cwd=ROOT, check=True, capture_output=True)
    assert Archive(str(broken)).fingerprint == Archive(str(tmp_path / "a.zarr")).fingerprint


def test_bad_files_are_named_or_left_out(source, tmp_path):
    first, second, third, *_ = sorted(source.iterdir())
    second.write_bytes(second.read_bytes()[:900])  # truncated
    third.write_bytes(b"not a GIF")
    (source / "notes.txt").write_text("misnamed")
    (source / "202413451906_CASGO_CAPPI_1.5_RAIN.gif").write_bytes(first.read_bytes())  # no such date
    (source / "again").mkdir()
    shutil.copy(first, source / "again")
    draw(source, minutes("2024-07-10T20:00"), [(100, 200, (1, 2, 3))])
    Image.new("RGB", (100, 100)).save(source / "202407102006_CASGO_CAPPI_1.5_RAIN.gif")
    with pytest.raises(ImportProblem, match="--keep-going"):
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
    old = draw(source, minutes("2024-07-01T00:00"))
    with pytest.raises(ImportProblem, match="older than the newest frame"):
        import_radar("eccc", source, tmp_path / "a.zarr")
    old.unlink()
    other = source / "202407111906_CASMB_CAPPI_1.5_RAIN.gif"
    other.write_bytes(next(source.iterdir()).read_bytes())
    with pytest.raises(ImportProblem, match="of CASMB, other files of CASGO"):
        import_radar("eccc", source, tmp_path / "b.zarr")
    other.unlink()
    (source / "202407102000_CASMB_CAPPI_1.5_RAIN.gif").write_bytes(next(source.iterdir()).read_bytes())
    for path in source.glob("*CASGO*"):
        path.unlink()
    with pytest.raises(ImportProblem, match="another grid"):
        import_radar("eccc", source, tmp_path / "a.zarr")


# ---------------------------------------------------------------- FMI

HEADER = """P5
# obstime 201609281445
# metersperpixel_x 999.674053
# metersperpixel_y 999.62859
# projection radar {
# }
6 5
255
"""


def write_fmi(folder, stamp, values, header=HEADER):
    path = folder / f"{stamp}_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz"
    path.write_bytes(gzip.compress(header.encode() + values.tobytes()))
    return path


@pytest.fixture
def finland(tmp_path):
    folder = tmp_path / "fmi"
    folder.mkdir()
    values = np.zeros((5, 6), np.uint8)
    values[:, 0] = 255
    values[1, 2], values[2, 3], values[0, 5] = 64 + 2 * 30, 64 + 2 * 45, 1  # 30, 45 and -31.5 dBZ
    for minute in (45, 50):
        write_fmi(folder, f"2016092814{minute}", values)
    return folder


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
    with pytest.raises(ImportProblem, match="does not touch the grid of 5 x 6"):
        import_radar("fmi", finland, tmp_path / "d.zarr", window=Window(5, 0, 3, 4))
    for other in (Window(1, 1, 3, 4), Window(0, 2, 3, 4)):
        with pytest.raises(ImportProblem, match="another grid"):
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
        problems, ("cut off", "", "24 values for 6 x 5", "not a binary PGM", "Not a gzipped"), strict=True
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


# ---------------------------------------------------------------- KNMI


def write_knmi(folder, stamp, values, end, formula="GEO=0.01*PV+0.0", begin=None):
    h5py = pytest.importorskip("h5py")
    path = folder / f"RAD_NL25_RAP_5min_{stamp}.h5"
    with h5py.File(path, "w") as file:
        file["image1/image_data"] = values
        file["image1"].create_group("calibration").attrs["calibration_formulas"] = np.bytes_(formula)
        file.create_group("overview").attrs["product_datetime_end"] = [np.bytes_(end)]
        if begin is None:
            before = iso(minutes(f"2010-08-26T{end[12:17]}") - 5)
            begin = f"{before[8:10]}-AUG-2010;{before[11:]}:00.000"
        file["overview"].attrs["product_datetime_start"] = [np.bytes_(begin)]
    return path


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


# ---------------------------------------------------------------- ODIM


def write_odim(folder, stamp, data, quantity="RATE", inside=None, where_what="dataset1/what", **what):
    h5py = pytest.importorskip("h5py")
    path = folder / f"T_PAAH21_C_EUOC_{stamp}.hdf"
    with h5py.File(path, "w") as file:
        file["dataset1/data1/data"] = data
        given = {
            "quantity": np.bytes_(quantity),
            "gain": 1.0,
            "offset": 0.0,
            "nodata": -9999000.0,
            "undetect": -8888000.0,
        }
        file.require_group(where_what).attrs.update(given | what)
        inside = inside or stamp
        file.require_group("what").attrs.update({"date": np.bytes_(inside[:8]), "time": np.bytes_(inside[8:])})
        place = {"projdef": np.bytes_("+proj=laea +lat_0=55 +lon_0=10"), "xscale": 2000.0, "yscale": 2000.0}
        file.require_group("where").attrs.update(place)
    return path


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
    with pytest.raises(ImportProblem, match="does not tell the cadence"):
        import_radar("odim", alone, tmp_path / "b.zarr")


# ---------------------------------------------------------------- CF


def dataset(values, units, *, south_up=False, east_left=False, **attributes):
    xarray = pytest.importorskip("xarray")
    n, h, w = values.shape
    y, x = np.arange(h)[::-1] * 500.0, np.arange(w) * 500.0
    if south_up:
        values, y = values[:, ::-1], y[::-1]
    if east_left:
        values, x = values[:, :, ::-1], x[::-1]
    times = np.datetime64("2024-06-01T00:00", "ns") + np.timedelta64(10, "m") * np.arange(n)
    rain = xarray.DataArray(values, dims=("time", "y", "x"), attrs={"units": units, "grid_mapping": "crs"} | attributes)
    crs = xarray.DataArray(0, attrs={"proj4": "+proj=aeqd"})
    return xarray.Dataset({"rain": rain, "crs": crs}, {"time": times, "y": y, "x": x}, {"title": "a radar"})


@pytest.mark.parametrize("kind", ["nc", "zarr"])
@pytest.mark.parametrize(
    "units, value, options",
    [
        ("mm h-1", 12.0, {}),
        ("kg m-2 s-1", 12 / 3600, {"south_up": True}),
        ("m s-1", 12 / 3.6e6, {"east_left": True}),
        ("dBZ", 10 * np.log10(200 * 12**1.6), {"south_up": True, "east_left": True}),
    ],
)
def test_cf_data_of_any_units_and_orientation(tmp_path, kind, units, value, options):
    values = np.full((3, 5, 6), -50.0 if units == "dBZ" else 0.0)
    values[:, :, 0] = np.nan
    values[:, 1, 4] = value
    data, path = dataset(values, units, **options), tmp_path / f"rain.{kind}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray's own, of consolidated metadata
        if kind == "nc":
            pytest.importorskip("h5netcdf")
            data.to_netcdf(path, engine="h5netcdf")
        else:
            data.to_zarr(path)
    archive, problems = import_radar("cf", path, tmp_path / "a.archive")
    assert (problems, archive.cadence, len(archive), archive.crs) == ([], 10, 3, "+proj=aeqd")
    frame = archive.frames(1, 2)[0]
    assert HKO7.rates[frame[1, 4]] == pytest.approx(12, rel=0.02)
    assert np.count_nonzero(frame) == 1
    np.testing.assert_array_equal(archive.mask == 2, np.isnan(values[0]))
    assert archive.y[0] > archive.y[-1]
    assert archive.x[0] < archive.x[-1]
    assert archive.attributes["source"] == "a radar"


def test_our_own_archives_are_not_imported(small_archive, tmp_path):
    pytest.importorskip("xarray")
    with pytest.raises(ImportProblem, match="is an archive already"):
        import_radar("cf", small_archive, tmp_path / "a.zarr")


def test_cf_coordinates_and_references(tmp_path):
    pytest.importorskip("h5netcdf")
    data = dataset(np.zeros((2, 5, 6)), "mm/h")
    data["x"] = data.x / 1000
    data.x.attrs["units"] = "km"
    data.crs.attrs.clear()
    data.crs.attrs["grid_mapping_name"] = "azimuthal_equidistant"
    data.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    archive, _ = import_radar("cf", tmp_path / "a.nc", tmp_path / "a.zarr")
    np.testing.assert_allclose(np.diff(archive.x), 500)
    assert archive.crs == '{"grid_mapping_name": "azimuthal_equidistant"}'
    data.x.attrs["units"] = "degrees_east"
    data.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    with pytest.raises(ImportProblem, match="is in degrees_east, expected m or km"):
        import_radar("cf", tmp_path / "b.nc", tmp_path / "b.zarr")
    shifted = dataset(np.zeros((2, 5, 6)), "mm/h")
    folder = tmp_path / "two"
    folder.mkdir()
    shifted.to_netcdf(folder / "a.nc", engine="h5netcdf")
    moved = shifted.assign_coords(x=shifted.x + 500, time=shifted.time + np.timedelta64(1, "D"))
    moved.to_netcdf(folder / "b.nc", engine="h5netcdf")
    with pytest.raises(ImportProblem, match=r"b.nc is of a grid of 5 x 6 .* import them apart"):
        import_radar("cf", folder, tmp_path / "c.zarr")


def test_cf_data_that_cannot_be_meant_are_named(tmp_path):
    pytest.importorskip("h5netcdf")
    folder = tmp_path / "in"
    folder.mkdir()
    good = dataset(np.zeros((2, 5, 6)), "mm/h")
    good.to_netcdf(folder / "a.nc", engine="h5netcdf")
    later = good.assign_coords(time=good.time + np.timedelta64(1, "D"))
    (later - 1).assign(rain=later.rain - 1).to_netcdf(folder / "b.nc", engine="h5netcdf")
    later.assign(other=later.rain).to_netcdf(folder / "c.nc", engine="h5netcdf")
    later.rename(rain="wind").assign(wind=later.rain.assign_attrs(units="knots")).to_netcdf(
        folder / "d.nc", engine="h5netcdf"
    )
    (folder / "e.nc").write_bytes(b"no netCDF")
    archive, problems = import_radar("cf", folder, tmp_path / "a.zarr", keep_going=True)
    assert len(archive) == 2
    text = "\n".join(problems)
    for part in ("rain below 0", "several variables could be meant: rain, other", "d.nc is not", "e.nc cannot be read"):
        assert part in text


# ---------------------------------------------------------------- HKO-7


def write_hko7(folder, frames, static, start="2015-01-07T00:00"):
    """The official folders of ``frames``, with masks by the official rule."""
    for i, frame in enumerate(frames):
        stamp = iso(minutes(start) + 6 * i)
        day, name = stamp[:10].replace("-", "/"), "RAD" + stamp[2:].translate({ord(c): None for c in "-T:"}) + "00"
        for kind in ("radarPNG", "radarPNG_mask"):
            (folder / kind / day).mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(folder / "radarPNG" / day / f"{name}.png")
        mask = (static == 0) & ~((frame > 0) & (frame < 71))
        (folder / "radarPNG_mask" / day / f"{name}.mask").write_bytes(zlib.compress(mask.tobytes(), 2))


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
        with pytest.raises(ImportProblem, match=part):
            import_radar("hko7", tmp_path / "official", tmp_path / "a.zarr")
    _, problems = import_radar("hko7", tmp_path / "official", tmp_path / "b.zarr", keep_going=True)
    assert len(problems) == 1
    path.write_bytes(good)
    archive, _ = import_radar("hko7", tmp_path / "official", tmp_path / "a.zarr", keep_going=True)
    np.testing.assert_array_equal(archive.mask, static)


def test_unknown_formats_and_empty_sources_are_named(tmp_path):
    with pytest.raises(ImportProblem, match="did you mean 'eccc'"):
        find("ecc")
    with pytest.raises(ImportProblem, match="there is no"):
        import_radar("eccc", tmp_path / "nowhere", tmp_path / "a.zarr")
    with pytest.raises(ImportProblem, match="no file under"):
        import_radar("eccc", tmp_path, tmp_path / "a.zarr")


@pytest.mark.slow
def test_real_station_gore(shared, tmp_path):
    archive, problems = import_radar("eccc", shared / "eccc" / "CASGO", tmp_path / "casgo.zarr")
    assert (len(archive), problems) == (478, [])
    gaps = np.flatnonzero(np.diff(archive.times) != 6)
    assert [iso(archive.times[i]) for i in gaps] == ["2024-07-11T16:12", "2024-07-12T16:12"]
    frames = archive.frames(0, 478)
    assert 0.01 < (HKO7.rates[frames] >= 0.5).mean() < 0.5
    assert not frames[:, archive.mask == 2].any()
    # 14 classes and no echo: no other level can occur
    assert len(np.unique(frames)) <= 15
