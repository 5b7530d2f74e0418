"""Stationary Gaussian fields on a periodic grid that drift, turn and are renewed, each wavelength at its own rate.

A field lives in Fourier space. A step carries it along a displacement by one cubic interpolation, lets every
wavelength forget by ``exp(-minutes / lifetime)`` and adds the noise that brings its variance back, what the
interpolation has lost included. So the spectrum neither smears nor grows, however long the episode.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

KM = 512 / 480  # km a pixel, as HKO-7
COARSE = 4  # the longest waves come from a stream of their own, so that a grid this much coarser sees the same ones

Array = npt.NDArray[np.float32]
Key = tuple[int, int]  # (seed, episode)
OfWavelength = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def random(key: Key, stream: int) -> np.random.Generator:
    """The numbers of one stream of one episode: a function of its name alone (Philox, counter-based)."""
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=stream << 128))


def wavenumbers(size: tuple[int, int], spacing: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cycles a km along rows (n, 1) and columns (1, m // 2 + 1) of a real transform; ``spacing`` in pixels."""
    rows, columns = np.fft.fftfreq(size[0], spacing * KM), np.fft.rfftfreq(size[1], spacing * KM)
    return rows[:, None].astype(np.float64), columns[None, :].astype(np.float64)


class Field:
    """A unit-variance Gaussian field (n, m) on a grid of ``spacing`` pixels.

    ``power`` is the 2-D power spectral density and ``lifetime`` the minutes until a structure has decayed to 1/e, both
    of the wavelength in km. ``streams`` (first, second) name the random streams of step 0; a step takes the next of
    both. With ``coarse`` the field is on every fourth point and holds the longest waves of the full one, the same ones.
    """

    def __init__(
        self,
        size: tuple[int, int],
        key: Key,
        streams: tuple[int, int],
        *,
        power: OfWavelength,
        lifetime: OfWavelength,
        cadence: int,
        spacing: float = 1,
        coarse: bool = False,
    ) -> None:
        self.key, self.streams, self.time = key, streams, 0
        amplitude, keep = spectrum(size, spacing, power=power, lifetime=lifetime, cadence=cadence)
        self.full = size
        if coarse:
            size = (size[0] // COARSE, size[1] // COARSE)
            amplitude, keep = (cut(a, size) / (COARSE if a is amplitude else 1) for a in (amplitude, keep))
            amplitude[size[0] // 2], amplitude[:, -1] = 0, 0
        self.size, self.coarse = size, coarse
        rows, columns = (2 * np.pi * f for f in wavenumbers(size, 1 / KM))
        (flat_rows, power_rows), (flat_columns, power_columns) = (spline(k) for k in (rows, columns))
        self._coefficients = (1 / (flat_rows * flat_columns)).astype(np.float32)
        self._keep = keep.astype(np.float32)
        left = np.maximum(1 - keep**2 * power_rows * power_columns, 0)
        self._renew = (amplitude * np.sqrt(left)).astype(np.float32)
        self._state = amplitude.astype(np.float32) * self._noise()
        self.variance = float((both_halves(size) * amplitude**2).sum() / (size[0] * size[1]))

    def _noise(self) -> npt.NDArray[np.complex64]:
        """White noise in Fourier space; its longest waves are those of the coarse grid."""
        low = white(random(self.key, self.streams[0] + self.time), (self.full[0] // COARSE, self.full[1] // COARSE))
        if self.coarse:
            return low * np.float32(1)
        noise = white(random(self.key, self.streams[1] + self.time), self.size)
        n, m = low.shape[0] // 2, low.shape[1] - 1
        noise[:n, :m], noise[1 - n :, :m] = COARSE * low[:n, :m], COARSE * low[1 - n :, :m]
        return noise

    def step(self, sources: Array) -> None:
        """One time step on; ``sources`` (2, n, m) are the rows and columns, in grid points, that each point gets."""
        self.time += 1
        coefficients = fft.irfft2(self._state * self._coefficients, self.size)
        moved = ndimage.map_coordinates(coefficients, sources, order=3, mode="grid-wrap", prefilter=False)
        self._state = self._keep * fft.rfft2(moved) + self._renew * self._noise()

    def values(self, size: tuple[int, int] | None = None) -> Array:
        """The field, (n, m) float32, or on a finer grid of ``size`` over the same domain."""
        state = self._state
        if size is not None and size != self.size:
            state = np.zeros((size[0], size[1] // 2 + 1), np.complex64)
            n, m = self.size[0] // 2, self.size[1] // 2
            state[:n, :m], state[1 - n :, :m] = self._state[:n, :m], self._state[1 - n :, :m]
            state *= np.float32(size[0] * size[1] / (self.size[0] * self.size[1]))
        field: Array = fft.irfft2(state, size or self.size)
        return field


def spectrum(
    size: tuple[int, int], spacing: float, *, power: OfWavelength, lifetime: OfWavelength, cadence: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Amplitude of every mode, for white noise of unit variance a point, and what it keeps over ``cadence`` minutes."""
    k = np.hypot(*wavenumbers(size, spacing))
    k[0, 0] = 1
    density = power(1 / k)
    density[0, 0] = 0  # the mean is a process of its own
    density *= size[0] * size[1] / (both_halves(size) * density).sum()
    return np.sqrt(density), np.exp(-cadence / lifetime(1 / k))


def both_halves(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """How many modes of the plane each one of a real transform stands for."""
    count = np.full((size[0], size[1] // 2 + 1), 2.0)
    count[:, _own(size)] = 1
    return count


def _own(size: tuple[int, int]) -> list[int]:
    """Columns of a real transform that have no mirror image beyond it."""
    return [0] if size[1] % 2 else [0, -1]


def cut(modes: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The longest waves of a real transform, as the real transform of a coarser grid of ``size``."""
    half = size[0] // 2
    return np.concatenate([modes[:half, : size[1] // 2 + 1], modes[-half:, : size[1] // 2 + 1]])


def white(generator: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """The real transform of unit white noise on a grid of ``size``."""
    parts = generator.standard_normal((2, size[0], size[1] // 2 + 1), dtype=np.float32)
    noise = (parts[0] + np.complex64(1j) * parts[1]) * np.float32(np.sqrt(size[0] * size[1] / 2))
    noise[:, _own(size)] *= np.float32(np.sqrt(2))  # of these the inverse transform takes the even part only
    return np.asarray(noise, np.complex64)


def spline(k: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A cubic B-spline on waves of ``k`` radians a point.

    Its value at the points for unit coefficients, and the share of power that interpolation at a random place leaves.
    """
    at_points = (2 + np.cos(k)) / 3
    return at_points, mean_power(k, _b_spline) / at_points**2


def mean_power(k: npt.NDArray[np.float64], kernel: Callable[[float], float]) -> npt.NDArray[np.float64]:
    """Power of waves of ``k`` radians a point and unit power after interpolation by a ``kernel`` of four points."""
    power = np.zeros_like(k)
    places = (np.arange(8) + 0.5) / 8
    for place in places:
        weights = [(m, kernel(place - m)) for m in (-1, 0, 1, 2)]
        power += np.abs(sum(w * np.exp(1j * k * m) for m, w in weights)) ** 2 / len(places)
    return power


def _b_spline(x: float) -> float:
    x = abs(x)
    return 2 / 3 - x**2 + x**3 / 2 if x < 1 else max(2 - x, 0) ** 3 / 6
