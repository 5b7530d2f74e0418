"""Small valid radar files of every import format."""

import gzip
import zlib
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from hko7env.archive.format import iso, minutes
from hko7env.importers.formats import arso, eccc

LAND = (153, 153, 102)
FMI_HEADER = """P5
# obstime 201609281445
# metersperpixel_x 999.674053
# metersperpixel_y 999.62859
# projection radar {
# }
6 5
255
"""


def draw_eccc(folder, minute, cells=(), palette_seed=0):
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
    path = folder / f"{stamp_of(minute)}_CASGO_CAPPI_1.5_RAIN.gif"
    image.save(path)
    return path


def write_fmi(folder, stamp, values, header=FMI_HEADER):
    path = folder / f"{stamp}_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz"
    path.write_bytes(gzip.compress(header.encode() + values.tobytes()))
    return path


def stamp_of(minute):
    """``YYYYMMDDhhmm`` of minutes since 1970-01-01."""
    return iso(minute).translate({ord(c): None for c in "-T:"})


def knmi_date(minute):
    """``26-AUG-2010;00:05:00.000`` of minutes since 1970-01-01."""
    return datetime.fromisoformat(iso(minute)).strftime("%d-%b-%Y;%H:%M:00.000").upper()


def write_knmi(folder, stamp, values, end, formula="GEO=0.01*PV+0.0", begin=None):
    h5py = pytest.importorskip("h5py")
    path = folder / f"RAD_NL25_RAP_5min_{stamp}.h5"
    with h5py.File(path, "w") as file:
        file["image1/image_data"] = values
        file["image1"].create_group("calibration").attrs["calibration_formulas"] = np.bytes_(formula)
        file.create_group("overview").attrs["product_datetime_end"] = [np.bytes_(end)]
        if begin is None:
            begin = knmi_date(int(np.datetime64(datetime.strptime(end, "%d-%b-%Y;%H:%M:00.000"), "m").astype(int)) - 5)
        file["overview"].attrs["product_datetime_start"] = [np.bytes_(begin)]
    return path


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


def cf_dataset(values, units, *, south_up=False, east_left=False, **attributes):
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


def draw_arso(folder, time, cells=(), ink=(), lines=10_086):
    """A map of Slovenia with ``cells`` (row, column, class) and ``lines`` px of ink, also at ``ink`` (row, column)."""
    rgb = np.full((660, 821, 3), 200, np.uint8)  # title and legend have other colours
    field = rgb[48:650, 9:811]
    field[:] = 255
    for row, column, number in cells:
        field[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = arso.COLOURS[number - 1]
    one_px_a_cell = ((row, column) for row in range(1, 602, 2) for column in range(1, 802, 2))
    dark = dict.fromkeys(ink)
    while len(dark) < lines:
        dark[next(one_px_a_cell)] = None
    for place in dark:
        field[place] = (120, 120, 120)
    path = folder / time[:4] / time[5:7] / time[8:10] / f"{time[11:13]}h{time[14:16]}m.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, lossless=True)
    return path
