"""The coordinate reference system of a dataset as WKT and CF attributes, and latitudes and longitudes, by pyproj."""

import json
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.georeference import crs_attributes

PACKAGE = "pyproj, which comes with pip install 'hko7env[export]'"


class Georeference(NamedTuple):
    """Where the locations of an archive are.

    Attributes:
        attributes: Those of the array ``crs``.
        latitude: (H, W) float64 degrees north; None if unknown.
        longitude: (H, W) float64 degrees east; None if unknown.
        why_unknown: Why latitudes are unknown, and the remedy; empty if they are known.
    """

    attributes: dict[str, Any]
    latitude: npt.NDArray[np.float64] | None = None
    longitude: npt.NDArray[np.float64] | None = None
    why_unknown: str = ""


def georeference(archive: Archive) -> Georeference:
    """Describe the coordinate reference system of an archive as well as its text and the installed packages allow."""
    text, plain = archive.crs, _as_stored(archive.crs)
    if not archive.crs:
        return Georeference(plain, why_unknown="the archive has no coordinate reference system")
    try:
        import pyproj
    except ImportError:
        return Georeference(plain, why_unknown=f"latitudes and WKT need {PACKAGE}")
    try:
        crs = pyproj.CRS.from_cf(plain) if text.startswith("{") else pyproj.CRS.from_user_input(text)
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        longitude, latitude = to_degrees.transform(*np.meshgrid(archive.x, archive.y))
    except (pyproj.exceptions.ProjError, ValueError, KeyError) as error:
        return Georeference(plain, why_unknown=f"pyproj does not understand the coordinate reference system: {error}")
    if not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        return Georeference(plain, why_unknown="some coordinates lie outside the projection: check x, y and crs")
    cf = {name: value for name, value in crs.to_cf().items() if value is not None}
    wkt = crs.to_wkt()
    return Georeference({**cf, **plain, "crs_wkt": wkt, "spatial_ref": wkt}, latitude, longitude)


def _as_stored(crs: str) -> dict[str, Any]:
    """The attributes that need no package: a PROJ string, WKT, or the CF attributes that an import kept as JSON."""
    if crs.startswith("{"):
        return dict(json.loads(crs))
    return dict(crs_attributes(crs)) if crs else {}
