"""Values of RADOLAN files. pysteps places them, but misreads them in five ways (``docs/radar-services.md``).

A file is an ASCII header, ended by the byte 3, and 16-bit values, row by row from the south-western corner. The header
has the product, the grid (``GP``), the decimal exponent (``PR``) and the minutes of accumulation (``INT``). The upper
four bits of a value are flags, the others a number.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.damage import MAX_FRAME_VALUES, DamagedFile, read_bytes

ACCUMULATIONS = ("RW", "RY", "YW")  # of rain in mm, which pysteps places
REFLECTIVITY = ("WN",)  # in dBZ, which pysteps places
NUMBER, NO_DATA, NEGATIVE, CLUTTER = 0x0FFF, 0x2000, 0x4000, 0x8000
MAX_HEADER = 500  # bytes; pysteps takes a longer one for data

_FIELDS = re.compile(r"PR\s*E(?P<exponent>[-+]\d+).*?INT\s*(?P<minutes>\d+).*?GP\s*(?P<rows>\d+)x\s*(?P<columns>\d+)")


class RadolanFile(NamedTuple):
    """The content of a RADOLAN file.

    Attributes:
        product: Two letters, one of ACCUMULATIONS or REFLECTIVITY.
        unit: mm or dBZ.
        minutes: Minutes of accumulation.
        values: (H, W) values in ``unit``, NaN where there are no data or clutter; the first row is the southern one.
    """

    product: str
    unit: str
    minutes: int
    values: npt.NDArray[np.float64]


def read_radolan(path: Path) -> RadolanFile:
    """Read a file.

    Raises:
        DamagedFile: pysteps cannot place the product, or the length is not that of header and grid.
    """
    data = read_bytes(path, 2 * MAX_FRAME_VALUES + MAX_HEADER)
    begin, end, body = data.partition(b"\3")
    header = begin.decode("ascii", "replace")
    fields = _FIELDS.search(header)
    if not end or not fields or len(begin) >= MAX_HEADER:
        raise DamagedFile("not a RADOLAN file: its header has no precision, minutes and grid, or no end")
    product, known = header[:2], (*ACCUMULATIONS, *REFLECTIVITY)
    if product not in known:
        raise DamagedFile(f"RADOLAN product {product}: pysteps reads {', '.join(known)} only")
    rows, columns = int(fields["rows"]), int(fields["columns"])
    if len(body) != 2 * rows * columns or not body:
        raise DamagedFile(f"{len(body)} bytes of values for {rows} x {columns} locations of 2 bytes")
    stored: npt.NDArray[np.uint16] = np.frombuffer(body, "<u2").reshape(rows, columns)
    numbers = (stored & NUMBER) * 10.0 ** int(fields["exponent"]) * np.where(stored & NEGATIVE, -1.0, 1.0)
    rain = product in ACCUMULATIONS
    values = np.where(stored & (NO_DATA | CLUTTER), np.nan, numbers if rain else numbers / 2 - 32.5)
    return RadolanFile(product, "mm" if rain else "dBZ", int(fields["minutes"]), values)
