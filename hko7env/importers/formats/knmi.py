"""The Dutch KNMI's 5-minute accumulations, ``RAD_NL25_RAP_5min_YYYYMMDDhhmm.h5``: HDF5, 765 x 700 px of 1 km.

A count is 0.01 mm in five minutes, that is 0.12 mm/h; 65535 is outside the radars' range.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED, minutes
from hko7env.archive.georeference import METRES_PER_KM
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Grid, OneFrameFormat, parse_timestamp
from hko7env.importers.hdf5 import open_file, read_array, read_text
from hko7env.importers.levels import describe_conversion, from_rate

OUTSIDE = 65535
MINUTES = 5  # of accumulation
RATE_PER_COUNT = 0.12  # mm/h
CRS = "+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +a=6378137 +b=6356752"
ROW_OFFSET = 3650  # km from the row of the pole to the first row of the grid
FORMULA = "GEO=0.01*PV+0.0"  # mm of a count, as the files state it

_NAME = re.compile(r"(RAD_\w+)_(\d{12})\.h5")
_DATE = re.compile(r"(\d{2})-([A-Z]{3})-(\d{4});(\d{2}:\d{2}):\d{2}\.\d{3}")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class DutchComposite(OneFrameFormat):
    """Accumulations of 5 minutes over the Netherlands; their time is the end of the accumulation."""

    def time_of(self, path: Path) -> int | None:
        """The time in the name: the end of the five minutes, UTC."""
        match = _NAME.fullmatch(path.name)
        return parse_timestamp(match[2]) if match else None

    def coverage_id(self, path: Path) -> str:
        """The product in the name."""
        match = _NAME.fullmatch(path.name)
        return match[1] if match else path.name

    def grid(self, path: Path) -> Grid:
        """The grid of the composite; out of range is what the file has outside coverage."""
        values = _read_counts(path, self.time_of(path))
        height, width = values.shape
        return Grid(
            shape=(height, width),
            cadence=MINUTES,
            mask=np.where(values == OUTSIDE, OUT_OF_RANGE, SCORED).astype(np.uint8),
            x=METRES_PER_KM * (np.arange(width) + 0.5),
            y=-METRES_PER_KM * (ROW_OFFSET + 0.5 + np.arange(height)),
            crs=CRS,
            source="Royal Netherlands Meteorological Institute, 5 min accumulations NL25",
            licence="CC BY 4.0",
            attributes=describe_conversion(f"{RATE_PER_COUNT} mm/h a count", "none: the files hold rain"),
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read the accumulation; there are no data outside coverage."""
        values = _read_counts(path, self.time_of(path))
        outside = values == OUTSIDE
        return DecodedFrame(from_rate(RATE_PER_COUNT * np.where(outside, 0, values)), outside)


def _read_counts(path: Path, time: int | None) -> npt.NDArray[np.uint16]:
    """(H, W) uint16 counts of a file that is named by ``time``."""
    with open_file(path) as file:
        try:
            values = read_array(file, "image1/image_data")
            calibration = read_text(file["image1/calibration"], "calibration_formulas")
            begin, end = (read_text(file["overview"], f"product_datetime_{which}") for which in ("start", "end"))
        except KeyError as error:
            raise DamagedFile(f"not KNMI's layout: {error}") from error
    if calibration != FORMULA or values.dtype != np.uint16:
        raise DamagedFile(f"counts mean {calibration} in {values.dtype}, expected {FORMULA} in uint16")
    if parse_date(end) - parse_date(begin) != MINUTES:
        raise DamagedFile(f"rain from {begin} to {end}, expected {MINUTES} minutes")
    if parse_date(end) != time:
        raise DamagedFile(f"misnamed: its five minutes end at {end}")
    return values


def parse_date(text: str) -> int:
    """Minutes since 1970-01-01 of KNMI's ``26-AUG-2010;00:05:00.000``, in any locale."""
    match = _DATE.fullmatch(text)
    if not match or match[2] not in _MONTHS:
        raise DamagedFile(f"{text!r} is not a time such as 26-AUG-2010;00:05:00.000")
    day, month, year, clock = match.groups()
    return minutes(f"{year}-{_MONTHS.index(month) + 1:02}-{day}T{clock}")


FORMAT = DutchComposite()
