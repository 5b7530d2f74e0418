"""The layout of a forecast file, read from an open xarray dataset: its variable, axes and grid, checked."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import iso
from hko7env.archive.georeference import crs_of
from hko7env.damage import DAMAGE, DamagedFile, reason
from hko7env.forecast_files.conversion import KNOWN_UNITS, is_known
from hko7env.importers.contract import RadarImportError
from hko7env.importers.levels import METRES
from hko7env.units import ZR

MINUTES = {  # units of time -> minutes
    "": 1.0, "minutes": 1.0, "minute": 1.0, "min": 1.0, "hours": 60.0, "hour": 60.0, "h": 60.0, "hr": 60.0,
    "days": 1440.0, "day": 1440.0, "d": 1440.0, "seconds": 1 / 60, "second": 1 / 60, "s": 1 / 60, "sec": 1 / 60,
    "milliseconds": 1 / 60e3, "microseconds": 1 / 60e6, "nanoseconds": 1 / 60e9,
}  # fmt: skip
DIMENSIONS = "(issue time, lead time, y, x)"
_SECOND = 1 / 60  # minutes by which a time may differ from a whole minute
_SHIFT = 0.05  # of a grid cell, by which coordinates may differ from the archive's


class ForecastFileError(ValueError):
    """A file of forecasts that cannot be scored; the message names the file, the reason and a remedy."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise ForecastFileError with the name of the file for whatever damage raises inside."""
    try:
        with np.errstate(all="ignore"):  # overflow shows in the values, which are checked
            yield
    except (ForecastFileError, RadarImportError):
        raise
    except DamagedFile as error:  # of our own checks, with a remedy
        raise ForecastFileError(f"{path}: {reason(error)}") from error
    except DAMAGE as error:
        raise ForecastFileError(
            f"{path} is damaged or of another format ({reason(error)}): copy it again, or write it anew"
        ) from error


class Layout(NamedTuple):
    """What a file holds, and how its values become frames of the archive.

    Attributes:
        variable: Name of the variable of forecasts.
        units: Its units in lower case.
        zr: Z-R relation of its reflectivity.
        issue_times: (n,) int64 minutes since 1970-01-01, increasing.
        leads: (m,) int64 minutes, increasing.
        flips: Steps, 1 or -1, along y and x that put north first and west first.
        notes: What could not be checked.
    """

    variable: str
    units: str
    zr: ZR
    issue_times: npt.NDArray[np.int64]
    leads: npt.NDArray[np.int64]
    flips: tuple[int, int]
    notes: tuple[str, ...]


def read_layout(data: Any, archive: Archive) -> Layout:
    """Read and check the layout of an open ``xarray.Dataset``, times decoded and time differences not.

    Raises:
        DamagedFile: The dataset does not follow the layout, or its grid is not the archive's.
    """
    name = _variable_name(data)
    variable = data[name]
    shape = tuple(variable.shape[2:])
    if shape != archive.shape:
        raise DamagedFile(
            f"{name} has frames of {shape[0]} x {shape[1]}, the archive of {archive.shape[0]} x {archive.shape[1]}: "
            "interpolate the forecasts to its grid"
        )
    issue, lead, y, x = map(str, variable.dims)
    flips = (_flip(data, y, archive.y, northward=True), _flip(data, x, archive.x, northward=False))
    notes = _compare_crs(data, variable, archive.crs)
    return Layout(
        name,
        _units(variable),
        _zr(data, variable, archive),
        _issue_times(data, issue),
        _leads(data, lead),
        flips,
        notes,
    )


def _units(variable: Any) -> str:
    return str(variable.attrs.get("units", "")).strip().lower()


