"""ODIM HDF5 composites (OPERA): quantity RATE, ACRR or DBZH, any file name that holds a 12- or 14-digit time."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Grid, Levels, OneFrameFormat, parse_timestamp
from hko7env.importers.hdf5 import open_file, read_array, read_number, read_text
from hko7env.importers.levels import MARSHALL_PALMER, describe_conversion, formula, from_rate, from_reflectivity

DATA = "dataset1/data1/data"
WHAT = ("dataset1/data1/what", "dataset1/what")  # which of them holds an attribute depends on the ODIM version

_NAME = re.compile(r"(.*?)(\d{12})(?:\d{2})?\D*\.(?:h5|hdf|hdf5)")


class Placement(NamedTuple):
    """Where the grid lies: a PROJ string, and the size of a pixel in metres."""

    projection: str
    x: float
    y: float


class Odim(OneFrameFormat):
    """ODIM HDF5 composites of any service."""

    def time_of(self, path: Path) -> int | None:
        """The first 12 digits in a row of the name, which are UTC."""
        match = _NAME.fullmatch(path.name)
        return parse_timestamp(match[2]) if match else None

    def coverage_id(self, path: Path) -> str:
        """The product, which is the name before its time, and its grid."""
        match = _NAME.fullmatch(path.name)
        with open_file(path) as file:
            place = _placement(file)
        product = match[1] if match else path.name
        return f"{product} on {place.projection} in steps of {place.x}, {place.y}"

    def grid(self, path: Path) -> Grid:
        """The grid of the composite; out of range is what the file has outside coverage."""
        with open_file(path) as file:
            place = _placement(file)
            data = read_array(file, DATA)
            outside = data == read_number(_group_with(file, "nodata"), "nodata")
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
            attributes=describe_conversion("mm/h", f"{formula(MARSHALL_PALMER)}, for reflectivity only"),
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read rain rate, accumulation or reflectivity; there are no data outside coverage.

        Raises:
            DamagedFile: The quantity is another one, or gain, offset or time span are impossible.
        """
        with open_file(path) as file:
            date, clock = read_text(file["what"], "date"), read_text(file["what"], "time")
            if parse_timestamp(date + clock[:4]) != self.time_of(path):
                raise DamagedFile(f"misnamed: it says {date} {clock}")
            data = read_array(file, DATA)
            gain, offset, nodata, undetect = (
                read_number(_group_with(file, name), name) for name in ("gain", "offset", "nodata", "undetect")
            )
            if gain <= 0:
                raise DamagedFile(f"attribute gain is {gain}, expected a number above 0")
            outside = data == nodata
            valid = ~outside & (data != undetect)
            return DecodedFrame(_convert(file, data * gain + offset, valid), outside)


def _convert(file: Any, values: npt.NDArray[np.floating[Any]], valid: npt.NDArray[np.bool_]) -> Levels:
    """Levels of (H, W) values in the units of the file's quantity."""
    quantity = read_text(_group_with(file, "quantity"), "quantity")
    if quantity.startswith("DBZ"):
        return from_reflectivity(values, MARSHALL_PALMER, valid)
    if quantity == "ACRR":
        return from_rate(values / _accumulation_hours(file), valid)
    if quantity == "RATE":
        return from_rate(values, valid)
    raise DamagedFile(f"quantity {quantity} is neither RATE, ACRR nor DBZH")


def _group_with(file: Any, attribute: str) -> Any:
    """The group that holds an attribute of the data."""
    for group in WHAT:
        if group in file and attribute in file[group].attrs:
            return file[group]
    raise DamagedFile(f"not ODIM's layout: no attribute {attribute} in {' or '.join(WHAT)}")


def _placement(file: Any) -> Placement:
    where = file["where"]
    place = Placement(read_text(where, "projdef"), read_number(where, "xscale"), read_number(where, "yscale"))
    if min(place.x, place.y) <= 0:
        raise DamagedFile(f"attributes xscale and yscale of where are {place.x} and {place.y}, expected more than 0")
    return place


def _accumulation_hours(file: Any) -> float:
    begin, end = (
        parse_time(*(read_text(_group_with(file, name), name) for name in (f"{edge}date", f"{edge}time")))
        for edge in ("start", "end")
    )
    hours = float((end - begin) / np.timedelta64(1, "h"))
    if hours <= 0:
        raise DamagedFile(f"accumulated from startdate and starttime {begin} to enddate and endtime {end}")
    return hours


def parse_time(date: str, clock: str) -> np.datetime64:
    """The time of ODIM's ``YYYYMMDD`` and ``hhmmss``."""
    if not re.fullmatch(r"\d{14}", date + clock):
        raise DamagedFile(f"{date!r} and {clock!r} are not a date and a time")
    return np.datetime64(f"{date[:4]}-{date[4:6]}-{date[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}")


FORMAT = Odim()
