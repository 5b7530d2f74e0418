"""Georeference of archives: units of length, PROJ strings, and how the coordinate reference system is stored."""

from collections.abc import Mapping
from typing import Any

METRES_PER_KM = 1000.0


def azimuthal_equidistant(latitude: float, longitude: float) -> str:
    """PROJ string of the azimuthal equidistant projection, in metres, about a point given in degrees."""
    return f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +units=m"


def crs_attributes(crs: str) -> dict[str, str]:
    """The attribute of the array ``crs`` that holds ``crs``, a PROJ string or WKT."""
    return {"proj4" if crs.startswith("+") else "crs_wkt": crs}


def crs_of(attributes: Mapping[str, Any]) -> str:
    """The PROJ string or WKT in the attributes of the array ``crs``; empty if there is none."""
    return str(attributes.get("proj4") or attributes.get("crs_wkt") or "")
