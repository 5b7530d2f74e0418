"""Any CF netCDF file or zarr store of reflectivity or rain rate over (time, y, x), opened by xarray.

The variable is the one over time, y and x whose units are those of reflectivity or rain rate. Coordinates must be
lengths.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import FORMAT as ARCHIVE_FORMAT
from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Format, Grid, RadarImportError
from hko7env.importers.dataset import check_axes, check_complete, check_frames, open_dataset
from hko7env.importers.levels import (
    MARSHALL_PALMER,
    METRES,
    MM_PER_HOUR,
    describe_conversion,
    formula,
    from_rate,
    from_reflectivity,
)


class Cf(Format):
    """netCDF files and zarr stores by the CF conventions; a file or store holds any number of frames."""

    def sources(self, source: Path) -> list[Path]:
        """The zarr stores and netCDF files at or below ``source``."""
        if source.is_file() or (source / "zarr.json").exists() or (source / ".zgroup").exists():
            return [source]
        kinds = {".nc": Path.is_file, ".zarr": Path.is_dir}
        found = [p for p in sorted(source.rglob("*")) if p.suffix in kinds and kinds[p.suffix](p)]
        return [p for p in found if not any(parent in found for parent in p.parents)]

    def times_of(self, path: Path) -> list[int] | None:
        """The times in the file, cut to the minute, or None if it holds no rain or reflectivity over time.

        Raises:
            DamagedFile: Frames are larger than any radar's, values were never written, or a time is NaT. These are
                checked here only, because an import calls this method once for each file.
        """
        check_axes(path)
        with _open(path) as data:
            name = _variable_name(data)
            if name is None:
                return None
            check_frames(data[name])
            axes = [str(dimension) for dimension in data[name].dims]
            times = data[axes[0]].values
            missing = np.flatnonzero(np.isnat(times))
            if len(missing):
                raise DamagedFile(f"{axes[0]} number {missing[0]} is not a time (NaT)")
        check_complete(path, [name, *axes])
        return [int(t) for t in times.astype("datetime64[m]").astype(np.int64)]

    def coverage_id(self, path: Path) -> str:
        """The coordinates: all files of a source must lie on one grid."""
        with _open(path) as data:
            _, _, y, x = _axes(data, data[_variable_name(data)])
        return f"a grid of {len(y)} x {len(x)} from {y[0]:g}, {x[0]:g} to {y[-1]:g}, {x[-1]:g}"

    def grid(self, path: Path) -> Grid:
        """The grid of the coordinates; out of range is what is NaN in the first frame."""
        with _open(path) as data:
            variable = data[_variable_name(data)]
            flip_y, flip_x, y, x = _axes(data, variable)
            first = np.asarray(variable[0].values)[::flip_y, ::flip_x]
            mapping = data.get(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "")))
            return Grid(
                shape=(len(y), len(x)),
                cadence=0,
                mask=np.where(np.isnan(first), OUT_OF_RANGE, SCORED).astype(np.uint8),
                x=x,
                y=y,
                crs=_crs({} if mapping is None else mapping.attrs),
                source=_text(data.attrs.get("source") or data.attrs.get("title") or path.name),
                licence=_text(data.attrs.get("licence") or data.attrs.get("license") or ""),
                attributes=describe_conversion(
                    f"{variable.name} in {_units(variable)} to mm/h",
                    f"{formula(MARSHALL_PALMER)}, for reflectivity only",
                ),
            )

    def read_at(self, path: Path, number: int) -> DecodedFrame:
        """Read rain rate or reflectivity; there are no data where the value is NaN."""
        with _open(path) as data:
            variable = data[_variable_name(data)]
            flip_y, flip_x, _, _ = _axes(data, variable)
            values = np.asarray(variable[number].values, np.float64)[::flip_y, ::flip_x]
        valid, units = ~np.isnan(values), _units(variable)
        if units == "dbz":
            return DecodedFrame(from_reflectivity(values, MARSHALL_PALMER, valid), ~valid)
        return DecodedFrame(from_rate(values * MM_PER_HOUR[units], valid), ~valid)


def _crs(grid_mapping: Mapping[str, Any]) -> str:
    """The PROJ string or WKT of a grid mapping if it has one, else all its CF attributes as JSON."""
    for name in ("proj4", "crs_wkt", "spatial_ref"):
        if grid_mapping.get(name):
            return _text(grid_mapping[name])
    plain = {name: np.asarray(value).tolist() for name, value in grid_mapping.items()}
    return json.dumps(plain, sort_keys=True) if plain else ""


def _open(path: Path) -> Any:
    data = open_dataset(path)
    if data.attrs.get("format") == ARCHIVE_FORMAT:
        raise RadarImportError(f"{path} is an archive already: use it, or copy it with hko7env.archive.pack")
    return data


def _text(attribute: object) -> str:
    return str(attribute).encode("utf-8", "replace").decode()


def _units(variable: Any) -> str:
    return str(variable.attrs.get("units", "")).strip().lower()


def _variable_name(data: Any) -> str | None:
    """Name of the variable of reflectivity or rain over time, y and x. Raises DamagedFile if there are several."""
    found = [
        str(name)
        for name, variable in data.data_vars.items()
        if variable.ndim == 3
        and np.issubdtype(data[variable.dims[0]].dtype, np.datetime64)
        and (_units(variable) == "dbz" or _units(variable) in MM_PER_HOUR)
    ]
    if len(found) > 1:
        raise DamagedFile(f"several variables are rain or reflectivity: {', '.join(found)}; keep one")
    return found[0] if found else None


def _axes(data: Any, variable: Any) -> tuple[int, int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Steps (1 or -1) along y and x that put north first and west first, and y and x in that order in metres."""
    y, x = (_metres(data, d) for d in variable.dims[1:])
    flip_y, flip_x = (-1 if len(y) > 1 and y[1] > y[0] else 1), (-1 if len(x) > 1 and x[1] < x[0] else 1)
    return flip_y, flip_x, y[::flip_y], x[::flip_x]


def _metres(data: Any, dimension: Any) -> npt.NDArray[np.float64]:
    """A coordinate in metres. Raises DamagedFile if it is missing or not a length."""
    if dimension not in data.coords:
        raise DamagedFile(f"dimension {dimension} has no coordinate, so north and west are unknown")
    units = str(data[dimension].attrs.get("units", "m")).strip().lower()
    factor = METRES.get(units)
    if factor is None:
        raise DamagedFile(f"coordinate {dimension} is in {units}, expected m or km: project it")
    values = np.asarray(data[dimension].values, np.float64) * factor
    if not values.size or not np.isfinite(values).all():
        raise DamagedFile(f"coordinate {dimension} is empty or has values that are not finite")
    return values


FORMAT = Cf()
