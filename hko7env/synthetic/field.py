"""Stationary Gaussian random fields on a periodic grid, advected by a wind, with a lifetime that depends on scale.

A field is kept in Fourier space. One time step advects it by a displacement with a single cubic interpolation,
multiplies each wavelength by ``exp(-minutes / lifetime)`` and adds noise that restores its variance, including the
part that interpolation removed. So the spectrum does not change over time, however long the episode.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from hko7env.archive.hko7_facts import PIXEL_KM

COARSE = 4  # pixels between points of a coarse grid; the longest waves have random streams of their own, so it has them

ROUND = (1.0, 0.0)  # structures are as wide as long

Array = npt.NDArray[np.float32]
Key = tuple[int, int]  # (seed, episode)
OfWavelength = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def random_stream(key: Key, stream: int) -> np.random.Generator:
    """The random numbers of stream ``stream`` of an episode; they depend on nothing else (Philox, counter-based)."""
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=stream << 128))


def wavenumbers(size: tuple[int, int], spacing: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Wavenumbers of a real Fourier transform.

    Args:
        size: (n, m) points of the grid.
        spacing: Pixels between points.

    Returns:
        Cycles per km along rows (n, 1) and along columns (1, m // 2 + 1).
    """
    rows, columns = np.fft.fftfreq(size[0], spacing * PIXEL_KM), np.fft.rfftfreq(size[1], spacing * PIXEL_KM)
    return rows[:, None].astype(np.float64), columns[None, :].astype(np.float64)


