"""The official HKO-7 folders: ``radarPNG/YYYY/MM/DD/RADyymmddHHMM00.png`` and, beside them, ``radarPNG_mask``.

The grey values of a PNG are levels. A ``.mask`` file is a zlib stream of one byte for each location, 1 = scored; it
combines the static mask and the small-echo rule. A location that is 0 in every mask of the source is stored as an
outlier, or as out of range if it is more than 256 km from the centre.
"""

import re
import struct
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive.clutter import boundary
from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.archive.georeference import METRES_PER_KM
from hko7env.archive.hko7_facts import CADENCE, CRS, PIXEL_KM
from hko7env.damage import DamagedFile, inflate, read_bytes
from hko7env.importers.contract import DecodedFrame, Grid, OneFrameFormat, Report, parse_timestamp, reading
from hko7env.importers.picture import read_picture

SIZE = 480
MIDDLE = (SIZE - 1) / 2  # row and column of the radar
MAX_FILE_BYTES = 1 << 24  # of a PNG or mask; both are far smaller
CHANNELS = {0: 1, 2: 3, 3: 1}  # PNG colour type (grey, RGB, palette) -> bytes of a pixel

_NAME = re.compile(r"RAD(\d{10})00\.png")


class Hko7(OneFrameFormat):
    """The radar of the Hong Kong Observatory as HKO-7 distributes it."""

    def time_of(self, path: Path) -> int | None:
        """The time in the name; its time zone is not documented."""
        match = _NAME.fullmatch(path.name)
        return parse_timestamp(f"20{match[1]}") if match else None

    def is_sidecar(self, path: Path) -> bool:
        """Whether a file is a mask."""
        return path.suffix == ".mask"

    def grid(self, path: Path) -> Grid:
        """The grid of Shi et al. 2017, section 5.1; the mask files decide later which locations in range are scored."""
        metres = METRES_PER_KM * PIXEL_KM * (np.arange(SIZE) - MIDDLE)
        return Grid(
            shape=(SIZE, SIZE),
            cadence=CADENCE,
            mask=np.where(_in_range(), SCORED, OUT_OF_RANGE).astype(np.uint8),
            x=metres,
            y=-metres,
            crs=CRS,
            source="Hong Kong Observatory, HKO-7 CAPPI 2 km",
            licence="by signed undertaking with the Hong Kong Observatory; not to be passed on",
            attributes={"conversion": "none: grey values are levels"},
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read the grey values.

        Raises:
            DamagedFile: The picture has another size, other than eight bits, or colours.
        """
        data = read_bytes(path, MAX_FILE_BYTES)
        picture = read_picture(path, "PNG", (SIZE, SIZE))
        _check_png(data)
        if picture.mode == "L":
            return DecodedFrame(np.asarray(picture))
        rgb = np.asarray(picture.convert("RGB"))
        if (rgb != rgb[..., :1]).any():
            raise DamagedFile("colours, expected grey values")
        return DecodedFrame(np.ascontiguousarray(rgb[..., 0]))

    def union_of_masks(self, source: Path, report: Report) -> npt.NDArray[np.bool_] | None:
        """Read the ``.mask`` files below ``source``: (480, 480) bool, True where any of them is True."""
        paths = sorted(source.rglob("*.mask"))
        union = np.zeros((SIZE, SIZE), bool)
        with progress.bar(len(paths), "reading masks", "mask") as bar:
            for path in paths:
                try:
                    with reading(path):
                        union |= read_mask(path)
                except DamagedFile as error:
                    report(str(error))
                bar.update()
        return union if paths else None


@cache
def _in_range() -> npt.NDArray[np.bool_]:
    """(480, 480) True inside the radar's range."""
    return boundary((SIZE, SIZE), (MIDDLE, MIDDLE), MIDDLE)


def _check_png(data: bytes) -> None:
    """Raise DamagedFile unless all pixels are present, one byte a channel: Pillow cuts 16 bits to 8 and pads with 0."""
    depth, colour, interlace = data[24], data[25], data[28]
    if depth != 8 or colour not in CHANNELS or interlace:
        raise DamagedFile(
            f"PNG of {depth} bits, colour type {colour}, interlace {interlace}; expected 8, {list(CHANNELS)} and 0"
        )
    position, stream = 8, []
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            stream.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    expected = SIZE * (1 + SIZE * CHANNELS[colour])
    size = len(inflate(b"".join(stream), expected))
    if size != expected:
        raise DamagedFile(f"{size} bytes of pixels, expected {expected}")


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Read a ``.mask`` file: (480, 480) bool, True = scored.

    Raises:
        DamagedFile: The file is anything else.
    """
    data = inflate(read_bytes(path, MAX_FILE_BYTES), SIZE * SIZE)
    values = np.frombuffer(data, np.uint8)
    if len(values) != SIZE * SIZE or values.max() > 1:
        raise DamagedFile(f"{len(data)} bytes, expected {SIZE * SIZE} of 0 or 1")
    return values.view(np.bool_).reshape(SIZE, SIZE)


FORMAT = Hko7()
