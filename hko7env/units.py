"""Level, pixel, dBZ and rain rate, the paper's thresholds and weights, and the tables that scores and loss share.

A level is a radar grey value 0..255, a pixel is level / 255, reflectivity is ``dBZ = 70 pixel - 10``, and the rain rate
follows from ``Z = a R^b``. Shi et al. 2017 print ``dBZ - 10`` in the inverse relation; their Table 2 and the released
code agree with ``dBZ + 10``, which is used here.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

DBZ_SPAN = 70.0
DBZ_FLOOR = -10.0
THRESHOLDS = (0.5, 2.0, 5.0, 10.0, 30.0)  # mm/h
BALANCE = (1.0, 1.0, 2.0, 5.0, 10.0, 30.0)  # weight of [0, 0.5), [0.5, 2), ... [30, inf); Shi et al. 2017, section 5.1
NOISE_LEVEL = 71  # levels 1..70 are small-echo noise and not scored; Shi et al. 2017, appendix D.2

T = TypeVar("T", bound=npt.NDArray[Any])


def _log10(x: Any) -> Any:
    if hasattr(x, "log10"):  # a torch tensor: stays on its device and in its graph, without importing torch
        return x.log10()
    with np.errstate(divide="ignore"):
        return np.log10(x)


def _array(x: Any) -> Any:
    return x if hasattr(x, "log10") else np.asarray(x)


def pixel(dbz: Any) -> Any:
    """Convert reflectivity in dBZ to pixels, without clipping; any shape, numpy or torch."""
    return (_array(dbz) - DBZ_FLOOR) / DBZ_SPAN


def dbz(pixel: Any) -> Any:
    """Convert pixels to reflectivity in dBZ; any shape, numpy or torch."""
    return _array(pixel) * DBZ_SPAN + DBZ_FLOOR


def level(pixel: Any) -> Any:
    """Convert pixels to levels; any shape, numpy or torch.

    Args:
        pixel: Pixels; values outside [0, 1] are clipped.

    Returns:
        The nearest level 0..255, uint8; halves are rounded up.

    Raises:
        ValueError: For NaN, which has no level.
    """
    x = _array(pixel) * 255.0 + 0.5
    if (x != x).any():
        raise ValueError("NaN has no radar level: mark the frame as missing or mask the location instead")
    if hasattr(x, "log10"):
        return x.floor().clamp(0, 255).byte()
    return np.floor(x).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class ZR:
    """The relation ``Z = a R^b`` between reflectivity factor and rain rate in mm/h, and its tables over the 256 levels.

    Attributes:
        a: Factor; HKO-7: 58.53.
        b: Exponent; HKO-7: 1.56.

    Raises:
        ValueError: If a or b is not finite and positive, or no echo (-10 dBZ) would be rain.
    """

    a: float = 58.53
    b: float = 1.56

    def __post_init__(self) -> None:
        if not (0 < self.a < np.inf and 0 < self.b < np.inf):
            raise ValueError(f"Z = a R^b needs finite a > 0 and b > 0, got a = {self.a}, b = {self.b}")
        if self.rate(DBZ_FLOOR) >= THRESHOLDS[0]:
            raise ValueError(
                f"by Z = {self.a} R^{self.b} no echo, {DBZ_FLOOR} dBZ, would be rain of {THRESHOLDS[0]} mm/h"
            )

    def dbz(self, rate: Any) -> Any:
        """Convert rain rate in mm/h to reflectivity in dBZ; 0 mm/h gives -inf."""
        return 10.0 * float(np.log10(self.a)) + 10.0 * self.b * _log10(_array(rate))

    def rate(self, dbz: Any) -> Any:
        """Convert reflectivity in dBZ to rain rate in mm/h."""
        return 10.0 ** ((_array(dbz) - 10.0 * float(np.log10(self.a))) / (10.0 * self.b))

    @cached_property
    def threshold_pixels(self) -> npt.NDArray[np.float64]:
        """(5,) float64 pixel of each of THRESHOLDS; a value at or above it is an event."""
        return _frozen(np.asarray(pixel(self.dbz(np.array(THRESHOLDS)))))

    @cached_property
    def threshold_levels(self) -> npt.NDArray[np.int64]:
        """(5,) int64 lowest level that reaches each of THRESHOLDS; 256 if none does."""
        return _frozen(np.searchsorted(np.arange(256) / 255, self.threshold_pixels, "left"))

    @cached_property
    def rates(self) -> npt.NDArray[np.float64]:
        """(256,) float64 rain rate of each level, mm/h."""
        return _frozen(np.asarray(self.rate(dbz(np.arange(256) / 255))))

    @cached_property
    def classes(self) -> npt.NDArray[np.uint8]:
        """(256,) uint8 number of THRESHOLDS that each level reaches, 0..5."""
        return _frozen(np.searchsorted(self.threshold_levels, np.arange(256), "right").astype(np.uint8))

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """(256,) float32 balancing weight of each level of the truth (Shi et al. 2017, section 5.1)."""
        return _frozen(np.array(BALANCE, np.float32)[self.classes])


def _frozen(table: T) -> T:
    table.setflags(write=False)
    return table


HKO7 = ZR()
