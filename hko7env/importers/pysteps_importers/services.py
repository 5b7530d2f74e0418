"""What each of pysteps' importers needs: its arguments, checks of the file, and corrections of what it returns.

An importer that is not listed, such as one of a plug-in, is called with the file alone and trusted.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.damage import DamagedFile, gunzip, read_bytes
from hko7env.importers.contract import RadarImportError
from hko7env.importers.formats import fmi, knmi
from hko7env.importers.hdf5 import check_size, check_written, open_file, read_text
from hko7env.importers.levels import FINNISH, MARSHALL_PALMER
from hko7env.importers.picture import read_picture
from hko7env.importers.pysteps_importers.library import Metadata, Values
from hko7env.importers.pysteps_importers.odim_arrays import read_odim_array
from hko7env.importers.pysteps_importers.radolan import read_radolan
from hko7env.units import ZR

SWISS = ZR(316.0, 1.5)  # of MeteoSwiss
SWISS_SIZE = (710, 640)  # px of MeteoSwiss' composites, to which pysteps ties their georeference
KNMI_COUNTS = {"ACRR": (0.01, 0.0), "DBZH": (0.5, -32.0)}  # pysteps takes a count for factor * count + offset
NO_ECHO = -32.0  # dBZ, level 0 by any service's relation

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"PK\3\4": "zip", b"\xfd7zXZ": "xz"}
_HDF5 = b"\x89HDF"
_KNMI_FORMULA = re.compile(r"GEO\s*=\s*([\d.]+)\s*\*\s*PV\s*([-+]\s*[\d.]+)?")
_SWISS_NAME = re.compile(r"([A-Z]{3})\d{9}._(\d{5})\.")

Correct = Callable[[Values, Metadata], tuple[Values, Metadata]]


def _unchanged(values: Values, metadata: Metadata) -> tuple[Values, Metadata]:
    return values, metadata


@dataclass(frozen=True, eq=False)
class Call:
    """How to read one file.

    Attributes:
        arguments: Arguments for the importer.
        correct: Corrects the values and metadata that it returns.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    correct: Correct = _unchanged


Prepare = Callable[[Path, Mapping[str, Any]], Call]


@dataclass(frozen=True)
class Service:
    """One importer.

    Attributes:
        prepare: Checks a file and says how to read it, from the file and the arguments that the user gave.
        zr: The service's Z-R relation, for reflectivity whose metadata have none.
        timestamp: Where the time stands in names of files that do not hold it in a usual form; None: nowhere else.
        licence: The licence of the service's data; empty if it is not known.
    """

    prepare: Prepare = lambda path, given: Call()
    zr: ZR = MARSHALL_PALMER
    timestamp: str | None = None
    licence: str = ""


def check_file(path: Path, *, gzip_allowed: bool = False) -> None:
    """Check what the libraries below pysteps do not check.

    Raises:
        DamagedFile: The file is empty or compressed, or it is HDF5 with arrays of absurd size or without their data.
    """
    with path.open("rb") as file:
        begin = file.read(8)
    if not begin:
        raise DamagedFile("empty")
    for signature, name in _COMPRESSED.items():
        if begin.startswith(signature) and not (gzip_allowed and name == "gzip"):
            raise DamagedFile(f"compressed by {name}: decompress it first")
    if begin.startswith(_HDF5):
        with open_file(path) as file:
            file.visititems(_check_array)


def _check_array(name: str, item: Any) -> None:
    shape = getattr(item, "shape", ())
    if len(shape) < 2:
        return
    check_size(name, shape, item.chunks)
    fill = np.asarray(item.attrs.get("_FillValue", math.nan)).reshape(-1)[:1]
    if not np.array_equal(fill, [item.fillvalue], equal_nan=item.dtype.kind == "f"):
        check_written(name, item)


def _fmi_pgm(path: Path, given: Mapping[str, Any]) -> Call:
    data = read_bytes(path, fmi.MAX_BYTES)
    gzipped = data.startswith(b"\x1f\x8b")
    _, header = fmi.parse_pgm(gunzip(data, fmi.MAX_BYTES) if gzipped else data)
    if not header:  # in search of which pysteps would loop for ever
        raise DamagedFile("its header has no comments, which hold the georeference")
    return Call({"gzipped": gzipped})


