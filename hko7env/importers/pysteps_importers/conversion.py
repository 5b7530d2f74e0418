"""Values and metadata as pysteps' importers give them, to levels and to the grid of an archive."""

import math
import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive.georeference import METRES_PER_KM
from hko7env.damage import DamagedFile
from hko7env.importers.contract import Levels
from hko7env.importers.levels import METRES, MM_PER_HOUR, from_rate, from_reflectivity
from hko7env.importers.pysteps_importers.library import Metadata, Values
from hko7env.units import ZR

MILLIMETRES = ("mm", "kg m-2")
EARTH_RADIUS = 6_371_000.0  # metres, of the sphere on which a grid in degrees is laid out
DRY_BELOW = 0.1  # mm/h: only below it the zero value of decibels of rain is believed
_MAX_ELLIPSOID_KM = 1e5  # an axis of the Earth below this is in km
_MIN_TOLERANCE, _TOLERANCE = 0.4, 0.001  # px and share of the grid by which pixel size and corners may disagree
_LENGTHS_OF_PROJ = r"(?<=\+)(a|b|R|x_0|y_0)=([-+.\deE]+)"


class Placement(NamedTuple):
    """Where a frame lies: (W,) and (H,) coordinates of pixel centres in metres, and their PROJ string or WKT."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    crs: str


def to_levels(values: Values, metadata: Metadata, zr: ZR) -> Levels:
    """Convert the values of a frame to levels, by their unit and transform.

    The metadata's threshold is not used, and its zerovalue only for decibels of rain, where no value means zero:
    both are often taken from the frame, so that they mean nothing in an all-dry or all-wet one.

    Args:
        values: (H, W) values, NaN where there are no data.
        metadata: Has ``unit`` (mm/h or its equivalents, mm, dBZ), ``transform`` (None or dB) and, for mm, ``accutime``
            in minutes.
        zr: The Z-R relation for reflectivity.

    Returns:
        (H, W) uint8 levels, 0 where there are no data.

    Raises:
        DamagedFile: The unit or transform is unknown, or a value is beyond what radars measure.
    """
    unit, transform = str(metadata.get("unit") or "").strip(), metadata.get("transform")
    if transform not in (None, "", "dB"):
        raise DamagedFile(f"the values are transformed by {transform!r}, expected none or dB")
    valid = ~np.isnan(values)
    if unit.lower() == "dbz":
        return from_reflectivity(values, zr, valid)
    hours = _hours(metadata) if unit.lower() in MILLIMETRES else None
    factor = MM_PER_HOUR.get(unit.lower()) if hours is None else 1.0 / hours
    if factor is None:
        raise DamagedFile(f"the unit is {unit or 'not known'!r}, expected mm/h, mm or dBZ")
    if transform == "dB":
        values = _from_decibels(values, metadata, factor)
    return from_rate(values * factor, valid)


def _hours(metadata: Metadata) -> float:
    minutes = _number(metadata, "accutime")
    if minutes <= 0:
        raise DamagedFile(f"accumulated over {minutes:g} minutes, expected more than 0")
    return minutes / 60.0


def _from_decibels(values: Values, metadata: Metadata, factor: float) -> Values:
    """Undo 10 log10; what is not above the zero value and less than DRY_BELOW is 0."""
    rain = 10.0 ** (values / 10.0)
    zero = metadata.get("zerovalue")
    dry = values <= zero if isinstance(zero, int | float | np.number) and np.isfinite(zero) else np.isneginf(values)
    return np.asarray(np.where(dry & (rain * factor < DRY_BELOW), 0.0, rain))


def relation(metadata: Metadata, default: ZR) -> ZR:
    """The Z-R relation of the metadata (``zr_a``, ``zr_b``), or ``default`` if it has none."""
    a, b = (metadata.get(name) for name in ("zr_a", "zr_b"))
    if a is None or b is None:
        return default
    a, b = _number(metadata, "zr_a"), _number(metadata, "zr_b")
    if min(a, b) <= 0:
        raise DamagedFile(f"the Z-R relation is Z = {a:g} R^{b:g}, expected numbers above 0")
    return ZR(a, b)


def is_south_first(metadata: Metadata) -> bool:
    """Whether the first row of the values is the southern one. Raises DamagedFile if the metadata do not tell."""
    origin = metadata.get("yorigin")
    if origin not in ("upper", "lower"):
        raise DamagedFile(f"yorigin is {origin!r}, so north is unknown; expected upper or lower")
    return bool(origin == "lower")


def place(metadata: Metadata, shape: tuple[int, int]) -> Placement:
    """The coordinates of a frame's pixels, west to east and north to south.

    A grid in degrees is laid out in metres by the equidistant cylindrical projection that is true to scale at its
    middle latitude, in which equal steps of longitude and latitude remain equal steps: nothing is resampled.

    Args:
        metadata: Has ``projection``, the corners ``x1``, ``y1``, ``x2``, ``y2`` and ``cartesian_unit``;
            ``xpixelsize`` and ``ypixelsize`` decide whether the corners are those of pixels or their centres.
        shape: (H, W) of the frame.

    Raises:
        DamagedFile: One of them is missing, or they contradict each other.
    """
    missing = [name for name in ("projection", "x1", "y1", "x2", "y2", "cartesian_unit") if metadata.get(name) is None]
    if missing:
        raise DamagedFile(f"without georeference: the metadata lack {', '.join(missing)}")
    unit, projection = str(metadata["cartesian_unit"]).strip().lower(), " ".join(str(metadata["projection"]).split())
    x, y = _axis(metadata, "x", shape[1]), _axis(metadata, "y", shape[0])[::-1]
    if unit in METRES:
        return Placement(x * METRES[unit], y * METRES[unit], in_metres(projection, unit))
    if unit not in ("degrees", "degree", "deg"):
        raise DamagedFile(f"coordinates are in {unit!r}, expected m, km or degrees")
    if np.abs(y).max() > 90:
        raise DamagedFile(f"latitudes from {y[-1]:g} to {y[0]:g} degrees")
    longitude, latitude = float(x[0] + x[-1]) / 2, float(y[0] + y[-1]) / 2
    scale = math.radians(EARTH_RADIUS)
    crs = f"+proj=eqc +lat_ts={latitude:.6f} +lon_0={longitude:.6f} +R={EARTH_RADIUS:.0f} +units=m"
    return Placement((x - longitude) * scale * math.cos(math.radians(latitude)), y * scale, crs)


def in_metres(projection: str, unit: str) -> str:
    """A PROJ string for coordinates in metres, from one for coordinates in ``unit``; other text is left as it is."""
    if METRES[unit] != METRES_PER_KM or not projection.startswith("+"):
        return projection
    if "+units=km" in projection:
        return projection.replace("+units=km", "+units=m")
    axis = re.search(r"\+(?:a|R)=([-+.\deE]+)", projection)
    if axis is None or float(axis[1]) > _MAX_ELLIPSOID_KM:
        return projection
    return re.sub(_LENGTHS_OF_PROJ, lambda m: f"{m[1]}={float(m[2]) * METRES_PER_KM:.15g}", projection)


def _axis(metadata: Metadata, axis: str, size: int) -> npt.NDArray[np.float64]:
    """(size,) increasing coordinates of pixel centres, in the unit of the metadata."""
    first, last = _number(metadata, f"{axis}1"), _number(metadata, f"{axis}2")
    if first >= last:
        raise DamagedFile(f"{axis}1 is {first:g} and {axis}2 is {last:g}, expected the smaller first")
    span, size_given = last - first, metadata.get(f"{axis}pixelsize")
    step = span / size if size_given is None else abs(_number(metadata, f"{axis}pixelsize"))
    # Some services give the centres of the outermost pixels as corners: an offset of 0 px.
    excess = {offset: abs(span - step * (size - 1 + 2 * offset)) for offset in (0.5, 0.0)}
    offset = min(excess, key=lambda key: excess[key])
    if not excess[offset] <= step * max(_MIN_TOLERANCE, _TOLERANCE * size):
        raise DamagedFile(
            f"{size} pixels of {step:g} do not reach from {axis}1 = {first:g} to {axis}2 = {last:g}, their corners"
        )
    return np.asarray(first + step * (np.arange(size) + offset))


def _number(metadata: Metadata, name: str) -> float:
    value: Any = metadata.get(name)
    try:
        number = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError) as error:
        raise DamagedFile(f"{name} is {value!r}, expected a number") from error
    if not math.isfinite(number):
        raise DamagedFile(f"{name} is {number}, expected a finite number")
    return number
