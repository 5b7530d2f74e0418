"""Writing forecasts to a netCDF file or zarr store that can be scored, one after another, in bounded memory."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hko7env.archive import Archive
from hko7env.archive.format import ARRAYS, NO_TIME, iso
from hko7env.archive.georeference import crs_attributes
from hko7env.forecast import check_forecast, check_range
from hko7env.forecast_files.conversion import KNOWN_UNITS, Pixels, from_pixels, is_known
from hko7env.schedule import LEADS

SUFFIXES = (".zarr", ".nc")
VARIABLE, ISSUE_TIME, LEAD = "forecast", "issue_time", "lead"
PIXELS = MappingProxyType({VARIABLE: "pixel"})
MAIN = "forecast_variable"  # attribute of a file with several variables: the one that a reader takes
_QUANTITIES = {"1": "pixel", "pixel": "pixel", "dbz": "reflectivity"}  # in mm/h: rain_rate
_NAMES = {"1": "radar pixel", "pixel": "radar pixel", "dbz": "radar reflectivity"}  # in mm/h: rain rate


def write(
    path: str | Path,
    forecasts: Iterable[tuple[int, npt.NDArray[np.float32]]],
    archive: Archive,
    *,
    units: str | Sequence[str] = "pixel",
    attributes: Mapping[str, str] | None = None,
) -> int:
    """Write forecasts to a new file of the layout that :mod:`hko7env.forecast_files` describes.

    The file appears once it is complete. Each forecast is compressed and carries a checksum, and is read back exactly
    in ``pixel``, to 1e-6 of a pixel in other units.

    Args:
        path: Ends in ``.zarr`` (a store) or ``.nc`` (netCDF 4, which needs h5netcdf).
        forecasts: Pairs of issue time, in minutes since 1970-01-01 and increasing, and (K, H, W) float32 pixels in
            [0, 1]. K is the same for all. They are taken one at a time.
        archive: The archive whose frames are forecast; it gives grid, cadence and Z-R relation.
        units: ``pixel``, ``dBZ``, or a rain rate such as ``mm/h``; of several, each gives a variable: ``pixel``,
            ``reflectivity``, ``rain_rate``. A reader takes the first.
        attributes: Further attributes of the file, such as ``title``, ``source`` and ``institution``.

    Returns:
        The number of forecasts.

    Raises:
        FileExistsError: There is something at ``path``.
        ForecastError: A forecast is malformed; a ValueError.
        ValueError: The suffix or units are unknown, issue times do not increase, there is no forecast, or h5netcdf is
            not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"forecasts are written to a {' or '.join(SUFFIXES)} file, got {path}")
    variables = _name_variables([units] if isinstance(units, str) else units)
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    stored = {"Conventions": "CF-1.11", "zr_a": archive.zr.a, "zr_b": archive.zr.b, **(attributes or {})}
    if len(variables) > 1:
        stored[MAIN] = next(iter(variables))
    make = _write_zarr if path.suffix == ".zarr" else _write_netcdf
    try:
        count = make(temporary, _checked(forecasts, archive), archive, variables, stored)
        if not count:
            raise ValueError("there is no forecast to write")
        temporary.rename(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
    return count


def _name_variables(units: Sequence[str]) -> dict[str, str]:
    """The units of each variable of a file, by its name. Raises ValueError for units that no forecast has."""
    named = {}
    for one in units:
        if not is_known(one.lower()):
            raise ValueError(f"units of a forecast are one of {', '.join(KNOWN_UNITS)}, got {one!r}")
        named[VARIABLE if len(units) == 1 else _QUANTITIES.get(one.lower(), "rain_rate")] = one
    if not units or len(named) < len(units):
        raise ValueError(f"expected units of different quantities, got {', '.join(units) or 'none'}")
    return named


def _checked(
    forecasts: Iterable[tuple[int, npt.NDArray[np.float32]]], archive: Archive
) -> Iterable[tuple[int, Pixels]]:
    """The forecasts, each checked."""
    before, leads = None, LEADS
    for issue_time, forecast in forecasts:
        if not isinstance(issue_time, int | np.integer):
            raise ValueError(f"an issue time is in whole minutes since 1970-01-01, got {issue_time!r}")
        if before is None and isinstance(forecast, np.ndarray) and forecast.ndim == 3:
            leads = len(forecast)
        elif before is not None and issue_time <= before:
            raise ValueError(f"issue times must increase, got {iso(int(issue_time))} after {iso(before)}")
        check_forecast(forecast, (leads, *archive.shape), ("float32",))
        for lead, frame in enumerate(forecast):
            check_range(np.ascontiguousarray(frame).reshape(-1), lead)
        before = int(issue_time)
        yield before, forecast


def _describe(variables: Mapping[str, str], archive: Archive) -> dict[str, dict[str, Any]]:
    """The attributes of each array; ``variables`` are the units of the forecasts by name."""
    described: dict[str, dict[str, Any]] = {}
    for name, units in variables.items():
        known = {"units": "1" if units == "pixel" else units, "long_name": _NAMES.get(units.lower(), "rain rate")}
        if units == "pixel":
            known["comment"] = "a pixel is (dBZ + 10) / 70, in [0, 1]"
        described[name] = known | {"grid_mapping": "crs"}
    return described | {
        ISSUE_TIME: {
            "standard_name": "forecast_reference_time", "units": "minutes since 1970-01-01",
            "calendar": "proleptic_gregorian",
        },
        LEAD: {"standard_name": "forecast_period", "units": "minutes"},
        "y": ARRAYS["y"][3],
        "x": ARRAYS["x"][3],
        "crs": ARRAYS["crs"][3] | crs_attributes(archive.crs),
    }  # fmt: skip


def make_store(
    path: Path,
    archive: Archive,
    leads: int,
    *,
    issue_times: Sequence[int] = (),
    variables: Mapping[str, str] = PIXELS,
    levels: bool = False,
    attributes: Mapping[str, Any],
) -> zarr.Group:
    """Make a zarr store of the layout, without forecasts; their arrays have one chunk for each issue time.

    Args:
        path: The store, which does not exist.
        archive: The archive whose frames are forecast.
        leads: Number K of lead times.
        issue_times: Minutes since 1970-01-01, increasing.
        variables: The units of each array of forecasts, by its name.
        levels: Whether forecasts are stored as uint8 levels, which a reader scales to pixels, not as float32.
        attributes: Attributes of the group.
    """
    group = zarr.open_group(path, mode="w-", zarr_format=3)
    group.attrs.update(attributes)
    described, frames = _describe(variables, archive), (leads, *archive.shape)
    if levels:
        for name in variables:
            described[name]["scale_factor"] = 1 / 255

    def make(name: str, values: npt.NDArray[Any], *dimensions: str, chunks: tuple[int, ...], fill: Any = 0) -> None:
        array = group.create_array(
            name, shape=values.shape, dtype=values.dtype, dimension_names=dimensions, attributes=described[name],
            chunks=chunks, fill_value=fill, compressors=[ZstdCodec(level=1), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )  # fmt: skip
        if name not in variables and values.size:
            array[...] = values

    for name, axis in (("y", archive.y), ("x", archive.x)):
        make(name, axis, name, chunks=axis.shape, fill=np.nan)
    make("crs", np.zeros((), np.int32), chunks=())
    make(ISSUE_TIME, np.array(issue_times, np.int64), ISSUE_TIME, chunks=(4096,), fill=NO_TIME)
    make(LEAD, archive.cadence * np.arange(1, leads + 1), LEAD, chunks=(leads,))
    empty = np.broadcast_to(np.uint8(0) if levels else np.float32(0), (len(issue_times), *frames))
    for name in variables:
        make(name, empty, ISSUE_TIME, LEAD, "y", "x", chunks=(1, *frames), fill=0 if levels else np.nan)
    return group


def _write_zarr(
    path: Path,
    forecasts: Iterable[tuple[int, Pixels]],
    archive: Archive,
    variables: Mapping[str, str],
    attributes: dict[str, Any],
) -> int:
    times: list[int] = []
    for issue_time, pixels in forecasts:
        if not times:
            group = make_store(path, archive, len(pixels), variables=variables, attributes=attributes)
            arrays: dict[str, Any] = {name: group[name] for name in variables}
        times.append(issue_time)
        for name, units in variables.items():
            arrays[name].resize((len(times), *pixels.shape))
            arrays[name][len(times) - 1] = from_pixels(pixels, units.lower(), archive.zr)
    if times:
        axis: Any = group[ISSUE_TIME]
        axis.resize((len(times),))
        axis[...] = np.array(times, np.int64)
    return len(times)


def _write_netcdf(
    path: Path,
    forecasts: Iterable[tuple[int, Pixels]],
    archive: Archive,
    variables: Mapping[str, str],
    attributes: dict[str, Any],
) -> int:
    try:
        import h5netcdf  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError("writing netCDF needs h5netcdf: pip install 'hko7env[xarray]'") from error
    described, count = _describe(variables, archive), 0
    with h5netcdf.File(path, "w") as file:
        file.attrs.update(attributes)

        def make(name: str, dimensions: tuple[str, ...], dtype: Any, values: Any = None, **options: Any) -> Any:
            variable = file.create_variable(name, dimensions, dtype, data=values, **options)
            variable.attrs.update(described[name])
            return variable

        file.dimensions = {ISSUE_TIME: None, "y": archive.shape[0], "x": archive.shape[1]}
        for name, axis in (("y", archive.y), ("x", archive.x)):
            make(name, (name,), "f8", axis)
        make("crs", (), "i4", np.zeros((), np.int32))
        times = make(ISSUE_TIME, (ISSUE_TIME,), "i8", chunks=(4096,))
        for issue_time, pixels in forecasts:
            if not count:
                file.dimensions[LEAD] = len(pixels)
                make(LEAD, (LEAD,), "i8", archive.cadence * np.arange(1, len(pixels) + 1))
                packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
                options = {"chunks": (1, *pixels.shape), "fillvalue": np.float32(np.nan), **packed}
                arrays = {name: make(name, (ISSUE_TIME, LEAD, "y", "x"), "f4", **options) for name in variables}
            count += 1
            file.resize_dimension(ISSUE_TIME, count)
            times[count - 1] = issue_time
            for name, units in variables.items():
                arrays[name][count - 1] = from_pixels(pixels, units.lower(), archive.zr)
    return count
