"""Radially averaged power spectra: how much of the variability at each wavelength a forecast has.

A forecast that hedges against displacement is smooth: its spectrum falls below that of the truth at short
wavelengths. The power of a mode is |F|^2 / N, F the discrete Fourier transform of N pixels in [0, 1], which are dBZ but
for a linear map; no window is applied. Modes are averaged over rings of wavenumber rounded to integers 0 .. L / 2, in
cycles per side L (Ruzanski and Chandrasekar 2011; pysteps.utils.spectral.rapsd).

The square of side L is the largest one, up to 256 px, of which the static mask scores 95 %, so that it lies within the
radar's range, cut to an even length that transforms fast. Its masked pixels, such as those of clutter, take the value
of the nearest scored pixel in truth and forecast alike.
"""

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import distance_transform_edt

from hko7env.forecast import Forecast

SMALLEST_SIDE = 8  # px; a smaller square has no spectrum
LARGEST_SIDE = 256  # px; forecasts lose power at wavelengths far below it
LEAST_SCORED = 0.95  # share of scored pixels in the square

Sums = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Spectrum:
    """Spectra in the largest square of a static mask.

    Args:
        scored: (H, W) bool static mask, True = scored.

    Attributes:
        side: L, px, even; 0 if the mask holds no square of SMALLEST_SIDE.
        rings: Number R of rings, L / 2 + 1, or 0.
    """

    def __init__(self, scored: Mask) -> None:
        top, left, side = largest_square(scored)
        fast = max((n for n in range(2, side + 1, 2) if n == scipy.fft.next_fast_len(n, real=True)), default=0)
        self.side = fast if fast >= SMALLEST_SIDE else 0
        self.rings = self.side // 2 + 1 if self.side else 0
        margin = (side - fast) // 2
        self._square = (slice(top + margin, top + margin + fast), slice(left + margin, left + margin + fast))
        if not self.side:
            return
        inside = scored[self._square]
        nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
        self._masked = np.flatnonzero(~inside)
        self._nearest = np.ravel_multi_index(tuple(nearest), inside.shape).reshape(-1)[self._masked]
        frequency = np.abs(np.fft.fftfreq(fast, 1 / fast))
        half = np.arange(fast // 2 + 1)
        ring = np.rint(np.hypot(frequency[:, None], half)).astype(np.int64)
        twice = np.where((half > 0) & (2 * half != fast), 2.0, 1.0)  # a real transform keeps one of two equal modes
        self._modes = np.flatnonzero(ring < self.rings)
        self._ring = ring.reshape(-1)[self._modes]
        self._twice = np.broadcast_to(twice, ring.shape).reshape(-1)[self._modes].astype(np.float32)
        self._size = np.bincount(self._ring, self._twice) * fast**2

    def of(self, truth: npt.NDArray[np.uint8], forecast: Forecast) -> Sums:
        """Spectra of a frame and its forecast.

        Args:
            truth: (H, W) uint8 levels.
            forecast: (H, W) float32 pixels in [0, 1], or uint8 levels.

        Returns:
            (2, R) float64 mean power of the modes in each ring, of the precision of float32.
        """
        if not self.side:
            return np.zeros((2, 0))
        frames = np.empty((2, self.side**2), np.float32)
        for pixels, frame in zip(frames, (truth, forecast), strict=True):
            square = frame[self._square].reshape(-1)
            np.divide(square, 255 if square.dtype == np.uint8 else 1, out=pixels, dtype=np.float32)
        frames[:, self._masked] = frames[:, self._nearest]
        modes = scipy.fft.rfft2(frames.reshape(2, self.side, self.side), overwrite_x=True)
        power = (modes.real**2 + modes.imag**2).reshape(2, -1)
        sums = [np.bincount(self._ring, p[self._modes] * self._twice) for p in power]
        return (np.stack(sums) / self._size).astype(np.float32).astype(np.float64)


def largest_square(scored: Mask) -> tuple[int, int, int]:
    """Find the largest square of which LEAST_SCORED is scored, by bisection of its side.

    Args:
        scored: (H, W) bool.

    Returns:
        Top row, left column and side; of several squares the one nearest to the middle. The side is 0 if nothing is
        scored.
    """
    total = np.zeros(np.add(scored.shape, 1), np.int64)
    total[1:, 1:] = scored.cumsum(axis=0).cumsum(axis=1)
    low, high = 0, min(*scored.shape, LARGEST_SIDE)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _suffices(total, middle).any() else (low, middle - 1)
    if low == 0:
        return 0, 0, 0
    places = np.argwhere(_suffices(total, low))
    distance = np.abs(2 * places + low - np.array(scored.shape)).sum(axis=1)
    top, left = places[distance.argmin()]
    return int(top), int(left), low


def _suffices(total: npt.NDArray[np.int64], side: int) -> Mask:
    """Whether enough of the square of ``side`` px at each place is scored, from the integral image of the mask."""
    n = side
    return (total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]) >= LEAST_SCORED * n * n


def side_of(rings: int) -> int:
    """Side L of the square, px, of spectra with R = ``rings`` rings."""
    return max(2 * (rings - 1), 0)


def resolution(truth: Sums, forecast: Sums) -> float:
    """Effective resolution: the wavelength below which a forecast has less than half the power of the truth.

    Going from short to long wavelengths, it is the first at which the power of the forecast is at least half that of
    the truth, interpolated linearly in the ratio between rings. Power that is lacking at long wavelengths only, as
    after a change of the amount of rain, is not blur and does not count.

    Args:
        truth: (R,) summed spectrum of the truth.
        forecast: (R,) summed spectrum of the forecasts.

    Returns:
        Wavelength in px, from 2, if the forecast has half the power at the shortest one, to L, if it has it nowhere;
        NaN where the truth has no power.
    """
    if len(truth) < 2 or not (truth[1:] > 0).all():
        return float("nan")
    side, ratio = side_of(len(truth)), forecast[1:] / truth[1:]
    enough = np.flatnonzero(ratio >= 0.5)
    if len(enough) == 0:
        return float(side)
    i = int(enough[-1])  # ratio[i] is that of ring i + 1
    if i == len(ratio) - 1:
        return 2.0
    share = (ratio[i] - 0.5) / (ratio[i] - ratio[i + 1])
    return float(side / (i + 1 + share))
