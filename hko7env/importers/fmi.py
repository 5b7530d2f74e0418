"""Finnish Meteorological Institute's composites, ``YYYYMMDDhhmm_fmi.radar.composite.lowest_FIN_SUOMI1.pgm.gz``.

A gzipped binary PGM of half-dB steps, dBZ = (v - 64) / 2; 0 is no echo, 255 is outside the radars' range. Reflectivity
becomes rain rate by FMI's Z = 223 R^1.53 and then a level by HKO-7's relation.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import LOCATIONS, DamagedFile, gunzip, read_bytes
from hko7env.importers import Frames, Grid, Seen, stamp
from hko7env.importers._levels import from_reflectivity
from hko7env.units import ZR

SOURCE_ZR = ZR(223.0, 1.53)
OUTSIDE = 255
CRS = "+proj=stere +lon_0=25 +lat_0=90 +lat_ts=60 +a=6371288 +x_0=380886.310 +y_0=3395677.920"

HEADER_BYTES = 1 << 16

_NAME = re.compile(r"(\d{12})_fmi\.radar\.composite\.lowest_FIN_SUOMI1\.pgm\.gz")
_HEADER = re.compile(rb"P5\n((?:#[^\n]*\n)*)(\d+) (\d+)\n255\n")


def time_of(path: Path) -> int | None:
    """Minutes of the time in the name, which is UTC."""
    match = _NAME.fullmatch(path.name)
    return stamp(match[1]) if match else None


def place_of(path: Path) -> str:
    """The composite in the name."""
    return path.name.removesuffix(".pgm.gz").split("_")[-1]


def grid(path: Path) -> Grid:
    """The composite's grid and, as ``path`` has it, its coverage."""
    values, header = _values(path)
    height, width = values.shape
    metres = {axis: _metres(header, f"metersperpixel_{axis}") for axis in "xy"}
    return Grid(
        shape=(height, width),
        cadence=5,
        mask=np.where(values == OUTSIDE, OUT_OF_RANGE, SCORED).astype(np.uint8),
        x=metres["x"] * (np.arange(width) + 0.5),
        y=metres["y"] * (height - 0.5 - np.arange(height)),
        crs=CRS,
        source="Finnish Meteorological Institute, lowest-level composite SUOMI1",
        licence="CC BY 4.0",
        attributes={
            "source_zr": "Z = 223 R^1.53",
            "conversion": "dBZ to mm/h by Z = 223 R^1.53, then level by Z = 58.53 R^1.56",
        },
    )


def read(path: Path) -> Seen:
    """(H, W) uint8 levels, and where they are outside coverage."""
    levels = from_reflectivity((np.arange(256) - 64) / 2, SOURCE_ZR)
    levels[[0, OUTSIDE]] = 0
    values, _ = _values(path)
    return Seen(np.asarray(levels[values], np.uint8), values == OUTSIDE)


def _values(path: Path) -> tuple[Frames, dict[str, str]]:
    limit = LOCATIONS + HEADER_BYTES
    data = gunzip(read_bytes(path, limit), limit)
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


def _metres(header: dict[str, str], name: str) -> float:
    """A length of the header."""
    try:
        found = float(header[name])
    except (KeyError, ValueError) as error:
        raise DamagedFile(f"its header has no number {name}") from error
    if not 0 < found < np.inf:
        raise DamagedFile(f"its header has {name} {found}")
    return found
