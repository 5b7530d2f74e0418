"""ODIM HDF5 composites (OPERA): quantity RATE, ACRR or DBZH, any file name that holds a 12- or 14-digit time.

Rain becomes a level by HKO-7's relation, reflectivity by way of Z = 200 R^1.6 and then HKO-7's relation.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import DamagedFile
from hko7env.importers import Frames, Grid, Seen, stamp
from hko7env.importers._hdf5 import number, open_file, read_array, text
from hko7env.importers._levels import from_rate, from_reflectivity
from hko7env.units import ZR

SOURCE_ZR = ZR(200.0, 1.6)  # Marshall and Palmer, as OPERA's own rain rates

DATA = "dataset1/data1/data"
WHAT = ("dataset1/data1/what", "dataset1/what")  # which of them holds an attribute differs with the version

_NAME = re.compile(r"(.*?)(\d{12})(?:\d{2})?\D*\.(?:h5|hdf|hdf5)")


def time_of(path: Path) -> int | None:
    """Minutes of the first 12 digits in a row of the name, which is UTC."""
    match = _NAME.fullmatch(path.name)
    return stamp(match[2]) if match else None


class Place(NamedTuple):
    """Where the grid lies: a PROJ string and metres a location."""

    projection: str
    x: float
    y: float


def place_of(path: Path) -> str:
    """The product, which is the name before its time, and its grid."""
    match = _NAME.fullmatch(path.name)
    with open_file(path) as file:
        place = _place(file)
    return f"{match[1] if match else path.name} on {place.projection} in steps of {place.x}, {place.y}"


def grid(path: Path) -> Grid:
    """The composite's grid and, as ``path`` has it, its coverage. Cadence is taken from the files' times."""
    with open_file(path) as file:
        place = _place(file)
        data = read_array(file, DATA)
        outside = data == number(_what(file, "nodata"), "nodata")
    height, width = data.shape
    return Grid(
        shape=(height, width),
        cadence=0,
        mask=np.where(outside, OUT_OF_RANGE, SCORED).astype(np.uint8),
        x=place.x * (np.arange(width) + 0.5),
        y=place.y * (height - 0.5 - np.arange(height)),
        crs=place.projection,
        source="ODIM HDF5 composite",
        licence="",
        attributes={
            "source_zr": "Z = 200 R^1.6, for reflectivity only",
            "conversion": "mm/h to level by Z = 58.53 R^1.56",
        },
    )


def read(path: Path) -> Seen:
    """(H, W) uint8 levels, and where they are outside coverage.

    Raises DamagedFile for other quantities, and for a gain, offset or time span that means nothing.
    """
    with open_file(path) as file:
        date, clock = text(file["what"], "date"), text(file["what"], "time")
        if stamp(date + clock[:4]) != time_of(path):
            raise DamagedFile(f"misnamed: it says {date} {clock}")
        data = read_array(file, DATA)
        gain, offset, nodata, undetect = (number(_what(file, n), n) for n in ("gain", "offset", "nodata", "undetect"))
        if gain <= 0:
            raise DamagedFile(f"attribute gain is {gain}, expected a number above 0")
        outside = data == nodata
        here = ~outside & (data != undetect)
        return Seen(_levels(file, data * gain + offset, here), outside)


def _levels(file: Any, values: npt.NDArray[np.floating[Any]], here: npt.NDArray[np.bool_]) -> Frames:
    """Levels of values in the units of the file's quantity."""
    quantity = text(_what(file, "quantity"), "quantity")
    if quantity.startswith("DBZ"):
        return from_reflectivity(values, SOURCE_ZR, here)
    if quantity == "ACRR":
        return from_rate(values / _hours(file), here)
    if quantity == "RATE":
        return from_rate(values, here)
    raise DamagedFile(f"quantity {quantity} is neither RATE, ACRR nor DBZH")


def _what(file: Any, name: str) -> Any:
    """The group that holds the attribute ``name`` of the data."""
    for group in WHAT:
        if group in file and name in file[group].attrs:
            return file[group]
    raise DamagedFile(f"not ODIM's layout: no attribute {name} in {' or '.join(WHAT)}")


def _place(file: Any) -> Place:
    where = file["where"]
    place = Place(text(where, "projdef"), number(where, "xscale"), number(where, "yscale"))
    if min(place.x, place.y) <= 0:
        raise DamagedFile(f"attributes xscale and yscale of where are {place.x} and {place.y}, expected more than 0")
    return place


def _hours(file: Any) -> float:
    """Length of an accumulation."""
    begin, end = (_second(*(text(_what(file, n), n) for n in (f"{e}date", f"{e}time"))) for e in ("start", "end"))
    hours = float((end - begin) / np.timedelta64(1, "h"))
    if hours <= 0:
        raise DamagedFile(f"accumulated from startdate and starttime {begin} to enddate and endtime {end}")
    return hours


def _second(date: str, clock: str) -> np.datetime64:
    """The time of ODIM's ``YYYYMMDD`` and ``hhmmss``."""
    if not re.fullmatch(r"\d{14}", date + clock):
        raise DamagedFile(f"{date!r} and {clock!r} are no date and time")
    return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}")
