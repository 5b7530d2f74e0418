"""Power spectra of the rain in a synthetic archive, early and late in its episodes."""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive, absolute_name
from hko7env.parallel import parts_of, sum_over
from hko7env.synthetic.field import wavenumbers
from hko7env.synthetic.truth import Truth

BANDS, BAND_KM = 12, (4.0, 100.0)  # bands of wavenumber, and the wavelengths that they cover
WET = 0.1  # share of rain above which a frame is wet
EVERY = 5  # the spectrum of every fifth frame is measured

_PART = 240  # frames measured by a worker at once
_SIDE = 64  # of a picture from whose modes the bands are derived; they are the same for every side


@dataclass(frozen=True, eq=False)
class Spectra:
    """Sums of the power spectra of wet frames; spectra can be added.

    Attributes:
        early: (12,) power in each band, of frames in the first half of their episodes.
        late: (12,) the same of the second half.
        frames: Number of frames.
    """

    early: npt.NDArray[np.float64]
    late: npt.NDArray[np.float64]
    frames: int

    def __add__(self, other: "Spectra") -> "Spectra":
        return Spectra(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def measure_spectra(path: str, **work: Any) -> Spectra:
    """Measure the spectra of every fifth frame of a synthetic archive, if it is wet.

    Args:
        path: Path of the archive.
        **work: ``workers``, ``scheduler`` and ``step`` as of :func:`hko7env.parallel.sum_over`.

    Returns:
        The summed spectra of both halves of the episodes.

    Raises:
        ValueError: The archive has no truth, or no frame.
    """
    frames = list(range(len(Archive(path))))
    return sum_over(partial(_measure_part, absolute_name(path)), parts_of(frames, _PART), **work)


def bands_of(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Bands of wavenumber of a square picture.

    Args:
        size: Pixels a side.

    Returns:
        (size, size // 2 + 1) band of each mode of the real transform, which is below 0 or above 11 outside all bands,
        and (12,) middle of each band in cycles per km.
    """
    k = np.hypot(*wavenumbers((size, size), 1))
    edges = np.geomspace(1 / BAND_KM[1], 1 / BAND_KM[0], BANDS + 1)
    return np.searchsorted(edges, k) - 1, np.sqrt(edges[1:] * edges[:-1])


def band_wavenumbers() -> npt.NDArray[np.float64]:
    """(12,) middle of each band in cycles per km."""
    return bands_of(_SIDE)[1]


def slope_of(power: npt.NDArray[np.float64]) -> float:
    """Exponent of a power spectrum, by linear regression of log power on log wavenumber.

    Args:
        power: (12,) mean power of a mode in each band; bands with power 0 are left out, as small pictures have no mode
            in some.

    Returns:
        The exponent, NaN if fewer than three bands have power.
    """
    there = power > 0
    if there.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(band_wavenumbers()[there]), np.log(power[there]), 1)[0])


def _measure_part(path: str, frames: list[int]) -> Spectra:
    """Spectra of the rain, in levels, in the square inside the radar's range, tapered to its edges."""
    archive, truth = Archive(path), Truth(path)
    side = int(min(archive.shape) / np.sqrt(2)) // 2 * 2
    top, left = ((n - side) // 2 for n in archive.shape)
    window = np.hanning(side)[:, None] * np.hanning(side)
    band, middles = bands_of(side)
    inside = (band >= 0) & (band < len(middles))
    count = np.maximum(np.bincount(band[inside], minlength=len(middles)), 1)
    halves = [np.zeros(len(middles)), np.zeros(len(middles))]
    found, second = 0, _second_halves(archive.times)
    for i in frames[::EVERY]:
        rain = truth.clean(int(archive.times[i]))[top : top + side, left : left + side]
        if (rain > 0).mean() < WET:
            continue
        field = rain * window - window * (rain * window).sum() / window.sum()
        power = np.abs(np.fft.rfft2(field)) ** 2
        halves[second[i]] += np.bincount(band[inside], power[inside], len(middles)) / count
        found += 1
    return Spectra(halves[0], halves[1], found)


def _second_halves(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(N,) 1 for each of ``times`` (N,) in the second half of its stretch without a gap of an hour, else 0."""
    breaks = np.flatnonzero(np.diff(times) >= 60) + 1
    halves = [(run >= (run[0] + run[-1]) / 2).astype(np.int64) for run in np.split(times, breaks)]
    return np.concatenate(halves)
