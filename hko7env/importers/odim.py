"""ODIM HDF5 composites (OPERA): quantity RATE, ACRR or DBZH, any file name that holds a 12- or 14-digit time.

Rain becomes a level by HKO-7's relation, reflectivity by way of Z = 200 R^1.6 and then HKO-7's relation.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.importers import Grid, Seen, stamp
from hko7env.importers._hdf5 import open_file, text
from hko7env.units import HKO7, ZR, level, pixel

SOURCE_ZR = ZR(200.0, 1.6)  # Marshall and Palmer, as OPERA's own rain rates

_NAME = re.compile(r"(.*?)(\d{12})(?:\d{2})?\D*\.(?:h5|hdf|hdf5)")


def time_of(path: Path) -> int | None:
    """Minutes of the first 12 digits in a row of the name, which is UTC."""
    match = _NAME.fullmatch(path.name)
    return stamp(match[2]) if match else None


def place_of(path: Path) -> str:
    """The product, which is the name before its time, and its grid."""
    match = _NAME.fullmatch(path.name)
    with open_file(path) as file:
        where = file["where"].attrs
        grid = f"{text(where['projdef'])} in steps of {float(where['xscale'])}, {float(where['yscale'])}"
    return f"{match[1] if match else path.name} on {grid}"


def grid(path: Path) -> Grid:
    """The composite's grid and, as ``path`` has it, its coverage. Cadence is taken from the files' times."""
    rain, outside, where = _rain(path)
    height, width = rain.shape
    return Grid(
        shape=(height, width),
        cadence=0,
        mask=np.where(outside, OUT_OF_RANGE, SCORED).astype(np.uint8),
        x=float(where["xscale"]) * (np.arange(width) + 0.5),
        y=float(where["yscale"]) * (height - 0.5 - np.arange(height)),
        crs=text(where["projdef"]),
        source="ODIM HDF5 composite",
        licence="",
        attributes={
            "source_zr": "Z = 200 R^1.6, for reflectivity only",
            "conversion": "mm/h to level by Z = 58.53 R^1.56",
        },
    )


def read(path: Path) -> Seen:
    """(H, W) uint8 levels, and where they are outside coverage. Raises ValueError for other quantities."""
    rain, outside, _ = _rain(path)
    return Seen(np.asarray(level(pixel(HKO7.dbz(rain))), np.uint8), outside)


def _rain(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], Any]:
    """mm/h, where the file says nodata, and its attributes of place."""
    with open_file(path) as file:
        try:
            data, root, where = file["dataset1/data1/data"][...], dict(file["what"].attrs), dict(file["where"].attrs)
            what: dict[str, Any] = {}
            for group in ("dataset1/what", "dataset1/data1/what"):  # the place differs with the version
                what |= dict(file[group].attrs) if group in file else {}
            quantity, gain, offset = text(what["quantity"]), float(what["gain"]), float(what["offset"])
            nodata, undetect = float(what["nodata"]), float(what["undetect"])
            date, clock = text(root["date"]), text(root["time"])
        except KeyError as error:
            raise ValueError(f"not ODIM's layout: {error}") from error
    if stamp(date + clock[:4]) != time_of(path):
        raise ValueError(f"misnamed: it says {date} {clock}")
    outside, dry = data == nodata, data == undetect
    values = data * gain + offset
    if quantity.startswith("DBZ"):
        values = SOURCE_ZR.rate(np.where(outside | dry, -100.0, values))
    elif quantity == "ACRR":
        values = values / _hours(what)
    elif quantity != "RATE":
        raise ValueError(f"quantity {quantity} is neither RATE, ACRR nor DBZH")
    rain = np.where(outside | dry, 0.0, values)
    if not (rain >= 0).all():
        raise ValueError("rain below 0, or NaN")
    return rain, outside, where


def _hours(what: dict[str, Any]) -> float:
    """Length of an accumulation."""
    begin, end = (
        np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:8]}T{t[:2]}:{t[2:4]}:{t[4:6]}")
        for d, t in ((text(what[f"{e}date"]), text(what[f"{e}time"])) for e in ("start", "end"))
    )
    return float((end - begin) / np.timedelta64(1, "h"))