def _variable_name(data: Any) -> str:
    over_four = {str(name): variable for name, variable in data.data_vars.items() if variable.ndim == 4}
    if not over_four:
        sizes = {str(name): variable.dims for name, variable in data.data_vars.items() if variable.ndim > 1}
        shown = ", ".join(f"{name} {dims}" for name, dims in list(sizes.items())[:5]) or "none"
        raise DamagedFile(f"no variable has the dimensions {DIMENSIONS}; variables: {shown}")
    found = [name for name, variable in over_four.items() if is_known(_units(variable))]
    if len(found) > 1 and data.attrs.get("forecast_variable") in found:
        found = [str(data.attrs["forecast_variable"])]
    if len(found) > 1:
        raise DamagedFile(
            f"several variables could be the forecast: {', '.join(found)}; keep one, or name it in the attribute "
            "forecast_variable of the file"
        )
    if not found:
        shown = ", ".join(
            f"{name} in {variable.attrs.get('units', 'no units')!r}" for name, variable in over_four.items()
        )
        raise DamagedFile(f"{shown}: the units of a forecast are one of {', '.join(KNOWN_UNITS)}")
    if not np.issubdtype(over_four[found[0]].dtype, np.number) or over_four[found[0]].dtype.kind == "c":
        raise DamagedFile(f"{found[0]} holds {over_four[found[0]].dtype}, expected numbers")
    return found[0]


def _zr(data: Any, variable: Any, archive: Archive) -> ZR:
    a, b = (variable.attrs.get(name, data.attrs.get(name)) for name in ("zr_a", "zr_b"))
    if a is None and b is None:
        return archive.zr
    if a is None or b is None:
        raise DamagedFile("of the attributes zr_a and zr_b only one is there: give both or none")
    try:
        return ZR(float(a), float(b))
    except (TypeError, ValueError) as error:
        raise DamagedFile(f"attributes zr_a and zr_b: {error}") from error


def _coordinate(data: Any, dimension: str, meaning: str) -> Any:
    if dimension not in data.coords:
        raise DamagedFile(f"dimension {dimension} has no coordinate, so {meaning} is unknown")
    return data[dimension]


def _issue_times(data: Any, dimension: str) -> npt.NDArray[np.int64]:
    values = _coordinate(data, dimension, "the issue time").values
    if not np.issubdtype(values.dtype, np.datetime64):
        raise DamagedFile(
            f"{dimension}, the first dimension, is no time: its units must be like 'minutes since 1970-01-01', and "
            f"the dimensions in the order {DIMENSIONS}"
        )
    missing = np.flatnonzero(np.isnat(values))
    if len(missing):
        raise DamagedFile(f"{dimension} number {missing[0]} is not a time (NaT)")
    since = values - np.datetime64("1970-01-01T00:00", "m")
    minutes = _whole_minutes(since / np.timedelta64(1, "s") / 60, dimension)
    _check_increasing(dimension, [iso(int(time)) for time in _offenders(minutes)])
    return minutes


def _leads(data: Any, dimension: str) -> npt.NDArray[np.int64]:
    coordinate = _coordinate(data, dimension, "the lead time")
    values, units = coordinate.values, str(coordinate.attrs.get("units", "")).strip().lower()
    if np.issubdtype(values.dtype, np.timedelta64):
        values, units = values / np.timedelta64(1, "s"), "seconds"
    if values.dtype.kind not in "iuf" or units not in MINUTES:
        raise DamagedFile(
            f"{dimension}, the second dimension, is {values.dtype} in {units or 'no units'!r}, expected lead times in "
            f"minutes, and the dimensions in the order {DIMENSIONS}"
        )
    minutes = _whole_minutes(values * MINUTES[units], dimension)
    _check_increasing(dimension, [f"{lead} min" for lead in _offenders(minutes)])
    return minutes


def _whole_minutes(values: npt.NDArray[np.floating[Any]], dimension: str) -> npt.NDArray[np.int64]:
    if not len(values):
        raise DamagedFile(f"{dimension} is empty")
    whole: npt.NDArray[np.floating[Any]] = np.rint(values)
    if not (np.abs(values - whole) <= _SECOND).all() or np.abs(whole).max() > 1e12:
        raise DamagedFile(f"{dimension} has values that are no whole minutes")
    minutes: npt.NDArray[np.int64] = whole.astype(np.int64)
    return minutes


