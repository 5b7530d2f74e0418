"""The Dutch KNMI's 5-minute accumulations, ``RAD_NL25_RAP_5min_YYYYMMDDhhmm.h5``: HDF5, 765 x 700 px of 1 km.

Counts of 0.01 mm in five minutes become mm/h and then levels by HKO-7's relation; 65535 is outside the radar's range.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED, minutes
from hko7env.damage import DamagedFile
from hko7env.importers import Grid, Seen, stamp
from hko7env.importers._hdf5 import open_file, read_array, text
from hko7env.importers._levels import from_rate

OUTSIDE = 65535
MINUTES = 5  # of accumulation
CRS = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752"
ROW_OFFSET = 3650  # km from the pole's row to the first of the grid
FORMULA = "GEO=0.01*PV+0.0"

_NAME = re.compile(r"(RAD_\w+)_(\d{12})\.h5")
_DATE = re.compile(r"(\d{2})-([A-Z]{3})-(\d{4});(\d{2}:\d{2}):\d{2}\.\d{3}")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def time_of(path: Path) -> int | None:
    """Minutes of the time in the name: the end of the five minutes, UTC."""
    match = _NAME.fullmatch(path.name)
    return stamp(match[2]) if match else None


def place_of(path: Path) -> str:
    """The product in the name."""
    match = _NAME.fullmatch(path.name)
    return match[1] if match else path.name


def grid(path: Path) -> Grid:
    """The composite's grid and, as ``path`` has it, its coverage."""
    values = _values(path)
    height, width = values.shape
    return Grid(
        shape=(height, width),
        cadence=5,
        mask=np.where(values == OUTSIDE, OUT_OF_RANGE, SCORED).astype(np.uint8),
        x=1000.0 * (np.arange(width) + 0.5),
        y=-1000.0 * (ROW_OFFSET + 0.5 + np.arange(height)),
        crs=CRS,
        source="Royal Netherlands Meteorological Institute, 5 min accumulations NL25",
        licence="CC BY 4.0",
        attributes={
            "source_zr": "none: the files hold rain",
            "conversion": "0.12 mm/h a count, then level by Z = 58.53 R^1.56",
        },
    )


def read(path: Path) -> Seen:
    """(H, W) uint8 levels, and where they are outside coverage."""
    values = _values(path)
    outside = values == OUTSIDE
    return Seen(from_rate(0.12 * np.where(outside, 0, values)), outside)


def _values(path: Path) -> npt.NDArray[np.uint16]:
    with open_file(path) as file:
        try:
            values = read_array(file, "image1/image_data")
            formula = text(file["image1/calibration"], "calibration_formulas")
            begin, end = (text(file["overview"], f"product_datetime_{which}") for which in ("start", "end"))
        except KeyError as error:
            raise DamagedFile(f"not KNMI's layout: {error}") from error
    if formula != FORMULA or values.dtype != np.uint16:
        raise DamagedFile(f"counts mean {formula} in {values.dtype}, expected {FORMULA} in uint16")
    if _minutes(end) - _minutes(begin) != MINUTES:
        raise DamagedFile(f"rain from {begin} to {end}, expected {MINUTES} minutes")
    if _minutes(end) != time_of(path):
        raise DamagedFile(f"misnamed: its five minutes end at {end}")
    return values


def _minutes(written: str) -> int:
    """Minutes of KNMI's ``26-AUG-2010;00:05:00.000``, whatever the locale."""
    match = _DATE.fullmatch(written)
    if not match or match[2] not in _MONTHS:
        raise DamagedFile(f"{written!r} is no time such as 26-AUG-2010;00:05:00.000")
    day, month, year, clock = match.groups()
    return minutes(f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{clock}")
