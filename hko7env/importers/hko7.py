"""The official HKO-7 folders: ``radarPNG/YYYY/MM/DD/RADyymmddHHMM00.png`` and, beside them, ``radarPNG_mask``.

PNG grey values are levels already. A ``.mask`` file is a zlib stream of one byte a location, 1 = scored: the static
mask and the small-echo rule together. A location that no mask of the source lets through is an outlier, or out of the
radar's range, which is 256 km about the centre.
"""

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hko7env import progress
from hko7env.archive.clutter import boundary
from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.importers import Frames, Grid, stamp

SIZE = 480
METRES = 512_000 / SIZE

_NAME = re.compile(r"RAD(\d{10})00\.png")


def time_of(path: Path) -> int | None:
    """Minutes of the time in the name; its zone is not stated anywhere."""
    match = _NAME.fullmatch(path.name)
    return stamp(f"20{match[1]}") if match else None


def place_of(path: Path) -> str:
    """There is one radar."""
    return "Hong Kong"


def is_beside(path: Path) -> bool:
    """Whether ``path`` is a mask, which is read with its frame."""
    return path.suffix == ".mask"


def grid(path: Path) -> Grid:
    """The grid of the paper, section 5.1; what is in range is not scored yet, until the masks say so."""
    in_range = boundary((SIZE, SIZE), ((SIZE - 1) / 2, (SIZE - 1) / 2), (SIZE - 1) / 2)
    place = METRES * (np.arange(SIZE) - (SIZE - 1) / 2)
    return Grid(
        shape=(SIZE, SIZE),
        cadence=6,
        mask=np.where(in_range, SCORED, OUT_OF_RANGE).astype(np.uint8),
        x=place,
        y=-place,
        crs="+proj=aeqd +lat_0=22.3 +lon_0=114.2 +units=m",
        source="Hong Kong Observatory, HKO-7 CAPPI 2 km",
        licence="by signed undertaking with the Hong Kong Observatory; not to be passed on",
        attributes={"conversion": "none: grey values are levels"},
    )


def read(path: Path) -> Frames:
    """(480, 480) uint8 levels. Raises ValueError for another size."""
    with Image.open(path) as image:
        levels = np.asarray(image.convert("L"))
    if levels.shape != (SIZE, SIZE):
        raise ValueError(f"{levels.shape[1]} x {levels.shape[0]} pixels, expected {SIZE} x {SIZE}")
    return levels


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """(480, 480) bool of a ``.mask`` file, True = scored. Raises ValueError for anything else."""
    try:
        data = zlib.decompress(path.read_bytes())
    except zlib.error as error:
        raise ValueError(f"not a zlib stream ({error})") from error
    values = np.frombuffer(data, np.uint8)
    if len(values) != SIZE * SIZE or values.max() > 1:
        raise ValueError(f"{len(data)} bytes, expected {SIZE * SIZE} of 0 or 1")
    return values.view(np.bool_).reshape(SIZE, SIZE)


def ever_scored(source: Path, problem: Callable[[str], None]) -> npt.NDArray[np.bool_] | None:
    """Where any of the ``.mask`` files under ``source`` is True; None if there is none.

    ``problem`` is told of a damaged one, which is left out if it returns.
    """
    paths = sorted(source.rglob("*.mask"))
    ever = np.zeros((SIZE, SIZE), bool)
    with progress.bar(len(paths), "reading masks", "mask") as bar:
        for path in paths:
            try:
                ever |= read_mask(path)
            except ValueError as error:
                problem(f"{path} cannot be read ({error})")
            bar.update()
    return ever if paths else None
