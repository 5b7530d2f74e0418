"""Writing a dataset, in bounded memory: a zarr store, which can be continued, or a netCDF file."""

import os
import shutil
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numcodecs import Zstd
from zarr.codecs import ZstdCodec

from hko7env.archive import Archive
from hko7env.archive.format import CHUNK, TIME_CHUNK
from hko7env.damage import DAMAGE
from hko7env.export.config import ExportConfig
from hko7env.export.georeference import georeference
from hko7env.export.layout import FRAME, RAIN, Array, Layout, Rates, make_layout, rain_rates, rain_table
from hko7env.export.rules import broken_rules
from hko7env.locking import sole_writer

SUFFIXES = (".zarr", ".nc")
BATCH_FRAMES, BATCH_VALUES = 12 * CHUNK, 1 << 23  # that are in memory at once
_LEVEL = 3  # of zstd
_CHANGING = "mlcast_created_on"  # the attribute that differs between two exports of one archive

Step = Callable[[int], Any]
Version = Literal[2, 3]  # of the zarr format
_VERSIONS: dict[str, Version] = {"2": 2, "3": 3}


def export_archive(
    archive: Archive, out: Path, config: ExportConfig | None = None, *, step: Step | None = None
) -> list[str]:
    """Write an archive as a dataset, which appears at ``out`` once it is complete.

    A zarr store that was interrupted lies in a hidden folder beside ``out``; the same call continues it. A netCDF file
    begins anew.

    Args:
        archive: The archive.
        out: Ends in ``.zarr`` (a store by the mlcast specification) or ``.nc`` (netCDF 4, which needs h5netcdf).
        config: Options.
        step: Called with the number of frames just written, or found from an earlier call.

    Returns:
        The rules of the mlcast specification that the dataset breaks, each with a remedy if there is one.

    Raises:
        FileExistsError: There is something at ``out``.
        ValueError: The suffix is unknown, the archive is empty or its rain rates are not distinguished in float32, or
            h5netcdf is not installed.
        ArchiveError: A frame is damaged; a ValueError.
        LockedError: Another process writes to ``out``; a ValueError.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"a dataset is written to a path that ends in {' or '.join(SUFFIXES)}, got {out}")
    if not len(archive):
        raise ValueError(f"{archive.name} holds no frame to export")
    chosen, report = config or ExportConfig(), step or (lambda frames: None)
    table, place = rain_table(archive), georeference(archive)
    layout = make_layout(archive, chosen, place)
    with sole_writer(out):
        if out.exists():
            raise FileExistsError(f"{out} exists already: choose another name")
        if out.suffix == ".zarr":
            _write_zarr(out, archive, layout, table, _VERSIONS[chosen.zarr_format], report)
        else:
            _write_netcdf(out, archive, layout, table, report)
    return broken_rules(archive, layout, place)


def _batches(archive: Archive, begin: int) -> Iterator[tuple[int, int]]:
    size = _batch_size(archive)
    for start in range(begin, len(archive), size):
        yield start, min(start + size, len(archive))


def _batch_size(archive: Archive) -> int:
    """A multiple of the frames in a chunk of the archive, so that each chunk is decoded once."""
    return max(min(BATCH_FRAMES, BATCH_VALUES // archive.mask.size) // CHUNK, 1) * CHUNK


# ---------------------------------------------------------------- zarr


def _write_zarr(out: Path, archive: Archive, layout: Layout, table: Rates, version: Version, step: Step) -> None:
    partial = out.with_name(f".{out.name}.partial")
    group = _begun(partial, layout, version)
    if group is None:
        shutil.rmtree(partial, ignore_errors=True)
        group = _make_store(partial, archive, layout, version)
    rain: Any = group[RAIN]
    done = _frames_written(partial, archive, version)
    step(done)
    for start, stop in _batches(archive, done):
        rain[start:stop] = rain_rates(archive, table, start, stop)
        step(stop - start)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part", UserWarning)
        zarr.consolidate_metadata(group.store)
    partial.rename(out)


def _begun(partial: Path, layout: Layout, version: Version) -> zarr.Group | None:
    """The store that an earlier call began, or None if there is none of this archive and these options."""
    if not partial.exists():
        return None
    try:
        group = zarr.open_group(partial, mode="r+", zarr_format=version, use_consolidated=False)
        found = dict(group.attrs)
    except DAMAGE:  # stopped while it was made, or of the other version: nothing in it is worth keeping
        return None
    same = {**found, _CHANGING: ""} == {**layout.attributes, _CHANGING: ""}
    return group if same else None


def _make_store(path: Path, archive: Archive, layout: Layout, version: Version) -> zarr.Group:
    """Make a store without frames; its attributes are written last, so that a half-made one is recognized."""
    group = zarr.open_group(path, mode="w-", zarr_format=version)
    for name, array in layout.arrays.items():
        stored = _make_array(group, name, array.values.shape, array.values.dtype, array, version)
        stored[...] = array.values
    rain = Array(np.empty(0), FRAME, layout.rain)
    _make_array(group, RAIN, (len(archive), *archive.shape), np.dtype(np.float32), rain, version)
    group.attrs.update(layout.attributes)
    return group


def _make_array(
    group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], array: Array, version: Version
) -> Any:
    is_rain = name == RAIN
    chunks = (1, *shape[1:]) if is_rain else tuple(min(size, TIME_CHUNK) for size in shape)
    about = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in array.attributes.items()}
    if version == 2:
        about |= {"_ARRAY_DIMENSIONS": list(array.dimensions)}
        special: dict[str, Any] = {
            "compressors": Zstd(level=_LEVEL, checksum=True),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
            "fill_value": np.float32(np.nan) if is_rain else None,  # a number would be read as missing
        }
    else:
        special = {
            "compressors": ZstdCodec(level=_LEVEL, checksum=True),
            "dimension_names": array.dimensions,
            "fill_value": np.float32(np.nan) if is_rain else 0,
        }
    return group.create_array(
        name, shape=shape, dtype=dtype, chunks=chunks, attributes=about, config={"write_empty_chunks": True}, **special
    )


def _frames_written(partial: Path, archive: Archive, version: Version) -> int:
    """Number of frames of complete batches: a stopped writer may have written those of its last one in any order."""
    folder = partial / RAIN / "c" if version == 3 else partial / RAIN
    first_missing = bisect_left(range(len(archive)), True, key=lambda i: not (folder / str(i) / "0" / "0").exists())
    return first_missing if first_missing == len(archive) else first_missing - first_missing % _batch_size(archive)


# ---------------------------------------------------------------- netCDF


def _write_netcdf(out: Path, archive: Archive, layout: Layout, table: Rates, step: Step) -> None:
    try:
        import h5netcdf  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError("writing netCDF needs h5netcdf: pip install 'hko7env[xarray]'") from error
    partial = out.with_name(f".{out.stem}.{os.getpid()}.partial.nc")
    try:
        with h5netcdf.File(partial, "w") as file:
            _make_variables(file, archive, layout)
            rain = file.variables[RAIN]
            for start, stop in _batches(archive, 0):
                rain[start:stop] = rain_rates(archive, table, start, stop)
                step(stop - start)
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)


def _make_variables(file: Any, archive: Archive, layout: Layout) -> None:
    file.attrs.update(layout.attributes)
    for name, array in layout.arrays.items():
        for dimension, size in zip(array.dimensions, array.values.shape, strict=True):
            if dimension not in file.dimensions:
                file.dimensions[dimension] = size
        variable = file.create_variable(name, array.dimensions, array.values.dtype, data=array.values)
        variable.attrs.update(array.attributes)
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    options = {"chunks": (1, *archive.shape), "fillvalue": np.float32(np.nan), **packed}
    file.create_variable(RAIN, FRAME, "f4", **options).attrs.update(layout.rain)
