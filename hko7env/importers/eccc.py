"""Environment Canada's CAPPI rain GIFs, ``YYYYMMDDhhmm_STATION_CAPPI_1.5_RAIN.gif``: 480 x 480 px of 1 km, 6 min.

A pixel is one of 14 rain classes, told by its colour, because the order of the palette differs from file to file.
A class becomes the level of its rate, the geometric mean of its edges, by HKO-7's Z-R relation.
"""

import re
from pathlib import Path

import numpy as np

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import DamagedFile
from hko7env.importers import Frames, Grid, stamp
from hko7env.importers._levels import from_rate
from hko7env.importers._picture import read_picture

SIZE = 480  # columns beyond it are the legend
CENTRE = (239, 240)  # row and column of the radar
RANGE = 240  # km, and px
# Lower edge of each class in mm/h; the scale ends open at 200, whose class counts as 200.
CLASSES = {
    (153, 204, 255): 0.1, (0, 153, 255): 1, (0, 255, 102): 2, (0, 204, 0): 4, (0, 153, 0): 8, (0, 102, 0): 12,
    (255, 255, 51): 16, (255, 204, 0): 24, (255, 153, 0): 32, (255, 102, 0): 50, (255, 0, 0): 64, (255, 2, 153): 100,
    (153, 51, 204): 125, (102, 0, 153): 200,
}  # fmt: skip
LEGEND = (144, 515, 14, 20)  # row and column of its boxes, the heaviest class first, and the size of one
NO_ECHO = {(51, 51, 102), (153, 153, 102), (0, 0, 0)}  # sea, land, border lines
STATIONS = {"CASGO": (45.10, -63.70), "CASMB": (45.95, -60.21), "CASCM": (46.22, -65.70)}  # latitude, longitude

_NAME = re.compile(r"(\d{12})_([A-Z]{5})_CAPPI_1\.5_RAIN\.gif")


def time_of(path: Path) -> int | None:
    """Minutes of the time in the name, which is UTC."""
    match = _NAME.fullmatch(path.name)
    return stamp(match[1]) if match else None


def place_of(path: Path) -> str:
    """The station in the name."""
    return path.name.split("_")[1]


def grid(path: Path) -> Grid:
    """The circle about the station; the cross drawn at its centre hides echo and is out of range, too."""
    match = _NAME.fullmatch(path.name)
    if not match:
        raise DamagedFile("not named like an ECCC CAPPI rain GIF")
    station = match[2]
    rows, columns = np.indices((SIZE, SIZE))
    down, right = rows - CENTRE[0], columns - CENTRE[1]
    mask = np.where(np.hypot(down, right) < RANGE, SCORED, OUT_OF_RANGE).astype(np.uint8)
    mask[((down == 0) & (abs(right) <= 5)) | ((right == 0) & (abs(down) <= 5))] = OUT_OF_RANGE
    mask[[0, -1], :] = mask[:, [0, -1]] = OUT_OF_RANGE  # the red frame has the colour of a rain class
    place = STATIONS.get(station)
    return Grid(
        shape=(SIZE, SIZE),
        cadence=6,
        mask=mask,
        x=1000.0 * (np.arange(SIZE) - CENTRE[1]),
        y=1000.0 * (CENTRE[0] - np.arange(SIZE)),
        crs=f"+proj=aeqd +lat_0={place[0]} +lon_0={place[1]} +units=m" if place else "",
        source=f"Environment and Climate Change Canada, CAPPI 1.5 km rain, station {station}",
        licence="Environment and Climate Change Canada Data Servers End-use Licence 2.1",
        attributes={
            "source_zr": "Z = 200 R^1.6",
            "conversion": "14 rain classes; geometric mean of a class in mm/h, then level by Z = 58.53 R^1.56",
        },
    )


def read(path: Path) -> Frames:
    """(480, 480) uint8 levels.

    Raises DamagedFile for another size, a legend of other colours (border lines are black and no echo, so a palette of
    zeros would be dry weather), or a colour that is no class inside the circle.
    """
    whole = np.asarray(read_picture(path, "GIF", (SIZE + 100, SIZE)).convert("RGB"))
    row, column, height, width = LEGEND
    legend = np.repeat(np.array(list(CLASSES)[::-1], np.uint8), height, axis=0)[:, None]
    if (whole[row : row + len(legend), column : column + width] != legend).any():
        raise DamagedFile("its legend does not have the colours of the rain classes: palette or pixels are damaged")
    rgb = whole[:, :SIZE].astype(np.uint32)
    colours, where = np.unique(rgb @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
    levels = _levels()
    table = np.array([levels.get(int(colour), -1) for colour in colours])
    frame = table[where.reshape(SIZE, SIZE)]
    seen = grid(path).mask
    if (frame[seen == SCORED] < 0).any():
        raise DamagedFile("a colour that is no rain class inside the radar's circle")
    frame[(frame < 0) | (seen == OUT_OF_RANGE)] = 0
    return frame.astype(np.uint8)


def _levels() -> dict[int, int]:
    """Level of each colour, packed as 0xRRGGBB."""
    edges = [*CLASSES.values(), list(CLASSES.values())[-1]]
    rates = np.sqrt(np.array(edges[:-1]) * np.array(edges[1:]))
    levels = from_rate(rates).tolist()
    packed = {(r << 16) + (g << 8) + b: found for (r, g, b), found in zip(CLASSES, levels, strict=True)}
    return packed | {(r << 16) + (g << 8) + b: 0 for r, g, b in NO_ECHO}
