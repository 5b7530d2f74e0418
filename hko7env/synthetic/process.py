"""Parameters of the random process that makes an episode's rain; the defaults are those of Hong Kong's climate."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.synthetic.wind import SPEED

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Process:
    """What :func:`hko7env.synthetic.rain.latent` depends on. Latent values have a variance of about 1.

    Attributes:
        slope: 2-D power spectrum ~ k^-slope.
        longest: Longest wavelength in km.
        lifetime: Minutes until a structure of 1 km has decayed to 1/e; one of L km lives L^growth times as long.
            Radar studies find about 2 L^1.1, which includes wind and cells.
        growth: Exponent of the lifetime.
        stretch: Ratio of length to width of structures.
        direction: Direction in which they are long, in radians from a row of the map towards its bottom.
        between: Standard deviation of the mean between episodes.
        within: Standard deviation of the mean within an episode.
        speed: Lowest and highest mean speed of the wind in km/h.
        cell_km: Shortest and longest wavelength of convective cells in km.
        cell_minutes: Minutes until cells have decayed to 1/e.
        cells_from: Latent value from which cells appear.
        cells_full: Latent value at which they have full strength.
        cells: Standard deviation of cells at full strength, in latent values.
        floor: Share of the excess above ``cells_from`` that remains where cells are weak.
    """

    slope: float = 2.9
    longest: float = 256.0
    lifetime: float = 8.0
    growth: float = 1.1
    stretch: float = 1.0
    direction: float = 0.0
    between: float = 0.68
    within: float = 0.25
    speed: tuple[float, float] = SPEED
    cell_km: tuple[float, float] = (6.0, 28.0)
    cell_minutes: float = 40.0
    cells_from: float = 1.75
    cells_full: float = 2.2
    cells: float = 0.45
    floor: float = 0.3

    @property
    def waves(self) -> float:
        """Variance of the field of waves."""
        return 1 - self.between**2 - self.within**2

    def power(self, wavelength: Floats) -> Floats:
        """2-D power spectral density of the field of waves at wavelengths in km."""
        return np.where(wavelength <= self.longest, wavelength**self.slope, 0.0)

    def persistence(self, wavelength: Floats) -> Floats:
        """Minutes until structures of the field of waves have decayed to 1/e, at wavelengths in km."""
        return np.asarray(self.lifetime * wavelength**self.growth)

    def cell_power(self, wavelength: Floats) -> Floats:
        """2-D power spectral density of convective cells at wavelengths in km."""
        return np.where((wavelength >= self.cell_km[0]) & (wavelength <= self.cell_km[1]), wavelength**2, 0.0)

    def cell_persistence(self, wavelength: Floats) -> Floats:
        """Minutes until convective cells have decayed to 1/e."""
        return np.full_like(wavelength, self.cell_minutes)

    def with_cells(self, field: Any, cells: Any) -> Any:
        """Add convective cells where the latent field is high.

        Args:
            field: (..., H, W) latent field, a numpy array or a torch tensor.
            cells: (..., H, W) cells of unit variance, of the same library.

        Returns:
            (..., H, W); unchanged up to ``cells_from``, nowhere below ``floor`` of the field's excess above it.
        """
        excess = (field - self.cells_from).clip(0)
        strength = self.cells * (excess / (self.cells_full - self.cells_from)).clip(max=1)
        return field - (1 - self.floor) * excess + ((1 - self.floor) * excess + strength * cells).clip(0)


HONG_KONG = Process()
