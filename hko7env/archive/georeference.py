"""Georeference of archives: units of length, PROJ strings, and where the coordinate reference system is stored."""

from collections.abc import Mapping
from typing import Any

METRES_PER_KM = 1000.0
HKO7_PIXEL_KM = 512 / 480  # side of a pixel of HKO-7; Shi et al. 2017, section 5.1
HKO7_CENTRE = (22.3, 114.2)  # latitude and longitude of HKO-7's grid in degrees


def azimuthal_equidistant(latitude: float, longitude: float) -> str:
    """PROJ string of the azimuthal equidistant projection, in metres, about a point given in degrees."""
    return f"+proj=aeqd +lat_0={latitude} +lon_0={longitude} +units=m"


HKO7_CRS = azimuthal_equidistant(*HKO7_CENTRE)


def crs_attributes(crs: str) -> dict[str, str]:
    """The attribute of the array ``crs`` that holds a PROJ string or WKT."""
    return {"proj4" if crs.startswith("+") else "crs_wkt": crs}


def crs_of(attributes: Mapping[str, Any]) -> str:
    """The PROJ string or WKT in the attributes of the array ``crs``; empty if there is none."""
    return str(attributes.get("proj4") or attributes.get("crs_wkt") or "")