def _offenders(values: npt.NDArray[np.int64]) -> list[int]:
    """The first pair of values that does not increase, or nothing."""
    wrong = np.flatnonzero(np.diff(values) <= 0)
    return values[wrong[0] : wrong[0] + 2].tolist() if len(wrong) else []


def _check_increasing(dimension: str, pair: list[str]) -> None:
    if not pair:
        return
    if pair[0] == pair[1]:
        raise DamagedFile(f"{dimension} has {pair[0]} twice: keep one forecast of each")
    raise DamagedFile(f"{dimension} is not sorted, {pair[1]} follows {pair[0]}: sort the file by it")


def _flip(data: Any, dimension: str, expected: npt.NDArray[np.float64], *, northward: bool) -> int:
    """The step, 1 or -1, along a dimension that gives the archive's order: y decreasing, x increasing.

    Raises:
        DamagedFile: The coordinate is missing, no length, or not the archive's.
    """
    coordinate = _coordinate(data, dimension, "north" if northward else "west")
    units = str(coordinate.attrs.get("units", "")).strip().lower()
    name = "y" if northward else "x"
    remedy = f"give it the archive's {name} (hko7env.archive.Archive(...).{name})"
    if (units and units not in METRES) or coordinate.dtype.kind not in "iuf":
        raise DamagedFile(f"coordinate {dimension} is in {units or coordinate.dtype}, expected m or km: {remedy}")
    values = np.asarray(coordinate.values, np.float64) * METRES.get(units, 1.0)
    if not np.isfinite(values).all():
        raise DamagedFile(f"coordinate {dimension} has values that are not finite: {remedy}")
    steps = np.diff(values)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise DamagedFile(f"coordinate {dimension} neither increases nor decreases: {remedy}")
    turned = len(values) > 1 and bool(steps[0] > 0) == northward
    ordered = values[::-1] if turned else values
    spacing = abs(float(np.diff(expected).mean())) if len(expected) > 1 else 1.0
    distance = float(np.abs(ordered - expected).max())
    if distance <= _SHIFT * spacing:
        if turned and not units and _is_default(expected):
            raise DamagedFile(
                f"coordinate {dimension} counts {'from south to north' if northward else 'from east to west'}, which "
                f"may be meant as row numbers: {remedy}, or units m if it is right"
            )
        return -1 if turned else 1
    if _is_default(expected) and units:  # the archive has no georeference
        return -1 if turned else 1
    raise DamagedFile(
        f"coordinate {dimension} differs from the archive's by up to {distance / spacing:.3g} grid cells: "
        f"interpolate the forecasts to its grid, or {remedy}"
    )


def _is_default(axis: npt.NDArray[np.float64]) -> bool:
    """Whether the archive's coordinate only counts rows or columns, as in an archive made without coordinates."""
    return bool(np.array_equal(np.sort(axis), np.arange(len(axis))))


def _compare_crs(data: Any, variable: Any, expected: str) -> tuple[str, ...]:
    """Compare the projections. Raises DamagedFile if they disagree; returns a note if they cannot be compared."""
    mapping = data.get(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "")))
    found = crs_of(mapping.attrs) if mapping is not None else ""
    if not found or not expected:
        return ("the projection was not compared: it is unknown in the file or in the archive",)
    if found == expected:
        return ()
    if not (found.startswith("+") and expected.startswith("+")):
        return ("the projection was not compared: file and archive describe it in different ways",)
    here, there = _parameters(found), _parameters(expected)
    for key in sorted(set(here) & set(there)):
        if not _agree(here[key], there[key]):
            raise DamagedFile(
                f"the projection is {found}, the archive's {expected}: +{key} differs; interpolate the forecasts to "
                "the archive's grid"
            )
    return ()


def _parameters(proj: str) -> dict[str, str]:
    """The parameters of a PROJ string by name."""
    pairs = (word.lstrip("+").partition("=") for word in proj.split())
    return {key: value for key, _, value in pairs if key not in ("units", "no_defs", "type")}


def _agree(here: str, there: str) -> bool:
    try:
        return math.isclose(float(here), float(there), rel_tol=1e-6, abs_tol=1e-6)
    except ValueError:
        return here == there
