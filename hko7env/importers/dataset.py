"""netCDF files and zarr stores as xarray datasets, and checks before xarray reads the coordinates."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hko7env.damage import DamagedFile
from hko7env.importers.contract import RadarImportError
from hko7env.importers.hdf5 import check_size, check_written, open_file

MAX_AXIS = 1 << 22  # values of a coordinate: forty years of frames
_HDF5, _NETCDF3 = b"\x89HDF", b"CDF"  # first bytes


def check_axes(path: Path) -> None:
    """Check the coordinates before :func:`open_dataset` reads them.

    Raises:
        DamagedFile: One has more than MAX_AXIS values, the file is neither netCDF nor a zarr store, or an HDF5 file
            is damaged so that the library would loop for ever.
    """
    if path.is_dir():
        for name, array in zarr.open_group(path, mode="r").arrays():
            _check_axis(name, array.shape)
    elif _signature(path) == _HDF5:
        with open_file(path) as file:
            for name in file:
                _check_axis(name, getattr(file.get(name), "shape", None))


def open_dataset(path: Path, **options: Any) -> Any:
    """Open a file or store as ``xarray.Dataset``; coordinates are read, other arrays when they are used.

    Call :func:`check_axes` before.

    Args:
        path: The file or store.
        **options: Passed to xarray, such as ``decode_timedelta``.

    Raises:
        RadarImportError: xarray or h5netcdf is not installed.
        DamagedFile: The file is neither netCDF nor a zarr store.
    """
    try:
        import h5netcdf  # type: ignore[import-untyped]
        import xarray
    except ImportError as error:
        raise RadarImportError("reading CF data needs xarray and h5netcdf: pip install 'hko7env[xarray]'") from error
    if path.is_dir():
        consolidated = (
            zarr.open_group(path, mode="r").metadata.consolidated_metadata is not None
        )  # as check_axes read it
        return xarray.open_zarr(path, consolidated=consolidated, **options)
    try:
        return xarray.open_dataset(path, engine="h5netcdf" if _signature(path) == _HDF5 else "scipy", **options)
    except h5netcdf.CompatibilityError as error:
        raise DamagedFile(str(error)) from error


def check_frames(variable: Any) -> None:
    """Raise DamagedFile if a frame or a chunk of ``variable`` (T, H, W) is larger than a frame may be."""
    check_size(variable.name, variable.shape, variable.encoding.get("chunksizes") or variable.encoding.get("chunks"))


def check_complete(path: Path, names: list[str]) -> None:
    """Check that arrays of an HDF5 file were written in full, unless unwritten values read as NaN.

    In a zarr store a lost chunk cannot be distinguished from one of fill values that was left out legally, so stores
    are not checked.

    Args:
        path: The file or store.
        names: The arrays.

    Raises:
        DamagedFile: A part of an array was never written.
    """
    if path.is_dir() or _signature(path) != _HDF5:
        return
    with open_file(path) as file:
        for name in names:
            dataset = file[name]
            fill = np.asarray(dataset.attrs.get("_FillValue", math.nan)).reshape(-1)[:1]
            if not np.array_equal(fill, [dataset.fillvalue], equal_nan=True):  # xarray would not read it as NaN
                check_written(name, dataset)


def _signature(path: Path) -> bytes:
    with path.open("rb") as file:
        begin = file.read(4)
    for kind in (_HDF5, _NETCDF3):
        if begin.startswith(kind):
            return kind
    raise DamagedFile("neither netCDF nor a zarr store")


def _check_axis(name: str, shape: tuple[int, ...] | None) -> None:
    if shape is not None and len(shape) == 1 and shape[0] > MAX_AXIS:
        raise DamagedFile(f"{name} has {shape[0]} values, expected at most {MAX_AXIS}")
