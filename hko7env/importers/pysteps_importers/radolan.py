"""Headers of RADOLAN files, which pysteps guesses, and the flags of their values, of which it reads a part.

A file is an ASCII header, ended by the byte 3, and 16-bit values, row by row from the south-western corner. The header
has the product, the grid (``GP``), the decimal exponent (``PR``) and the minutes of accumulation (``INT``).
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.damage import MAX_FRAME_VALUES, DamagedFile, read_bytes
from hko7env.importers.contract import Mask

ACCUMULATIONS = ("RW", "RY", "YW")  # of rain in mm, which pysteps reads
REFLECTIVITY = ("WN",)  # in dBZ, which pysteps reads
NO_VALUE = 0x2000 | 0x8000  # flags of no data and of clutter
MAX_HEADER = 500  # bytes; pysteps takes a longer one for data

_GRID = re.compile(r"GP\s*(\d+)x\s*(\d+)")
_INTERVAL = re.compile(r"INT\s*(\d+)")


class RadolanFile(NamedTuple):
    """What a RADOLAN file says of itself.

    Attributes:
        product: Two letters, one of ACCUMULATIONS or REFLECTIVITY.
        minutes: Minutes of accumulation.
        no_data: (H, W) bool, True where there are no data; the first row is the southern one.
    """

    product: str
    minutes: int
    no_data: Mask


def read_radolan(path: Path) -> RadolanFile:
    """Read header and flags.

    Raises:
        DamagedFile: pysteps cannot read the product, or the length is not that of header and grid.
    """
    data = read_bytes(path, 2 * MAX_FRAME_VALUES + MAX_HEADER)
    begin, end, body = data.partition(b"\3")
    header = begin.decode("ascii", "replace")
    grid, interval = _GRID.search(header), _INTERVAL.search(header)
    if not end or not grid or not interval or len(begin) >= MAX_HEADER:
        raise DamagedFile("not a RADOLAN file: its header has no grid, no minutes or no end")
    product, known = header[:2], (*ACCUMULATIONS, *REFLECTIVITY)
    if product not in known:
        raise DamagedFile(f"RADOLAN product {product}: pysteps reads {', '.join(known)} only")
    rows, columns = int(grid[1]), int(grid[2])
    if len(body) != 2 * rows * columns or not body:
        raise DamagedFile(f"{len(body)} bytes of values for {rows} x {columns} locations of 2 bytes")
    values: npt.NDArray[np.uint16] = np.frombuffer(body, "<u2").reshape(rows, columns)
    return RadolanFile(product, int(interval[1]), (values & NO_VALUE) > 0)
