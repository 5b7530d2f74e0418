"""netCDF files and zarr stores as xarray datasets, and what is checked before xarray reads the coordinates."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hko7env.damage import DamagedFile
from hko7env.importers import ImportProblem
from hko7env.importers._hdf5 import check_size, check_written, open_file

AXIS = 1 << 22  # values of a coordinate: forty years of frames
_HDF5, _NETCDF3 = b"\x89HDF", b"CDF"


def check_axes(path: Path) -> None:
    """Raise DamagedFile if a coordinate at ``path`` is longer than AXIS, or an HDF5 file would stop the library."""
    if path.is_dir():
        for name, array in zarr.open_group(path, mode="r").arrays():
            _check_axis(name, array.shape)
    elif _kind(path) == _HDF5:
        with open_file(path) as file:
            for name in file:
                _check_axis(name, getattr(file.get(name), "shape", None))


def open_dataset(path: Path) -> Any:
    """The dataset at ``path``, coordinates read, other arrays not read yet; :func:`check_axes` comes first.

    Raises ImportProblem if xarray is not installed, one of DAMAGE for what is no netCDF or zarr.
    """
    try:
        import h5netcdf  # type: ignore[import-untyped]
        import xarray
    except ImportError as error:
        raise ImportProblem("reading CF data needs xarray and h5netcdf: pip install 'hko7env[xarray]'") from error
    if path.is_dir():
        return xarray.open_zarr(path)
    try:
        return xarray.open_dataset(path, engine="h5netcdf" if _kind(path) == _HDF5 else "scipy")
    except h5netcdf.CompatibilityError as error:
        raise DamagedFile(str(error)) from error


def check_frames(variable: Any) -> None:
    """Raise DamagedFile if a frame of ``variable`` (T, H, W), or a chunk of it, is larger than any frame may be."""
    check_size(variable.name, variable.shape, variable.encoding.get("chunksizes") or variable.encoding.get("chunks"))


def check_whole(path: Path, names: list[str]) -> None:
    """Raise DamagedFile if an array of an HDF5 file was not written in full and would read as numbers all the same.

    A zarr store that lacks chunks cannot be told from one that leaves out chunks of its fill value, which is legal.
    """
    if path.is_dir() or _kind(path) != _HDF5:
        return
    with open_file(path) as file:
        for name in names:
            dataset = file[name]
            fill = np.asarray(dataset.attrs.get("_FillValue", math.nan)).reshape(-1)[:1]
            if not np.array_equal(fill, [dataset.fillvalue], equal_nan=True):  # xarray has no NaN for it
                check_written(name, dataset)


def _kind(path: Path) -> bytes:
    with path.open("rb") as file:
        begin = file.read(4)
    for kind in (_HDF5, _NETCDF3):
        if begin.startswith(kind):
            return kind
    raise DamagedFile("neither netCDF nor a zarr store")


def _check_axis(name: str, shape: tuple[int, ...] | None) -> None:
    if shape is not None and len(shape) == 1 and shape[0] > AXIS:
        raise DamagedFile(f"{name} has {shape[0]} values, expected at most {AXIS}")
