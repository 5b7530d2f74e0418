"""Rain rate and reflectivity to levels: the Z-R relations and units of the formats, and limits on values.

A value outside the range that radars measure is an error, because it shows damage.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.georeference import METRES_PER_KM
from hko7env.damage import DamagedFile
from hko7env.importers.contract import Levels
from hko7env.units import HKO7, ZR, level, pixel

MARSHALL_PALMER = ZR(200.0, 1.6)  # of OPERA's and most other services' rain rates
FINNISH = ZR(223.0, 1.53)  # of the Finnish Meteorological Institute

MM_PER_HOUR = {  # units of rain -> factor to mm/h; water of 1 kg m-2 is 1 mm deep
    "mm/h": 1.0, "mm h-1": 1.0, "mm/hr": 1.0, "mm hr-1": 1.0, "kg m-2 h-1": 1.0,
    "kg m-2 s-1": 3600.0, "mm s-1": 3600.0, "m s-1": 3.6e6,
}  # fmt: skip
METRES = {  # units of length -> factor to metres
    "m": 1.0, "metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0,
    "km": METRES_PER_KM, "kilometre": METRES_PER_KM,
}  # fmt: skip

MAX_RATE = 5000.0  # mm/h: twice the highest rate ever measured, 38 mm in a minute (Guadeloupe 1970)
MAX_DBZ = 100.0  # of either sign; products of eight bits end at 95.5 dBZ


def formula(zr: ZR) -> str:
    """The Z-R relation as text, such as ``Z = 200 R^1.6``."""
    return f"Z = {zr.a:g} R^{zr.b:g}"


def describe_conversion(to_rate: str, source_zr: str) -> dict[str, str]:
    """Attributes of an archive that say how values became levels.

    Args:
        to_rate: How the values of the files become mm/h.
        source_zr: The Z-R relation of the files, and what it is used for.
    """
    return {"source_zr": source_zr, "conversion": f"{to_rate}, then level by {formula(HKO7)}"}


def from_rate(rate: npt.ArrayLike, valid: npt.ArrayLike = True, target: ZR = HKO7) -> Levels:
    """Convert rain rates to levels.

    Args:
        rate: (H, W) mm/h.
        valid: (H, W) bool; the level is 0 where it is False.
        target: The Z-R relation of the archive.

    Returns:
        (H, W) uint8 levels.

    Raises:
        DamagedFile: A rate is NaN, below 0 or above MAX_RATE; by ``target``, the highest level may be more.
    """
    rates = np.where(valid, rate, 0.0)
    _check(rates, "rain", "mm/h", 0.0, max(MAX_RATE, 1.001 * float(target.rates[-1])))
    return np.asarray(level(pixel(target.dbz(rates))), np.uint8)


def from_reflectivity(dbz: npt.ArrayLike, zr: ZR, valid: npt.ArrayLike = True, target: ZR = HKO7) -> Levels:
    """Convert reflectivities to rain rates by ``zr`` and these to levels by ``target``.

    Args:
        dbz: (H, W) dBZ.
        zr: The Z-R relation of the files.
        valid: (H, W) bool; the level is 0 where it is False.
        target: The Z-R relation of the archive.

    Returns:
        (H, W) uint8 levels.

    Raises:
        DamagedFile: A reflectivity is NaN or beyond plus or minus MAX_DBZ.
    """
    _check(np.where(valid, dbz, 0.0), "reflectivity", "dBZ", -MAX_DBZ, MAX_DBZ)
    return np.asarray(level(pixel(target.dbz(zr.rate(np.where(valid, dbz, -np.inf))))), np.uint8)


def _check(values: npt.NDArray[Any], name: str, units: str, least: float, most: float) -> None:
    low, high = float(values.min()), float(values.max())  # NaN if any value is NaN
    if np.isnan(low):
        raise DamagedFile(f"{name} is NaN")
    if low < least:
        raise DamagedFile(f"{name} below {least:g} {units}: {low:g}")
    if high > most:
        raise DamagedFile(f"{name} above {most:g} {units}, which no radar measures: {high:g}")
