"""netCDF files and zarr stores as xarray datasets, and checks before xarray reads the coordinates."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hko7env.archive.store import is_local
from hko7env.damage import DamagedFile, reason
from hko7env.importers.contract import RadarImportError
from hko7env.importers.hdf5 import check_size, check_written, open_file

MAX_AXIS = 1 << 22  # values of a coordinate: forty years of frames
_HDF5, _NETCDF3 = b"\x89HDF", b"CDF"  # first bytes


def is_store(place: Path | str) -> bool:
    """Whether ``place`` is a zarr store, a folder or a URL, not a file."""
    return not is_local(place) or Path(place).is_dir()


def check_axes(place: Path | str) -> None:
    """Check the coordinates before :func:`open_dataset` reads them.

    Args:
        place: A file, or the folder or URL of a zarr store.

    Raises:
        RadarImportError: There is no zarr store at the URL, or a package that reads such URLs is not installed.
        DamagedFile: One has more than MAX_AXIS values, the file is neither netCDF nor a zarr store, or an HDF5 file
            is damaged so that the library would loop for ever.
    """
    if is_store(place):
        for name, array in _open_group(place).arrays():
            _check_axis(name, array.shape)
    elif _signature(Path(place)) == _HDF5:
        with open_file(Path(place)) as file:
            for name in file:
                _check_axis(name, getattr(file.get(name), "shape", None))


def open_dataset(place: Path | str, **options: Any) -> Any:
    """Open a file or store as ``xarray.Dataset``; coordinates are read, other arrays when they are used.

    Call :func:`check_axes` before.

    Args:
        place: A file, or the folder or URL of a zarr store.
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
    options = {"chunks": None, **options}  # without dask, whose graph would grow with the number of frames
    if is_store(place):
        consolidated = _open_group(place).metadata.consolidated_metadata is not None  # as check_axes read it
        return xarray.open_zarr(place, consolidated=consolidated, **options)
    engine = "h5netcdf" if _signature(Path(place)) == _HDF5 else "scipy"
    try:
        return xarray.open_dataset(place, engine=engine, **options)
    except h5netcdf.CompatibilityError as error:
        raise DamagedFile(str(error)) from error


def check_frames(variable: Any) -> None:
    """Raise DamagedFile if a frame or a chunk of ``variable`` (T, H, W) is larger than a frame may be."""
    check_size(variable.name, variable.shape, variable.encoding.get("chunksizes") or variable.encoding.get("chunks"))


def check_complete(place: Path | str, names: list[str]) -> None:
    """Check that arrays of an HDF5 file were written in full, unless unwritten values read as NaN.

    In a zarr store a lost chunk cannot be distinguished from one of fill values that was left out legally, so stores
    are not checked.

    Args:
        place: The file or store.
        names: The arrays.

    Raises:
        DamagedFile: A part of an array was never written.
    """
    if is_store(place) or _signature(Path(place)) != _HDF5:
        return
    with open_file(Path(place)) as file:
        for name in names:
            dataset = file[name]
            fill = np.asarray(dataset.attrs.get("_FillValue", math.nan)).reshape(-1)[:1]
            if not np.array_equal(fill, [dataset.fillvalue], equal_nan=True):  # xarray would not read it as NaN
                check_written(name, dataset)


def _open_group(place: Path | str) -> zarr.Group:
    try:
        return zarr.open_group(place, mode="r")
    except ImportError as error:
        raise RadarImportError(f"reading {place} needs a package that is not installed: {error}") from error
    except FileNotFoundError as error:
        if is_local(place):
            raise
        raise RadarImportError(f"there is no zarr store at {place} ({reason(error)}): check the URL") from error


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
