"""Values of forecast files to pixels and back: pixels, reflectivity and rain rate by a Z-R relation."""

from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.damage import DamagedFile
from hko7env.importers.levels import MAX_DBZ, MAX_RATE, MM_PER_HOUR
from hko7env.units import ZR, dbz, pixel

PIXEL_UNITS, DBZ_UNITS = ("1", "pixel"), ("dbz",)
KNOWN_UNITS = (*PIXEL_UNITS, "dBZ", *MM_PER_HOUR)
ROUNDING = 1e-6  # of packed values; what lies outside the allowed range by less is set to its edge

Values = npt.NDArray[np.floating[Any]]
Pixels = npt.NDArray[np.float32]


def is_known(units: str) -> bool:
    """Whether ``units``, in lower case, are units of a forecast."""
    return units in PIXEL_UNITS or units in DBZ_UNITS or units in MM_PER_HOUR


def to_pixels(values: Values, units: str, source: ZR, target: ZR) -> Pixels:
    """Convert the values of a file to pixels.

    Rain beyond a pixel's range, below -10 or above 60 dBZ, becomes 0 or 1. Pixels in float32 are returned unchanged.

    Args:
        values: (H, W) finite values, or -inf dBZ.
        units: In lower case, see :func:`is_known`.
        source: The Z-R relation of the file's reflectivity.
        target: The Z-R relation of the archive.

    Returns:
        (H, W) float32 pixels in [0, 1].

    Raises:
        DamagedFile: A value is outside the range of its units.
    """
    if units in PIXEL_UNITS:
        _check(values, "a pixel", "", 0.0, 1.0)
        pixels = values
    elif units in MM_PER_HOUR:
        rates = np.asarray(values, np.float64) * MM_PER_HOUR[units]
        _check(rates, "rain", " mm/h", 0.0, MAX_RATE)
        pixels = pixel(target.dbz(np.maximum(rates, 0.0)))
    else:
        reflectivity = np.asarray(values, np.float64)
        _check(reflectivity[reflectivity != -np.inf], "reflectivity", " dBZ", -MAX_DBZ, MAX_DBZ)
        pixels = pixel(reflectivity if source == target else target.dbz(source.rate(reflectivity)))
    return np.clip(pixels, 0.0, 1.0).astype(np.float32, copy=False)


def from_pixels(pixels: Pixels, units: str, zr: ZR) -> Pixels:
    """Convert pixels to the units of a file.

    Args:
        pixels: float32 of any shape in [0, 1].
        units: In lower case, see :func:`is_known`.
        zr: The Z-R relation of the archive.

    Returns:
        float32 of the same shape; a pixel of 0, no echo, is 0 mm/h or -10 dBZ.
    """
    if units in PIXEL_UNITS:
        return pixels
    if units in DBZ_UNITS:
        return np.asarray(dbz(np.asarray(pixels, np.float64)), np.float32)
    rates, wet = np.zeros(pixels.shape, np.float32), pixels > 0  # powers take time, and most of a map is dry
    rates[wet] = zr.rate(dbz(pixels[wet].astype(np.float64))) / MM_PER_HOUR[units]
    return rates


def _check(values: Values, name: str, units: str, least: float, most: float) -> None:
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if low < least - ROUNDING:
        raise DamagedFile(f"{name} of {low:g}{units}, below {least:g}: set negative values to 0, or check the units")
    if high > most + ROUNDING:
        raise DamagedFile(f"{name} of {high:g}{units}, above {most:g}: check the units")
