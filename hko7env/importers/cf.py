"""Any CF netCDF file or zarr store of reflectivity or rain rate over (time, y, x), opened by xarray.

The variable is the one over time, y and x whose units are those of reflectivity or rain rate. Reflectivity becomes rain
by Z = 200 R^1.6 and then, like rain, a level by HKO-7's relation. Coordinates must be lengths.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import FORMAT, OUT_OF_RANGE, SCORED
from hko7env.damage import DamagedFile
from hko7env.importers import Grid, ImportProblem, Seen
from hko7env.importers._dataset import check_axes, check_frames, check_whole, open_dataset
from hko7env.importers._levels import from_rate, from_reflectivity
from hko7env.units import ZR

SOURCE_ZR = ZR(200.0, 1.6)
TO_MM_PER_HOUR = {  # units -> factor; water of 1 kg m-2 is 1 mm deep
    "mm/h": 1.0, "mm h-1": 1.0, "mm/hr": 1.0, "mm hr-1": 1.0, "kg m-2 h-1": 1.0,
    "kg m-2 s-1": 3600.0, "mm s-1": 3600.0, "m s-1": 3.6e6,
}  # fmt: skip

LENGTHS = {"m": 1.0, "metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0, "km": 1000.0, "kilometre": 1000.0}


def sources(source: Path) -> list[Path]:
    """The zarr stores and netCDF files at or under ``source``."""
    if source.is_file() or (source / "zarr.json").exists() or (source / ".zgroup").exists():
        return [source]
    kinds = {".nc": Path.is_file, ".zarr": Path.is_dir}
    found = [p for p in sorted(source.rglob("*")) if p.suffix in kinds and kinds[p.suffix](p)]
    return [p for p in found if not any(parent in found for parent in p.parents)]


def times_of(path: Path) -> list[int] | None:
    """Minutes of each time in the file, to the minute, or None if it holds no rain or reflectivity over time.

    The file is checked here, once: raises DamagedFile for frames larger than any radar's, values that were never
    written, and NaT.
    """
    check_axes(path)
    with _open(path) as data:
        name = _variable(data)
        if name is None:
            return None
        check_frames(data[name])
        axes = [str(dimension) for dimension in data[name].dims]
        times = data[axes[0]].values
        none = np.flatnonzero(np.isnat(times))
        if len(none):
            raise DamagedFile(f"{axes[0]} number {none[0]} is no time (NaT)")
    check_whole(path, [name, *axes])
    return [int(t) for t in times.astype("datetime64[m]").astype(np.int64)]


def place_of(path: Path) -> str:
    """The coordinates: all files of a source must lie on one grid."""
    with _open(path) as data:
        _, _, y, x = _axes(data, data[_variable(data)])
    return f"a grid of {len(y)} x {len(x)} from {y[0]:g}, {x[0]:g} to {y[-1]:g}, {x[-1]:g}"


def grid(path: Path) -> Grid:
    """The grid by the coordinates; what is NaN in the first frame is out of range."""
    with _open(path) as data:
        variable = data[_variable(data)]
        flip_y, flip_x, y, x = _axes(data, variable)
        first = np.asarray(variable[0].values)[::flip_y, ::flip_x]
        mapping = data.get(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "")))
        reference = {} if mapping is None else mapping.attrs
        return Grid(
            shape=(len(y), len(x)),
            cadence=0,
            mask=np.where(np.isnan(first), OUT_OF_RANGE, SCORED).astype(np.uint8),
            x=x,
            y=y,
            crs=_reference(reference),
            source=_text(data.attrs.get("source") or data.attrs.get("title") or path.name),
            licence=_text(data.attrs.get("licence") or data.attrs.get("license") or ""),
            attributes={
                "source_zr": "Z = 200 R^1.6, for reflectivity only",
                "conversion": f"{variable.name} in {_units(variable)} to mm/h, then level by Z = 58.53 R^1.56",
            },
        )


def read_at(path: Path, number: int) -> Seen:
    """(H, W) uint8 levels of frame ``number``, and where it is NaN. Raises DamagedFile for what no radar gives."""
    with _open(path) as data:
        variable = data[_variable(data)]
        flip_y, flip_x, _, _ = _axes(data, variable)
        values = np.asarray(variable[number].values, np.float64)[::flip_y, ::flip_x]
    here, units = ~np.isnan(values), _units(variable)
    if units == "dbz":
        return Seen(from_reflectivity(values, SOURCE_ZR, here), ~here)
    return Seen(from_rate(values * TO_MM_PER_HOUR[units], here), ~here)


def _reference(mapping: dict[str, Any]) -> str:
    """PROJ string or WKT if the grid mapping has one, else all its CF attributes as JSON."""
    for name in ("proj4", "crs_wkt", "spatial_ref"):
        if mapping.get(name):
            return _text(mapping[name])
    plain = {name: np.asarray(value).tolist() for name, value in mapping.items()}
    return json.dumps(plain, sort_keys=True) if plain else ""


def _open(path: Path) -> Any:
    data = open_dataset(path)
    if data.attrs.get("format") == FORMAT:
        raise ImportProblem(f"{path} is an archive already: use it as it is, or copy it with archive.py pack")
    return data


def _text(attribute: object) -> str:
    return str(attribute).encode("utf-8", "replace").decode()


def _units(variable: Any) -> str:
    return str(variable.attrs.get("units", "")).strip().lower()


def _variable(data: Any) -> str | None:
    """Name of the variable over time, y and x that is reflectivity or rain. Raises ValueError if there are several."""
    found = [
        str(name)
        for name, variable in data.data_vars.items()
        if variable.ndim == 3
        and np.issubdtype(data[variable.dims[0]].dtype, np.datetime64)
        and (_units(variable) == "dbz" or _units(variable) in TO_MM_PER_HOUR)
    ]
    if len(found) > 1:
        raise DamagedFile(f"several variables could be meant: {', '.join(found)}; keep one")
    return found[0] if found else None


def _axes(data: Any, variable: Any) -> tuple[int, int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Steps that turn the grid north up and west left, and its coordinates so turned."""
    y, x = (_metres(data, d) for d in variable.dims[1:])
    flip_y, flip_x = (-1 if len(y) > 1 and y[1] > y[0] else 1), (-1 if len(x) > 1 and x[1] < x[0] else 1)
    return flip_y, flip_x, y[::flip_y], x[::flip_x]


def _metres(data: Any, dimension: Any) -> npt.NDArray[np.float64]:
    """A coordinate in metres. Raises ValueError if it is missing or no length."""
    if dimension not in data.coords:
        raise DamagedFile(f"dimension {dimension} has no coordinate, so north and west are unknown")
    units = str(data[dimension].attrs.get("units", "m")).strip().lower()
    factor = LENGTHS.get(units)
    if factor is None:
        raise DamagedFile(f"coordinate {dimension} is in {units}, expected m or km: project it")
    found = np.asarray(data[dimension].values, np.float64) * factor
    if not found.size or not np.isfinite(found).all():
        raise DamagedFile(f"coordinate {dimension} has no or not only finite values")
    return found
