"""Rules of the mlcast specification 0.2.0 that a dataset breaks because of what the archive is."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import DAY, OUT_OF_RANGE
from hko7env.export.georeference import Georeference
from hko7env.export.layout import Layout
from hko7env.importers.dataset import MAX_AXIS

CROP = 256  # locations
SPACING = 1010.0  # m: 1 km, and 1 % of tolerance
YEARS = 3
_DAYS_PER_YEAR = 365.25
_PART = r"-[^\W_]\w*(?<!_)"  # of an identifier
_FORMS = {  # attribute: what it must look like, and the option that sets it
    "license": (r"[A-Za-z0-9.]+(-[A-Za-z0-9.]+)*-\d+\.\d+(-\w+)*", "an SPDX identifier such as CC-BY-4.0", "licence"),
    "mlcast_created_by": (r"[^<>]+ <[^<>@\s]+@[^<>@\s]+>", "'Name <email>'", "created_by"),
    "mlcast_created_with": (r"https://github\.com/[^/\s]+/[^/@\s]+@\S+", "a GitHub URL with @version", "created_with"),
    "mlcast_dataset_version": (r"\d+\.\d+(\.\d+)?\S*", "a version such as 1.0.0", "dataset_version"),
    "mlcast_dataset_identifier": (rf"[A-Z]{{2}}{_PART}{_PART}", "such as SI-arso-rainfall_flux", "identifier"),
}


def broken_rules(archive: Archive, layout: Layout, place: Georeference) -> list[str]:
    """The rules that the dataset of an archive breaks, each with what would mend it if anything can."""
    return [*_broken_in_space(archive, place), *_broken_in_time(archive, layout), *_broken_by_attributes(layout)]


def _broken_in_space(archive: Archive, place: Georeference) -> Iterator[str]:
    spacing = max(float(np.abs(np.diff(axis)).max()) if len(axis) > 1 else 0.0 for axis in (archive.y, archive.x))
    if spacing > SPACING:
        yield f"at most 1 km between locations: here {spacing:g} m"
    if not _holds_square(archive.mask != OUT_OF_RANGE, CROP):
        height, width = archive.shape
        yield f"a square of {CROP} x {CROP} locations within the radar's range: none in {height} x {width}"
    if place.why_unknown:
        yield f"latitude, longitude, crs_wkt and spatial_ref: {place.why_unknown}"


def _broken_in_time(archive: Archive, layout: Layout) -> Iterator[str]:
    days = int(archive.times[-1] - archive.times[0]) // DAY
    if days < YEARS * _DAYS_PER_YEAR:
        yield f"at least {YEARS} years: here {days} days"
    if ((archive.times - archive.times[0]) % archive.cadence).any():
        yield f"a regular time step: some frames are not a multiple of {archive.cadence} min after the first"
    if len(layout.missing_times) > MAX_AXIS:
        yield f"missing_times: left out, it would list {len(layout.missing_times)} times"


def _broken_by_attributes(layout: Layout) -> Iterator[str]:
    for name, (form, meaning, option) in _FORMS.items():
        if not re.fullmatch(form, str(layout.attributes.get(name, ""))):
            yield f"attribute {name}, {meaning}: give {option}"


def _holds_square(inside: npt.NDArray[np.bool_], size: int) -> bool:
    """Whether a square of ``size`` x ``size`` locations of ``inside`` is True."""
    if min(inside.shape) < size:
        return False
    sums = np.zeros((inside.shape[0] + 1, inside.shape[1] + 1), np.int64)
    sums[1:, 1:] = inside.cumsum(0).cumsum(1)
    counts = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return bool((counts == size * size).any())
