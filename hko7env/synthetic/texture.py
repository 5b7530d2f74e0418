"""What the rain of an archive looks like: wet area, intensities, spectrum, and how long it stays like itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from hko7env.archive import Archive
from hko7env.archive.format import SCORED
from hko7env.scores import scored
from hko7env.synthetic.spectra import BANDS, bands_of, slope_of

EVERY = 30  # minutes between the frames that are measured, and between the frames that are compared
WET = 0.01  # share of rain of 0.5 mm/h above which spectrum and persistence are measured
REACH = 60  # px that rain may have moved between two frames that are compared

Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Texture:
    """Statistics of frames half an hour apart.

    Attributes:
        frames: Number of frames.
        wet: (frames,) share of scored locations with at least 0.5 mm/h.
        heavy: (5,) share of these with at least each of THRESHOLDS.
        slope: Exponent of the 2-D power spectrum between 4 and 100 km; NaN if no frame is wet.
        persistence: Median correlation with the frame half an hour before, at the shift where it is highest; NaN if
            no such pair of frames is wet.
    """

    frames: int
    wet: Floats
    heavy: Floats
    slope: float
    persistence: float


def measure_texture(
    archive: Archive, times: npt.NDArray[np.int64], step: Callable[[int], Any] | None = None
) -> Texture:
    """Measure the frames of an archive at ``times`` (n,) int64, minutes since 1970-01-01, of which every sixth is used.

    Args:
        archive: The archive.
        times: Its frames that count, in order.
        step: Called with 1 after each frame.

    Raises:
        ValueError: ``times`` is empty.
    """
    chosen = sample(times)
    if not len(chosen):
        raise ValueError(f"{archive.name} has no frame to measure")
    static = archive.mask == SCORED
    window = _window(static.shape)
    band = bands_of(len(window))[0]
    counts, power = np.zeros(256), np.zeros(BANDS)
    wet: list[float] = []
    alike: list[float] = []
    before: tuple[int, Levels] | None = None
    for time in chosen:
        index = int(np.searchsorted(archive.times, time))
        frame = archive.frames(index, index + 1)[0]
        frame = np.where(scored(frame, static), frame, np.uint8(0))
        found = np.bincount(frame[static], minlength=256)
        counts += found
        wet.append(float(found[archive.zr.threshold_levels[0] :].sum() / found.sum()))
        if wet[-1] > WET:
            power += _spectrum(frame, window, band)
            if before and time - before[0] == EVERY:
                alike.append(correlation(before[1], frame))
            before = (int(time), frame)
        if step:
            step(1)
    above = np.array([counts[k:].sum() for k in archive.zr.threshold_levels])
    persistence = float(np.median(alike)) if alike else float("nan")
    return Texture(len(chosen), np.array(wet), above / max(above[0], 1), slope_of(power), persistence)


def sample(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Those of ``times`` that are a multiple of half an hour after the first of their stretch without a gap."""
    found = []
    for run in np.split(times, np.flatnonzero(np.diff(times) > EVERY) + 1):
        found.append(run[(run - run[:1]) % EVERY == 0])
    return np.concatenate(found)


def correlation(first: Levels, second: Levels) -> float:
    """Correlation of two frames (H, W) where they overlap, after the shift that makes them most alike."""
    a, b = (frame - frame.mean(dtype=np.float64) for frame in (first, second))
    size = [fft.next_fast_len(n + REACH, real=True) for n in a.shape]
    product = fft.irfft2(fft.rfft2(b, size) * np.conj(fft.rfft2(a, size)), size)
    near = product[np.ix_(*(np.arange(-REACH, REACH + 1) % n for n in size))]
    down, right = (int(i) - REACH for i in np.unravel_index(int(near.argmax()), near.shape))
    later = b[max(down, 0) : b.shape[0] + min(down, 0), max(right, 0) : b.shape[1] + min(right, 0)]
    sooner = a[max(-down, 0) : a.shape[0] - max(down, 0), max(-right, 0) : a.shape[1] - max(right, 0)]
    if not later.std() or not sooner.std():
        return 0.0
    return float(np.corrcoef(later.ravel(), sooner.ravel())[0, 1])


def _window(shape: tuple[int, ...]) -> Floats:
    """(n, n) taper of the square in the middle of a radar's circle, as of :mod:`hko7env.synthetic.spectra`."""
    side = int(min(shape) / np.sqrt(2)) // 2 * 2
    return np.asarray(np.hanning(side)[:, None] * np.hanning(side), np.float64)


def _spectrum(frame: Levels, window: Floats, band: npt.NDArray[np.int64]) -> Floats:
    """(12,) mean power in each band as a share of the whole, so that each frame counts the same."""
    side = len(window)
    top, left = ((n - side) // 2 for n in frame.shape)
    rain = frame[top : top + side, left : left + side]
    field = rain * window - window * (rain * window).sum() / window.sum()
    power = np.abs(np.fft.rfft2(field)) ** 2
    inside = (band >= 0) & (band < BANDS)
    count = np.maximum(np.bincount(band[inside], minlength=BANDS), 1)
    return np.asarray(np.bincount(band[inside], power[inside], BANDS) / count / max(power.sum(), 1.0))
