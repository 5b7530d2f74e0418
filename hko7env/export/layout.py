"""The layout of a dataset: its arrays with dimensions and CF attributes, and its attributes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

import hko7env
from hko7env.archive import Archive
from hko7env.archive.format import ARRAYS, GOOD, OUT_OF_RANGE, iso
from hko7env.export.config import ExportConfig
from hko7env.export.georeference import Georeference
from hko7env.importers.archive_facts import FACTS, MASK, STATUS, facts_text
from hko7env.importers.dataset import MAX_AXIS
from hko7env.importers.rain_dataset import REGULAR_FROM
from hko7env.units import dbz, level, pixel

RAIN = "rainfall_flux"
FRAME = ("time", "y", "x")
VALIDATOR = "0.4.0"  # of the community's validator whose rules are followed

Rates = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Array:
    """An array that is written at once: values, dimensions and attributes."""

    values: npt.NDArray[Any]
    dimensions: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Layout:
    """A dataset without its frames.

    Attributes:
        attributes: Those of the dataset.
        arrays: The arrays besides rain, by name.
        rain: The attributes of the array of rain rates over (time, y, x).
        missing_times: (n,) minutes since 1970-01-01 of the frames that are missing.
    """

    attributes: dict[str, Any]
    arrays: dict[str, Array]
    rain: dict[str, Any]
    missing_times: npt.NDArray[np.int64]


def make_layout(archive: Archive, config: ExportConfig, place: Georeference) -> Layout:
    """Describe the dataset of an archive.

    Args:
        archive: The archive.
        config: Texts to store.
        place: Its georeference.
    """
    missing = missing_times(archive)
    values: dict[str, npt.NDArray[Any]] = {
        "time": archive.times,
        STATUS: archive.status,
        MASK: archive.mask,
        "y": archive.y,
        "x": archive.x,
    }
    arrays = {name: _like_archive(name, array) for name, array in values.items()}
    arrays["crs"] = Array(np.zeros((), np.int32), (), {"long_name": ARRAYS["crs"][3]["long_name"], **place.attributes})
    if 0 < len(missing) <= MAX_AXIS:
        about = {key: value for key, value in ARRAYS["time"][3].items() if key in ("units", "calendar")}
        about["long_name"] = "times at which frames are missing"
        arrays["missing_times"] = Array(missing, ("missing_times",), about)
    for name, degrees, units in (
        ("latitude", place.latitude, "degrees_north"), ("longitude", place.longitude, "degrees_east"),
    ):  # fmt: skip
        if degrees is not None:
            arrays[name] = Array(degrees, FRAME[1:], {"standard_name": name, "long_name": name, "units": units})
    rain = {
        "standard_name": RAIN, "long_name": "rain rate", "units": "kg m-2 h-1", "grid_mapping": "crs",
        "ancillary_variables": f"{STATUS} {MASK}",
    }  # fmt: skip
    if place.latitude is not None:
        rain["coordinates"] = "latitude longitude"
    return Layout(_attributes(archive, config, len(missing) > 0), arrays, rain, missing)


def missing_times(archive: Archive) -> npt.NDArray[np.int64]:
    """(n,) int64 minutes since 1970-01-01 of the frames that are missing between the first and the last."""
    begins = archive.times[:-1][np.diff(archive.times) > archive.cadence]
    ends = archive.times[1:][np.diff(archive.times) > archive.cadence]
    gaps = [np.arange(begin + archive.cadence, end, archive.cadence) for begin, end in zip(begins, ends, strict=True)]
    return np.concatenate([np.empty(0, np.int64), *gaps])


def rain_table(archive: Archive) -> Rates:
    """The (256,) float32 rain rate in mm/h of each level; level 0, no echo, is 0.

    Raises:
        ValueError: By the Z-R relation of the archive, levels cannot be had from rain rates in float32.
    """
    levels = np.arange(256)
    with np.errstate(over="ignore", under="ignore"):
        rates = np.where(levels > 0, archive.zr.rate(dbz(levels / 255)), 0.0).astype(np.float32)
        again = level(pixel(archive.zr.dbz(rates.astype(np.float64))))
    if not np.isfinite(rates).all() or not np.array_equal(again, levels):
        zr = archive.zr
        raise ValueError(
            f"{archive.name}: by Z = {zr.a:g} R^{zr.b:g} float32 rain rates do not distinguish all levels; the archive "
            "cannot be exported"
        )
    return rates


def rain_rates(archive: Archive, table: Rates, start: int, stop: int) -> Rates:
    """(stop - start, H, W) float32 mm/h of the frames ``start`` to ``stop - 1``, NaN where nothing is known."""
    levels = archive.frames(start, stop)
    unknown = (archive.mask == OUT_OF_RANGE) | (archive.status[start:stop] != GOOD)[:, None, None]
    rates = table[levels]
    rates[unknown & (levels == 0)] = np.nan
    return rates


def _like_archive(name: str, values: npt.NDArray[Any]) -> Array:
    _, _, dimensions, about = ARRAYS[name]
    about = {key: np.array(value, np.uint8) if key == "flag_values" else value for key, value in about.items()}
    return Array(values, dimensions, about)


def _attributes(archive: Archive, config: ExportConfig, gaps: bool) -> dict[str, Any]:
    licence = config.licence or str(archive.attributes.get("licence") or "")
    if licence.startswith("CC BY"):  # as services write it
        licence = licence.replace(" ", "-")
    optional = {
        "license": licence,
        "mlcast_created_by": config.created_by,
        "mlcast_dataset_version": config.dataset_version,
        "mlcast_dataset_identifier": config.identifier,
        REGULAR_FROM: iso(archive.times[0]) if gaps else None,
    }
    return {
        "Conventions": "CF-1.11",
        "title": "radar rain rates",
        "source": str(archive.attributes.get("source") or "unknown"),
        "coordinates": f"{STATUS} {MASK}",
        "mlcast_created_on": datetime.now(UTC).isoformat(timespec="seconds"),
        "mlcast_created_with": config.created_with or f"hko7env@{hko7env.__version__}",
        "mlcast_dataset_validator_version": VALIDATOR,
        **{name: text for name, text in optional.items() if text},
        FACTS: facts_text(archive),
    }