class Field:
    """A Gaussian random field of unit variance.

    Args:
        size: (n, m) points of the grid.
        key: Seed and episode.
        streams: Random streams of step 0 for the longest and for all other waves; each step uses the next ones.
        power: 2-D power spectral density as a function of the wavelength in km, up to a factor.
        lifetime: Minutes until a structure has decayed to 1/e, as a function of the wavelength in km.
        cadence: Minutes of a step.
        spacing: Pixels between points of the grid.
        along: Ratio of length to width of structures, and the direction in which they are long, in radians from a row
            of the grid towards its bottom.
        coarse: Compute the field on every fourth point only, with the longest waves of the full field.

    Attributes:
        size: (n, m) points at which the field is computed.
        variance: Variance of the computed field: 1, or less if it is coarse.
    """

    def __init__(
        self,
        size: tuple[int, int],
        key: Key,
        streams: tuple[int, int],
        *,
        power: OfWavelength,
        lifetime: OfWavelength,
        cadence: float,
        spacing: float = 1,
        along: tuple[float, float] = ROUND,
        coarse: bool = False,
    ) -> None:
        self.key, self.streams, self.time = key, streams, 0
        amplitude, keep = spectrum(size, spacing, power=power, lifetime=lifetime, cadence=cadence, along=along)
        self.full = size
        if coarse:
            size = (size[0] // COARSE, size[1] // COARSE)
            amplitude, keep = (_longest_waves(a, size) / (COARSE if a is amplitude else 1) for a in (amplitude, keep))
            amplitude[size[0] // 2], amplitude[:, -1] = 0, 0
        self.size, self.coarse = size, coarse
        rows, columns = (2 * np.pi * f for f in wavenumbers(size, 1 / PIXEL_KM))
        (flat_rows, power_rows), (flat_columns, power_columns) = (spline_response(k) for k in (rows, columns))
        self._coefficients = (1 / (flat_rows * flat_columns)).astype(np.float32)
        self._keep = keep.astype(np.float32)
        left = np.maximum(1 - keep**2 * power_rows * power_columns, 0)
        self._renew = (amplitude * np.sqrt(left)).astype(np.float32)
        self._state = amplitude.astype(np.float32) * self._noise()
        self.variance = float((mode_counts(size) * amplitude**2).sum() / (size[0] * size[1]))

    def _noise(self) -> npt.NDArray[np.complex64]:
        """White noise in Fourier space; its longest waves are those of the coarse grid."""
        coarse_size = (self.full[0] // COARSE, self.full[1] // COARSE)
        low = white_noise(random_stream(self.key, self.streams[0] + self.time), coarse_size)
        if self.coarse:
            return low * np.float32(1)
        noise = white_noise(random_stream(self.key, self.streams[1] + self.time), self.size)
        n, m = low.shape[0] // 2, low.shape[1] - 1
        noise[:n, :m], noise[1 - n :, :m] = COARSE * low[:n, :m], COARSE * low[1 - n :, :m]
        return noise

    def step(self, sources: Array) -> None:
        """Advance by one time step.

        Args:
            sources: (2, n, m) float32 row and column, in grid points, from which each point takes its value.
        """
        self.time += 1
        coefficients = fft.irfft2(self._state * self._coefficients, self.size)
        moved = ndimage.map_coordinates(coefficients, sources, order=3, mode="grid-wrap", prefilter=False)
        self._state = self._keep * fft.rfft2(moved) + self._renew * self._noise()

    def values(self, size: tuple[int, int] | None = None) -> Array:
        """The field, (n, m) float32, or interpolated to a finer grid of ``size`` points over the same domain."""
        state = self._state
        if size is not None and size != self.size:
            state = np.zeros((size[0], size[1] // 2 + 1), np.complex64)
            n, m = self.size[0] // 2, self.size[1] // 2
            state[:n, :m], state[1 - n :, :m] = self._state[:n, :m], self._state[1 - n :, :m]
            state *= np.float32(size[0] * size[1] / (self.size[0] * self.size[1]))
        field: Array = fft.irfft2(state, size or self.size)
        return field


def spectrum(
    size: tuple[int, int],
    spacing: float,
    *,
    power: OfWavelength,
    lifetime: OfWavelength,
    cadence: float,
    along: tuple[float, float] = ROUND,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Amplitude and persistence of every mode of a field; arguments as of :class:`Field`.

    Returns:
        (n, m // 2 + 1) amplitudes that turn white noise of unit variance into the field, and (n, m // 2 + 1) factors
        by which modes decay in one step.
    """
    rows, columns = wavenumbers(size, spacing)
    k = np.hypot(rows, columns)
    if along != ROUND:  # waves count as shorter along and as longer across than they are
        root, (sine, cosine) = np.sqrt(along[0]), (np.sin(along[1]), np.cos(along[1]))
        k = np.hypot(root * (columns * cosine + rows * sine), (rows * cosine - columns * sine) / root)
    k[0, 0] = 1
    density = power(1 / k)
    density[0, 0] = 0  # the mean is a process of its own
    density *= size[0] * size[1] / (mode_counts(size) * density).sum()
    return np.sqrt(density), np.exp(-cadence / lifetime(1 / k))


def mode_counts(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(n, m // 2 + 1) number of modes, 1 or 2, that each coefficient of a real transform represents."""
    count = np.full((size[0], size[1] // 2 + 1), 2.0)
    count[:, _unpaired(size)] = 1
    return count


def _unpaired(size: tuple[int, int]) -> list[int]:
    """Columns of a real transform that represent one mode only."""
    return [0] if size[1] % 2 else [0, -1]


def _longest_waves(modes: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The longest waves of a real transform, as the real transform of a coarser grid of ``size``."""
    half = size[0] // 2
    return np.concatenate([modes[:half, : size[1] // 2 + 1], modes[-half:, : size[1] // 2 + 1]])


def white_noise(generator: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """(n, m // 2 + 1) real transform of white noise of unit variance on a grid of ``size`` (n, m)."""
    parts = generator.standard_normal((2, size[0], size[1] // 2 + 1), dtype=np.float32)
    noise = (parts[0] + np.complex64(1j) * parts[1]) * np.float32(np.sqrt(size[0] * size[1] / 2))
    noise[:, _unpaired(size)] *= np.float32(np.sqrt(2))  # of these the inverse transform takes the even part only
    return np.asarray(noise, np.complex64)


def spline_response(k: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Response of cubic B-spline interpolation to waves.

    Args:
        k: Wavenumbers in radians per grid point.

    Returns:
        The value at the grid points for coefficients of unit amplitude, and the share of a wave's power that remains
        after interpolation, averaged over all positions between grid points.
    """
    at_points = (2 + np.cos(k)) / 3
    return at_points, mean_power(k, _b_spline) / at_points**2


def mean_power(k: npt.NDArray[np.float64], kernel: Callable[[float], float]) -> npt.NDArray[np.float64]:
    """Power of waves of unit power after interpolation, averaged over positions between grid points.

    Args:
        k: Wavenumbers in radians per grid point.
        kernel: Weight of a grid point as a function of its distance; 0 from a distance of 2 on.
    """
    power = np.zeros_like(k)
    positions = (np.arange(8) + 0.5) / 8
    for position in positions:
        weights = [(m, kernel(position - m)) for m in (-1, 0, 1, 2)]
        power += np.abs(sum(w * np.exp(1j * k * m) for m, w in weights)) ** 2 / len(positions)
    return power


def _b_spline(x: float) -> float:
    x = abs(x)
    return 2 / 3 - x**2 + x**3 / 2 if x < 1 else max(2 - x, 0) ** 3 / 6