def _knmi(path: Path, given: Mapping[str, Any]) -> Call:
    with open_file(path) as file:
        try:
            text = read_text(file["image1/calibration"], "calibration_formulas")
            begin, end = (read_text(file["overview"], f"product_datetime_{which}") for which in ("start", "end"))
        except KeyError as error:
            raise DamagedFile(f"not KNMI's layout: {error}") from error
    match = _KNMI_FORMULA.fullmatch(text.strip())
    factor = float(match[1]) if match else math.nan
    offset = float((match[2] or "0").replace(" ", "")) if match else math.nan
    quantity = next((name for name, (known, _) in KNMI_COUNTS.items() if known == factor), None)
    if quantity is None or given.get("qty", quantity) != quantity or (quantity == "ACRR" and offset):
        raise DamagedFile(f"counts mean {text}, which pysteps does not read as {given.get('qty', 'ACRR or DBZH')}")
    shift = offset - KNMI_COUNTS[quantity][1]  # older files have -31.5

    def correct(values: Values, metadata: Metadata) -> tuple[Values, Metadata]:
        return values + shift, metadata

    minutes = knmi.parse_date(end) - knmi.parse_date(begin)
    return Call({"qty": quantity, "accutime": float(minutes)}, correct)


def _odim(path: Path, given: Mapping[str, Any]) -> Call:
    array = read_odim_array(path, given.get("qty"))

    def correct(values: Values, metadata: Metadata) -> tuple[Values, Metadata]:
        if array.undetected.shape != values.shape:
            raise DamagedFile(f"a frame of {values.shape} from an array of {array.undetected.shape}")
        values = np.where(array.undetected, NO_ECHO if array.quantity == "DBZH" else 0.0, values)
        return values, metadata if array.minutes is None else metadata | {"accutime": array.minutes}

    return Call({"qty": array.quantity}, correct)


def _swiss(path: Path, given: Mapping[str, Any]) -> Call:
    match = _SWISS_NAME.match(path.name)
    if match and match[1] == "AQC":
        return Call({"product": "AQC", "unit": "mm", "accutime": float(match[2])})
    if match and match[1] == "RZC":
        return Call({"product": "RZC", "unit": "mm/h", "accutime": 5.0})
    if {"product", "unit", "accutime"} <= set(given):
        return Call()
    raise RadarImportError(
        f'{path} does not tell its product, unit and minutes: say arguments="product=CPC,unit=mm,accutime=60"'
    )


def _swiss_gif(path: Path, given: Mapping[str, Any]) -> Call:
    read_picture(path, "GIF", SWISS_SIZE)
    return _swiss(path, given)


def _radolan(path: Path, given: Mapping[str, Any]) -> Call:
    file = read_radolan(path)

    def correct(values: Values, metadata: Metadata) -> tuple[Values, Metadata]:
        known = {"unit": file.unit, "transform": None, "accutime": file.minutes, "yorigin": "lower"}
        return file.values, metadata | known | {"institution": "Deutscher Wetterdienst"}

    return Call({"product_name": file.product}, correct)


def _mrms(path: Path, given: Mapping[str, Any]) -> Call:
    with path.open("rb") as file:
        begin, size = file.read(16), path.stat().st_size
        file.seek(max(size - 4, 0))
        end = file.read()
    if begin[:4] != b"GRIB" or begin[7:8] != b"\2" or int.from_bytes(begin[8:16], "big") != size or end != b"7777":
        raise DamagedFile("not one whole message of GRIB 2")
    try:
        import pygrib
    except ImportError as error:
        raise RadarImportError("pysteps:mrms_grib needs pygrib: pip install pygrib") from error
    pygrib.multi_support_off()  # with it on, a damaged file makes ecCodes refuse the good ones after it
    return Call({"window_size": 1})  # pysteps would average 4 x 4 pixels


_SWISS_TIME = "%y%j%H%M?"  # a letter of quality follows
SERVICES = {
    "dwd_hdf5": Service(_odim),
    "dwd_radolan": Service(_radolan, timestamp="-%y%m%d%H%M-"),
    "fmi_geotiff": Service(zr=FINNISH, licence="CC BY 4.0"),
    "fmi_pgm": Service(_fmi_pgm, zr=FINNISH, licence="CC BY 4.0"),
    "knmi_hdf5": Service(_knmi, licence="CC BY 4.0"),
    "mch_gif": Service(_swiss_gif, zr=SWISS, timestamp=_SWISS_TIME),
    "mch_hdf5": Service(_odim, zr=SWISS, timestamp=_SWISS_TIME),
    "mch_metranet": Service(_swiss, zr=SWISS, timestamp=_SWISS_TIME),
    "mrms_grib": Service(_mrms),
    "odim_hdf5": Service(_odim),
    "opera_hdf5": Service(_odim),
}
