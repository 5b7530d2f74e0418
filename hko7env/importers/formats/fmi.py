"""Finnish Meteorological Institute's composites, ``YYYYMMDDhhmm_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz``.

A file is a gzipped binary PGM of half-dB steps, dBZ = (v - 64) / 2; 0 is no echo, 255 is outside the radars' range.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import MAX_FRAME_VALUES, DamagedFile, gunzip, read_bytes
from hko7env.importers.contract import DecodedFrame, Grid, Levels, OneFrameFormat, parse_timestamp
from hko7env.importers.levels import FINNISH, describe_conversion, formula, from_reflectivity

NO_ECHO, OUTSIDE = 0, 255
CRS = "+proj=stere +lon_0=25 +lat_0=90 +lat_ts=60 +a=6371288 +x_0=380886.310 +y_0=3395677.920"
MAX_BYTES = MAX_FRAME_VALUES + (1 << 16)  # of values and header

_NAME = re.compile(r"(\d{12})_fmi\.radar\.composite\.lowest_FIN_SUOMI1\.pgm\.gz")
_HEADER = re.compile(rb"P5\n((?:#[^\n]*\n)*)(\d+) (\d+)\n255\n")


class FinnishComposite(OneFrameFormat):
    """Lowest-level reflectivity composites of Finland."""

    def time_of(self, path: Path) -> int | None:
        """The time in the name, which is UTC."""
        match = _NAME.fullmatch(path.name)
        return parse_timestamp(match[1]) if match else None

    def coverage_id(self, path: Path) -> str:
        """The composite in the name."""
        return path.name.removesuffix(".pgm.gz").split("_")[-1]

    def grid(self, path: Path) -> Grid:
        """The grid in the header; out of range is what the file has outside coverage."""
        values, header = _read_pgm(path)
        height, width = values.shape
        metres = {axis: _length(header, f"metersperpixel_{axis}") for axis in "xy"}
        return Grid(
            shape=(height, width),
            cadence=5,
            mask=np.where(values == OUTSIDE, OUT_OF_RANGE, SCORED).astype(np.uint8),
            x=metres["x"] * (np.arange(width) + 0.5),
            y=metres["y"] * (height - 0.5 - np.arange(height)),
            crs=CRS,
            source="Finnish Meteorological Institute, lowest-level composite SUOMI1",
            licence="CC BY 4.0",
            attributes=describe_conversion(f"dBZ to mm/h by {formula(FINNISH)}", formula(FINNISH)),
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read the reflectivity; there are no data outside coverage."""
        levels = from_reflectivity((np.arange(256) - 64) / 2, FINNISH)
        levels[[NO_ECHO, OUTSIDE]] = 0
        values, _ = _read_pgm(path)
        return DecodedFrame(np.asarray(levels[values], np.uint8), values == OUTSIDE)


def _read_pgm(path: Path) -> tuple[Levels, dict[str, str]]:
    """(H, W) uint8 grey values of a gzipped PGM, and the comments of its header by their first word."""
    return parse_pgm(gunzip(read_bytes(path, MAX_BYTES), MAX_BYTES))


def parse_pgm(data: bytes) -> tuple[Levels, dict[str, str]]:
    """(H, W) uint8 grey values of a binary PGM, and the comments of its header by their first word.

    Raises:
        DamagedFile: It is no binary PGM of 255 grey values, or its length is not that of its size.
    """
    match = _HEADER.match(data)
    if not match:
        raise DamagedFile("not a binary PGM of 255 grey values")
    width, height = int(match[2]), int(match[3])
    body = data[match.end() :]
    if len(body) != width * height or not body:
        raise DamagedFile(f"{len(body)} values for {width} x {height} locations")
    values: npt.NDArray[np.uint8] = np.frombuffer(body, np.uint8).reshape(height, width)
    words = (line[1:].split(maxsplit=1) for line in match[1].decode("latin-1").splitlines())
    return values, {name: rest[0] for name, *rest in words if rest}


def _length(header: dict[str, str], name: str) -> float:
    try:
        length = float(header[name])
    except (KeyError, ValueError) as error:
        raise DamagedFile(f"its header has no number {name}") from error
    if not 0 < length < np.inf:
        raise DamagedFile(f"its header has {name} {length}")
    return length


FORMAT = FinnishComposite()
