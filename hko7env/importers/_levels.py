"""Levels of rain rate and reflectivity; values that no radar gives are damage, not weather."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.damage import DamagedFile
from hko7env.importers import Frames
from hko7env.units import HKO7, ZR, level, pixel

MAX_RATE = 5000.0  # mm/h: twice the most ever measured, 38 mm in a minute (Guadeloupe 1970)
MAX_DBZ = 100.0  # either sign; products of eight bits end at 95.5 dBZ


def from_rate(rate: npt.ArrayLike, here: npt.ArrayLike = True) -> Frames:
    """(H, W) uint8 levels of rain rates in mm/h, 0 where ``here`` (H, W) bool is False.

    Raises DamagedFile for a rate that is NaN, below 0 or above MAX_RATE.
    """
    held = np.where(here, rate, 0.0)
    _check(held, "rain", "mm/h", 0.0, MAX_RATE)
    return np.asarray(level(pixel(HKO7.dbz(held))), np.uint8)


def from_reflectivity(dbz: npt.ArrayLike, zr: ZR, here: npt.ArrayLike = True) -> Frames:
    """(H, W) uint8 levels of reflectivity in dBZ by way of rain rate by ``zr``, 0 where ``here`` is False.

    Raises DamagedFile for a reflectivity that is NaN or beyond plus or minus MAX_DBZ.
    """
    _check(np.where(here, dbz, 0.0), "reflectivity", "dBZ", -MAX_DBZ, MAX_DBZ)
    return np.asarray(level(pixel(HKO7.dbz(zr.rate(np.where(here, dbz, -np.inf))))), np.uint8)


def _check(values: npt.NDArray[Any], what: str, units: str, least: float, most: float) -> None:
    low, high = float(values.min()), float(values.max())  # NaN if any is
    if np.isnan(low):
        raise DamagedFile(f"{what} that is NaN")
    if low < least:
        raise DamagedFile(f"{what} below {least:g} {units}: {low:g}")
    if high > most:
        raise DamagedFile(f"{what} above {most:g} {units}, which no radar gives: {high:g}")
