"""Slovenian Environment Agency's radar maps, ``YYYY/MM/DD/HHhMMm.webp``: 301 x 401 cells of 1 km, every 5 min.

A file is a picture of a map, lossless RGB of 821 x 660 px, with a title and a legend. Two by two pixels are a cell,
whose class is the largest among those of its pixels that have a colour of the legend; other colours are lines and names
of the map. A class is a step of 3 dBZ and becomes a rain rate by Z = 200 R^1.6, then a level by HKO-7's relation.

The files are free to use if the source is named ("Vir: ARSO"). They are in the public repository
``greenie420/ARSO-database`` on GitHub, folder ``data/frames``: clone it and import that folder.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.archive.georeference import METRES_PER_KM
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Grid, Levels, OneFrameFormat, parse_timestamp
from hko7env.importers.levels import MARSHALL_PALMER, describe_conversion, formula, from_reflectivity
from hko7env.importers.picture import read_picture

SIZE = (821, 660)  # px: width and height of the picture
SHAPE = (301, 401)  # cells
CORNER = (48, 9)  # row and column of the map's first px
ORIGIN = (144, 204)  # row and column of the cell at latitude 46.12, longitude 14.815
CRS = "+proj=lcc +lat_1=46.12 +lat_2=46.12 +lat_0=46.12 +lon_0=14.815 +R=6371000"
COLOURS = (  # of classes 1 to 15, dBZ = 12 + 3 class
    (8, 90, 254), (0, 140, 254), (0, 174, 253), (0, 200, 254), (4, 216, 131),
    (66, 235, 66), (108, 249, 0), (184, 250, 0), (249, 250, 0), (254, 198, 0),
    (254, 132, 0), (255, 62, 1), (211, 0, 0), (181, 3, 3), (203, 0, 204),
)  # fmt: skip
NO_ECHO = (255, 255, 255)
SPLITS = {  # whole days; later days belong to no split
    "train": [("2026-07-16T00:00", "2026-07-23T00:00"), ("2026-07-24T00:00", "2026-08-06T00:00")],
    "valid": [("2026-07-23T00:00", "2026-07-24T00:00"), ("2026-08-06T00:00", "2026-08-07T00:00")],
    "test": [("2026-08-07T00:00", "2026-08-16T00:00")],
}

_NAME = re.compile(r"(\d{4})/(\d{2})/(\d{2})/(\d{2})h(\d{2})m\.webp")
_INK_PX = 10_086  # px of lines and names, the same in every file; a few files have grey areas as well
_INK = -1  # class of a cell of which the map hides every pixel


class SlovenianMap(OneFrameFormat):
    """Radar maps of Slovenia."""

    def time_of(self, path: Path) -> int | None:
        """The time that the file and its three folders name, which is UTC."""
        match = _NAME.fullmatch("/".join(path.parts[-4:]))
        return parse_timestamp("".join(match.groups())) if match else None

    def grid(self, path: Path) -> Grid:
        """The map's grid; cells that its lines and names hide in ``path`` are out of range."""
        height, width = SHAPE
        return Grid(
            shape=SHAPE,
            cadence=5,
            mask=np.where(_classes(path) == _INK, OUT_OF_RANGE, SCORED).astype(np.uint8),
            x=METRES_PER_KM * (np.arange(width) - ORIGIN[1]),
            y=METRES_PER_KM * (ORIGIN[0] - np.arange(height)),
            crs=CRS,
            source="Slovenian Environment Agency (Vir: ARSO), maximum rainfall rate of two radars",
            licence="free reuse if the source is named: Vir: ARSO",
            attributes=describe_conversion(
                f"15 classes, dBZ = 12 + 3 class, to mm/h by {formula(MARSHALL_PALMER)}", formula(MARSHALL_PALMER)
            ),
            splits=SPLITS,
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read the classes; no data is where the map hides them."""
        levels = np.zeros(len(COLOURS) + 2, np.uint8)  # class 0 is no echo, the last one is _INK
        levels[1:-1] = from_reflectivity(12.0 + 3.0 * np.arange(1, len(COLOURS) + 1), MARSHALL_PALMER)
        classes = _classes(path)
        return DecodedFrame(levels[classes], classes == _INK)


def _classes(path: Path) -> npt.NDArray[np.int8]:
    """(301, 401) class 0 (no echo) to 15 of each cell, or _INK.

    WebP has no checksum, but lines and names are drawn over the echo: DamagedFile if they are not all there.
    """
    (top, left), (height, width) = CORNER, SHAPE
    rgb = np.asarray(read_picture(path, "WEBP", SIZE).convert("RGB"))[top : top + 2 * height, left : left + 2 * width]
    packed = _pack(rgb)
    legend = _pack(np.array([NO_ECHO, *COLOURS], np.uint8))
    order = np.argsort(legend)
    nearest = order[np.searchsorted(legend, packed, sorter=order).clip(max=len(legend) - 1)]
    classes = np.where(legend[nearest] == packed, nearest, _INK).astype(np.int8)
    ink = np.count_nonzero(classes == _INK)
    if ink < _INK_PX:
        raise DamagedFile(f"lines and names take {ink} px of the map, expected {_INK_PX} or more")
    return np.asarray(classes.reshape(height, 2, width, 2).max(axis=(1, 3)))


def _pack(rgb: Levels) -> npt.NDArray[np.int32]:
    """0xRRGGBB of (..., 3) uint8."""
    wide = rgb.astype(np.int32)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2])


FORMAT = SlovenianMap()
