"""Environment Canada's CAPPI rain GIFs, ``YYYYMMDDhhmm_STATION_CAPPI_1.5_RAIN.gif``: 480 x 480 px of 1 km, 6 min.

The colour of a pixel gives one of 14 rain-rate classes; the order of the palette differs between files. A class becomes
the geometric mean of its edges in mm/h.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.archive.georeference import METRES_PER_KM, azimuthal_equidistant
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Grid, Levels, OneFrameFormat, parse_timestamp
from hko7env.importers.levels import MARSHALL_PALMER, describe_conversion, formula, from_rate
from hko7env.importers.picture import read_picture

SIZE = 480  # columns beyond it are the legend
LEGEND_WIDTH = 100
CENTRE = (239, 240)  # row and column of the radar
RANGE = 240  # km, and px
# Colour -> lower edge of its class in mm/h. The highest class has no upper edge and counts as 200 mm/h.
CLASSES = {
    (153, 204, 255): 0.1, (0, 153, 255): 1, (0, 255, 102): 2, (0, 204, 0): 4, (0, 153, 0): 8, (0, 102, 0): 12,
    (255, 255, 51): 16, (255, 204, 0): 24, (255, 153, 0): 32, (255, 102, 0): 50, (255, 0, 0): 64, (255, 2, 153): 100,
    (153, 51, 204): 125, (102, 0, 153): 200,
}  # fmt: skip
LEGEND = (144, 515, 14, 20)  # row and column of its boxes, the heaviest class first; height and width of a box
NO_ECHO = {(51, 51, 102), (153, 153, 102), (0, 0, 0)}  # sea, land, border lines
STATIONS = {"CASGO": (45.10, -63.70), "CASMB": (45.95, -60.21), "CASCM": (46.22, -65.70)}  # latitude, longitude

_NAME = re.compile(r"(\d{12})_([A-Z]{5})_CAPPI_1\.5_RAIN\.gif")


class EnvironmentCanada(OneFrameFormat):
    """CAPPI rain GIFs of one station."""

    def time_of(self, path: Path) -> int | None:
        """The time in the name, which is UTC."""
        match = _NAME.fullmatch(path.name)
        return parse_timestamp(match[1]) if match else None

    def coverage_id(self, path: Path) -> str:
        """The station in the name."""
        return path.name.split("_")[1]

    def grid(self, path: Path) -> Grid:
        """The grid of the station in the name."""
        match = _NAME.fullmatch(path.name)
        if not match:
            raise DamagedFile("not named like an ECCC CAPPI rain GIF")
        station = match[2]
        return Grid(
            shape=(SIZE, SIZE),
            cadence=6,
            mask=static_mask(),
            x=METRES_PER_KM * (np.arange(SIZE) - CENTRE[1]),
            y=METRES_PER_KM * (CENTRE[0] - np.arange(SIZE)),
            crs=azimuthal_equidistant(*STATIONS[station]) if station in STATIONS else "",
            source=f"Environment and Climate Change Canada, CAPPI 1.5 km rain, station {station}",
            licence="Environment and Climate Change Canada Data Servers End-use Licence 2.1",
            attributes=describe_conversion(
                "14 rain classes; geometric mean of a class in mm/h", formula(MARSHALL_PALMER)
            ),
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read the classes of the pixels inside the radar's range.

        Raises:
            DamagedFile: The picture has another size, its legend has other colours (a palette of zeros would
                otherwise be dry weather, because border lines are black), or a pixel has a colour of no class.
        """
        whole = np.asarray(read_picture(path, "GIF", (SIZE + LEGEND_WIDTH, SIZE)).convert("RGB"))
        row, column, height, width = LEGEND
        legend = np.repeat(np.array(list(CLASSES)[::-1], np.uint8), height, axis=0)[:, None]
        if (whole[row : row + len(legend), column : column + width] != legend).any():
            raise DamagedFile("its legend does not have the colours of the rain classes: palette or pixels are damaged")
        rgb = whole[:, :SIZE].astype(np.uint32)
        colours, where = np.unique(rgb @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
        levels = _level_of_colour()
        table = np.array([levels.get(int(colour), -1) for colour in colours])
        frame = table[where.reshape(SIZE, SIZE)]
        mask = static_mask()
        if (frame[mask == SCORED] < 0).any():
            raise DamagedFile("a colour that is no rain class inside the radar's circle")
        frame[(frame < 0) | (mask == OUT_OF_RANGE)] = 0
        return DecodedFrame(frame.astype(np.uint8))


@cache
def static_mask() -> Levels:
    """(480, 480) uint8, read-only: out of range outside the circle, and at the cross that hides rain at its centre."""
    rows, columns = np.indices((SIZE, SIZE))
    down, right = rows - CENTRE[0], columns - CENTRE[1]
    mask = np.where(np.hypot(down, right) < RANGE, SCORED, OUT_OF_RANGE).astype(np.uint8)
    mask[((down == 0) & (abs(right) <= 5)) | ((right == 0) & (abs(down) <= 5))] = OUT_OF_RANGE
    mask[[0, -1], :] = mask[:, [0, -1]] = OUT_OF_RANGE  # the red frame has the colour of a rain class
    mask.setflags(write=False)
    return mask


def _level_of_colour() -> dict[int, int]:
    """Level of each colour, packed as 0xRRGGBB."""
    edges = [*CLASSES.values(), list(CLASSES.values())[-1]]
    rates = np.sqrt(np.array(edges[:-1]) * np.array(edges[1:]))
    levels = from_rate(rates).tolist()
    packed = {(r << 16) + (g << 8) + b: found for (r, g, b), found in zip(CLASSES, levels, strict=True)}
    return packed | {(r << 16) + (g << 8) + b: 0 for r, g, b in NO_ECHO}


FORMAT = EnvironmentCanada()
