"""Level, pixel, dBZ and rain rate; the paper's thresholds and weights; the tables that score and loss share.

A level is a radar grey value 0..255, a pixel is level / 255, reflectivity is ``dBZ = 70 pixel - 10`` and rain rate
follows from ``Z = a R^b``. Shi et al. 2017 print ``dBZ - 10`` in the inverse; only the plus agrees with their Table 2
and with the released code, so the plus stands here.
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
NOISE_LEVEL = 71  # levels 1..70 are small-echo noise and never scored; Shi et al. 2017, appendix D.2

T = TypeVar("T", bound=npt.NDArray[Any])


def _log10(x: Any) -> Any:
    if hasattr(x, "log10"):  # a torch tensor: kept on its device, in its graph, and torch stays unimported
        return x.log10()
    with np.errstate(divide="ignore"):
        return np.log10(x)


def _array(x: Any) -> Any:
    return x if hasattr(x, "log10") else np.asarray(x)


def pixel(dbz: Any) -> Any:
    """Pixel of a reflectivity in dBZ, not clipped; any shape, numpy or torch."""
    return (_array(dbz) - DBZ_FLOOR) / DBZ_SPAN


def dbz(pixel: Any) -> Any:
    """Reflectivity in dBZ of a pixel; any shape, numpy or torch."""
    return _array(pixel) * DBZ_SPAN + DBZ_FLOOR


def level(pixel: Any) -> Any:
    """Nearest level 0..255 (uint8) of a pixel, halves upwards, clipped; numpy or torch.

    Raises ValueError on NaN, which has no level.
    """
    x = _array(pixel) * 255.0 + 0.5
    if (x != x).any():
        raise ValueError("NaN has no radar level: mark the frame as missing or mask the location instead")
    if hasattr(x, "log10"):
        return x.floor().clamp(0, 255).byte()
    return np.floor(x).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class ZR:
    """The relation ``Z = a R^b`` between reflectivity and rain rate in mm/h, and its tables over the 256 levels."""

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
        """Reflectivity in dBZ of a rain rate in mm/h; a rate of 0 gives -inf."""
        return 10.0 * float(np.log10(self.a)) + 10.0 * self.b * _log10(_array(rate))

    def rate(self, dbz: Any) -> Any:
        """Rain rate in mm/h of a reflectivity in dBZ."""
        return 10.0 ** ((_array(dbz) - 10.0 * float(np.log10(self.a))) / (10.0 * self.b))

    @cached_property
    def threshold_pixels(self) -> npt.NDArray[np.float64]:
        """(5,) pixels at which THRESHOLDS are reached (a value counts when >=)."""
        return _frozen(np.asarray(pixel(self.dbz(np.array(THRESHOLDS)))))

    @cached_property
    def threshold_levels(self) -> npt.NDArray[np.int64]:
        """(5,) first levels that reach THRESHOLDS; 256 where none does."""
        return _frozen(np.searchsorted(np.arange(256) / 255, self.threshold_pixels, "left"))

    @cached_property
    def rates(self) -> npt.NDArray[np.float64]:
        """(256,) mm/h of each level."""
        return _frozen(np.asarray(self.rate(dbz(np.arange(256) / 255))))

    @cached_property
    def classes(self) -> npt.NDArray[np.uint8]:
        """(256,) how many of THRESHOLDS each level reaches, 0..5."""
        return _frozen(np.searchsorted(self.threshold_levels, np.arange(256), "right").astype(np.uint8))

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """(256,) balancing weight of each level of the truth; Shi et al. 2017, section 5.1."""
        return _frozen(np.array(BALANCE, np.float32)[self.classes])


def _frozen(table: T) -> T:
    table.setflags(write=False)
    return table


HKO7 = ZR()
