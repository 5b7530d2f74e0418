"""Any CF netCDF file or zarr store of rain or reflectivity over (time, y, x), opened by xarray.

The variable is the one over time, y and x whose standard name or units are those of reflectivity, of a rain rate or of
the rain of a time step. Coordinates must be lengths. What :mod:`hko7env.export` wrote becomes the same archive again.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.archive.format import FORMAT as ARCHIVE_FORMAT
from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.archive.store import is_local
from hko7env.damage import DamagedFile, reason
from hko7env.importers.contract import DecodedFrame, Format, Grid, RadarImportError
from hko7env.importers.dataset import check_axes, check_complete, is_store, open_dataset
from hko7env.importers.levels import MARSHALL_PALMER, describe_conversion, formula, from_rate, from_reflectivity
from hko7env.importers.rain_dataset import (
    AMOUNT,
    REFLECTIVITY,
    REGULAR_FROM,
    Choice,
    RainDataset,
    by_units,
    describe,
)
from hko7env.units import HKO7

_CLIENTS = ("aiohttp", "aiobotocore", "botocore")  # whose errors are not all OSError
_METADATA = ("zarr.json", ".zmetadata", ".zgroup")  # one of them changes when a store grows


class Cf(Format):
    """netCDF files and zarr stores by the CF conventions; a file or store holds any number of frames."""

    reads_urls = True
    choose: Choice = staticmethod(by_units)

    def sources(self, source: Path | str) -> list[Path]:
        """The zarr stores and netCDF files at or below ``source``."""
        if isinstance(source, str):
            return [source]  # type: ignore[list-item]  # a URL, see Format.reads_urls
        if source.is_file() or any((source / name).exists() for name in _METADATA):
            return [source]
        kinds = {".nc": Path.is_file, ".zarr": Path.is_dir}
        found = [p for p in sorted(source.rglob("*")) if p.suffix in kinds and kinds[p.suffix](p)]
        return [p for p in found if not any(parent in found for parent in p.parents)]

    def times_of(self, path: Path | str) -> list[int] | None:
        """The times in the file, cut to the minute, or None if it holds no rain or reflectivity over time.

        Frames before the time step is regular are left out.

        Raises:
            DamagedFile: Frames are larger than any radar's, values were never written, or a time is NaT. That values
                were written is checked here only, because an import calls this method once for each file.
        """
        with _connected(path):
            check_axes(path)
            _open_store.cache_clear()  # a store at a URL may have grown
            with _reading(path, self.choose) as rain:
                if rain is None:
                    return None
                self.check(rain)
                names = [str(rain.variable.name), *map(str, rain.variable.dims)]
            check_complete(path, names)
        return [int(time) for time in rain.axis.times[rain.axis.first :]]

    def check(self, rain: RainDataset) -> None:
        """Raise DamagedFile for a dataset that breaks a rule of this format."""

    def coverage_id(self, path: Path | str) -> str:
        """The coordinates: all files of a source must lie on one grid."""
        with _connected(path), _reading(path, self.choose) as rain:
            assert rain is not None
            y, x = rain.y, rain.x
            return f"a grid of {len(y)} x {len(x)} from {y[0]:g}, {x[0]:g} to {y[-1]:g}, {x[-1]:g}"

    def grid(self, path: Path | str) -> Grid:
        """The grid of the coordinates, or all that an exported archive says of itself."""
        with _connected(path), _reading(path, self.choose) as rain:
            assert rain is not None
            grid = _grid(rain, Path(path).name)
            return grid if rain.facts is None else _grid_of_archive(rain, grid)

    def read_at(self, path: Path | str, number: int) -> DecodedFrame:
        """Read rain or reflectivity; there are no data where the value is NaN."""
        with _connected(path), _reading(path, self.choose) as rain:
            assert rain is not None
            stored = rain.axis.first + number
            values = rain.frame(stored)
            valid = ~np.isnan(values)
            if is_store(path):
                _check_present(rain, values)
        zr = HKO7 if rain.facts is None else rain.facts.zr
        status = None if rain.facts is None else int(rain.facts.status[stored])
        if rain.quantity.kind == REFLECTIVITY:
            source = MARSHALL_PALMER if rain.facts is None else zr
            return DecodedFrame(from_reflectivity(values, source, valid, zr), ~valid, status)
        return DecodedFrame(from_rate(values, valid, zr), ~valid, status)


def _grid(rain: RainDataset, name: str) -> Grid:
    variable, attributes = rain.variable, rain.data.attrs
    mapping = rain.data.variables.get(variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping", "")))
    kind, units = rain.quantity.kind, variable.attrs.get("units", "")
    steps = f" by {rain.axis.shortest} min" if kind == AMOUNT else ""
    since = f", from {attributes[REGULAR_FROM]} on" if rain.axis.first else ""
    gaps_are_listed = "missing_times" in rain.data.variables or kind == AMOUNT
    return Grid(
        shape=(len(rain.y), len(rain.x)),
        cadence=rain.axis.shortest if gaps_are_listed else 0,
        mask=np.where(rain.outside, OUT_OF_RANGE, SCORED).astype(np.uint8),
        x=rain.x,
        y=rain.y,
        crs=_crs({} if mapping is None else mapping.attrs),
        source=_text(attributes.get("source") or attributes.get("title") or name),
        licence=_text(attributes.get("licence") or attributes.get("license") or ""),
        attributes=describe_conversion(
            f"{variable.name} in {units}{steps} to mm/h{since}",
            f"{formula(MARSHALL_PALMER)}, for reflectivity only",
        ),
    )


def _grid_of_archive(rain: RainDataset, grid: Grid) -> Grid:
    facts, (flip_y, flip_x) = rain.facts, rain.flips
    assert facts is not None
    return Grid(
        shape=grid.shape,
        cadence=facts.cadence,
        mask=facts.mask[::flip_y, ::flip_x],
        x=grid.x,
        y=grid.y,
        crs=facts.crs,
        source=_text(facts.attributes.get("source", "")),
        licence=_text(facts.attributes.get("licence", "")),
        attributes=facts.attributes,
        splits=facts.splits,
        zr=facts.zr,
    )


def _check_present(rain: RainDataset, values: Any) -> None:
    """Raise DamagedFile if a frame looks like a chunk that is missing and whose fill value is a number.

    A missing chunk of NaN makes the frame suspect. Where the fill value is, say, 0, the frame would be dry, also out of
    the radar's range.
    """
    if rain.outside.any() and (values == values[0, 0]).all():
        raise DamagedFile(f"it is {values[0, 0]:g} everywhere, also out of the radar's range: a chunk is missing")


def _crs(grid_mapping: Mapping[str, Any]) -> str:
    """The PROJ string or WKT of a grid mapping if it has one, else all its CF attributes as JSON."""
    for name in ("proj4", "crs_wkt", "spatial_ref"):
        if grid_mapping.get(name):
            return _text(grid_mapping[name])
    plain = {name: np.asarray(value).tolist() for name, value in grid_mapping.items()}
    return json.dumps(plain, sort_keys=True) if plain else ""


def _text(attribute: object) -> str:
    return str(attribute).encode("utf-8", "replace").decode()


# ---------------------------------------------------------------- opening


@contextmanager
def _reading(place: Path | str, choose: Choice) -> Iterator[RainDataset | None]:
    """The dataset of a file, closed afterwards, or of a store, which stays open for its next frame."""
    if is_store(place):
        yield _open_store(place, _changed_at(place), choose)
        return
    with open_dataset(place) as data:
        yield describe(data, choose)


@lru_cache(maxsize=1)
def _open_store(place: Path | str, changed_at: tuple[int, ...], choose: Choice) -> RainDataset | None:
    """The dataset of a store; opening it takes longer than reading a frame."""
    data = open_dataset(place)
    if data.attrs.get("format") == ARCHIVE_FORMAT:
        raise RadarImportError(f"{place} is an archive already: use it, or copy it with hko7env archive pack")
    return describe(data, choose)


def _changed_at(place: Path | str) -> tuple[int, ...]:
    if not is_local(place):
        return ()
    files = [Path(place) / name for name in _METADATA]
    return tuple(file.stat().st_mtime_ns for file in files if file.exists())


@contextmanager
def _connected(place: Path | str) -> Iterator[None]:
    """Stop the import for a URL that cannot be read, because frames that are left out cannot be added later."""
    try:
        yield
    except (DamagedFile, RadarImportError):
        raise
    except Exception as error:
        of_network = isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _CLIENTS
        if is_local(place) or not of_network:
            raise
        raise RadarImportError(
            f"{place} cannot be read ({reason(error)}): check the connection; the same command continues the import"
        ) from error


FORMAT = Cf()
