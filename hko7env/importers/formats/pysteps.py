"""Files of any service that pysteps or one of its plug-ins reads, as ``pysteps:NAME``, such as ``pysteps:fmi_pgm``.

The rain comes from pysteps' importer of that name. pysteps gives no times: they are read from the names of the files.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from hko7env.archive.format import OUT_OF_RANGE, SCORED
from hko7env.damage import DamagedFile
from hko7env.importers.contract import DecodedFrame, Grid, Mask, OneFrameFormat, RadarImportError
from hko7env.importers.levels import describe_conversion, formula
from hko7env.importers.pysteps_importers import conversion
from hko7env.importers.pysteps_importers.library import (
    Metadata,
    Values,
    call,
    check_arguments,
    find_importer,
    parameters,
)
from hko7env.importers.pysteps_importers.services import SERVICES, Service, check_file
from hko7env.importers.timestamps import NamedTime, compile_pattern, find_time
from hko7env.units import ZR

EXAMPLE = "fmi_pgm"

_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Config:
    """Options of an import by pysteps."""

    timestamp: Annotated[
        str | None,
        "where the UTC time stands in the names of files, such as %Y/%m/%d/rain_%H%M; none: look for it",
    ] = None
    arguments: Annotated[str, "arguments of the importer, such as qty=DBZH or product=RZC,unit=mm/h,accutime=5"] = ""
    accutime: Annotated[float | None, "minutes of accumulation of values in mm; none: those of the files"] = None
    zr_a: Annotated[float | None, "a of Z = a R^b for reflectivity; none: that of the importer or service"] = None
    zr_b: Annotated[float | None, "b of Z = a R^b for reflectivity; none: that of the importer or service"] = None


class PystepsFormat(OneFrameFormat):
    """Files that one of pysteps' importers reads.

    Args:
        name: The importer, such as ``fmi_pgm``.
        config: The options.

    Raises:
        RadarImportError: pysteps is not installed or has no such importer, or an option is not valid.
    """

    def __init__(self, name: str, config: Config) -> None:
        self.name, self.config = name.lower(), config
        self.given = _parse_arguments(config.arguments)
        if (config.zr_a is None) != (config.zr_b is None):
            raise RadarImportError("zr_a and zr_b belong together: give both or none")
        self.zr = ZR(config.zr_a, config.zr_b) if config.zr_a is not None and config.zr_b is not None else None
        if config.accutime is not None and not 0 < config.accutime < float("inf"):
            raise RadarImportError(f"accutime is {config.accutime:g} minutes, expected more than 0")
        if config.timestamp is not None:
            compile_pattern(config.timestamp)
        check_arguments(self.name, find_importer(self.name), self.given)

    @property
    def _service(self) -> Service:
        return SERVICES.get(self.name, Service())

    def time_of(self, path: Path) -> int | None:
        """The time in the name, which is taken for UTC."""
        found = self._find_time(path)
        return None if found is None else found.minute

    def times_of(self, path: Path) -> list[int] | None:
        """The time of the one frame. Raises DamagedFile, with the remedy, if the name holds none."""
        time = self.time_of(path)
        if time is None:
            raise DamagedFile('its name holds no time: say where it stands, such as timestamp="%Y%m%d%H%M"')
        return [time]

    def coverage_id(self, path: Path) -> str:
        """The name without its time."""
        found = self._find_time(path)
        return path.name if found is None else found.rest

    def grid(self, path: Path) -> Grid:
        """The grid of the metadata; out of range is what has no data in this file."""
        values, metadata = self._read(path)
        place = conversion.place(metadata, (values.shape[0], values.shape[1]))
        unit = str(metadata.get("unit") or "")
        zr = formula(self._relation(metadata)) if unit.lower() == "dbz" else "none: the files hold rain"
        by = f" by {zr}" if unit.lower() == "dbz" else ""
        return Grid(
            shape=(values.shape[0], values.shape[1]),
            cadence=0,
            mask=np.where(np.isnan(values), OUT_OF_RANGE, SCORED).astype(np.uint8),
            x=place.x,
            y=place.y,
            crs=place.crs,
            source=f"{metadata.get('institution') or 'unknown service'}, read by pysteps:{self.name}",
            licence=self._service.licence,
            attributes=describe_conversion(f"{unit} to mm/h{by}", zr),
        )

    def read(self, path: Path) -> DecodedFrame:
        """Read a frame; there are no data where pysteps gives NaN."""
        values, metadata = self._read(path)
        no_data: Mask = np.isnan(values)
        return DecodedFrame(conversion.to_levels(values, metadata, self._relation(metadata)), no_data)

    def _find_time(self, path: Path) -> NamedTime | None:
        pattern = self.config.timestamp
        if pattern is not None:
            return find_time("/".join(path.parts[-1 - pattern.count("/") :]), pattern)
        other = self._service.timestamp
        return find_time(path.name) or (None if other is None else find_time(path.name, other))

    def _relation(self, metadata: Metadata) -> ZR:
        return self.zr or conversion.relation(metadata, self._service.zr)

    def _read(self, path: Path) -> tuple[Values, Metadata]:
        """(H, W) float64 values, northern row first, and their metadata."""
        check_file(path, gzip_allowed=self.name == "fmi_pgm")
        importer, prepared = find_importer(self.name), self._service.prepare(path, self.given)
        arguments = prepared.arguments | self.given
        if self.config.accutime is not None and "accutime" in parameters(importer):
            arguments["accutime"] = self.config.accutime
        values, metadata = prepared.correct(*call(self.name, importer, path, arguments))
        if self.config.accutime is not None:
            metadata["accutime"] = self.config.accutime
        return (values[::-1] if conversion.is_south_first(metadata) else values), metadata


def _parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of ``name=value,name=value``: numbers, true, false, none, or text."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, word = (side.strip() for side in part.partition("="))
        if not equals or not name.isidentifier():
            raise RadarImportError(f"{part!r} in arguments is not name=value")
        found[name] = _value(word)
    return found


def _value(word: str) -> Any:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if re.fullmatch(r"[-+]?\d+", word):
        return int(word)
    try:
        return float(word)
    except ValueError:
        return word


def make(name: str, config: Config) -> PystepsFormat:
    """Make the format of one importer of pysteps."""
    return PystepsFormat(name, config)
