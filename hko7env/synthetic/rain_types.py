"""Types of weather for training archives: ranges from which each episode draws its rain and its radar's faults.

Wet areas and intensities span what the training days of four services show (``hko7env archive texture``, see
docs/synthetic-rain.md): 3 to 29 % of a map is wet, and 19 to 69 % of that at 2 mm/h or more. Slopes and lifetimes are
chosen such that thresholded rain has spectra and persistence like theirs; the other ranges are choices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import special

from hko7env.synthetic.process import Process
from hko7env.synthetic.rain import Marginal, normal_density, solve
from hko7env.units import THRESHOLDS

Range = tuple[float, float]

CELLS_SHARE, CELLS_RISE = 0.4, 0.45  # share of the wet area with cells; latent values in which they gain full strength
CLASSES = (0.0, 0.0, 0.0, 2.5, 3.0, 5.0)  # dB in a class of quantised radars; 0: levels as they are
# Minutes that pass between two frames, as a multiple of the archive's cadence, so that rain is as in faster and slower
# archives; most episodes keep the cadence
PACES = (5 / 6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5 / 3, 2.0, 2.5)


@dataclass(frozen=True)
class RainType:
    """Ranges of a type's parameters, each drawn uniformly; see :class:`Process` for those of its fields.

    Attributes:
        wet: Share of the map at or above 0.5 mm/h, in the mean over many episodes; its logarithm is drawn uniformly.
        tail: The share of this area with r times 0.5 mm/h or more is exp(-tail x - bend x^2), x = ln r; HKO-7 has 0.33
            and 0.105.
        bend: See ``tail``.
    """

    wet: Range
    tail: Range
    bend: Range
    slope: Range
    longest: Range
    lifetime: Range
    stretch: Range
    within: Range
    speed: Range
    cells: Range
    cell_minutes: Range


# fmt: off
TYPES: Mapping[str, RainType] = MappingProxyType({
    # sparse, small, short-lived cells
    "showers": RainType(
        wet=(0.005, 0.06), tail=(0.3, 0.7), bend=(0.05, 0.15), slope=(3.2, 3.8), longest=(50, 150), lifetime=(15, 45),
        stretch=(1, 1.5), within=(0.05, 0.2), speed=(5, 35), cells=(0.2, 0.5), cell_minutes=(30, 70),
    ),
    # organised convection, as in Hong Kong's summer
    "convective": RainType(
        wet=(0.05, 0.25), tail=(0.2, 0.45), bend=(0.07, 0.14), slope=(2.8, 3.4), longest=(150, 256), lifetime=(12, 36),
        stretch=(1, 2), within=(0.15, 0.35), speed=(10, 45), cells=(0.2, 0.5), cell_minutes=(30, 70),
    ),
    # stratiform rain over most of the map, smooth and long-lived
    "shield": RainType(
        wet=(0.2, 0.7), tail=(0.0, 0.4), bend=(0.2, 0.5), slope=(3.0, 3.6), longest=(200, 400), lifetime=(10, 30),
        stretch=(1, 2), within=(0.05, 0.2), speed=(15, 60), cells=(0.0, 0.15), cell_minutes=(40, 90),
    ),
    # frontal bands, long and narrow
    "band": RainType(
        wet=(0.06, 0.3), tail=(0.1, 0.45), bend=(0.1, 0.3), slope=(3.0, 3.6), longest=(120, 256), lifetime=(20, 50),
        stretch=(3, 7), within=(0.1, 0.25), speed=(20, 70), cells=(0.0, 0.35), cell_minutes=(30, 70),
    ),
    # weak rain of the cold season over a wide area
    "winter": RainType(
        wet=(0.1, 0.6), tail=(0.2, 0.6), bend=(0.5, 0.9), slope=(2.6, 3.3), longest=(150, 300), lifetime=(8, 24),
        stretch=(1, 2), within=(0.05, 0.25), speed=(10, 60), cells=(0.0, 0.1), cell_minutes=(40, 90),
    ),
})
# fmt: on


@dataclass(frozen=True)
class Faults:
    """What a radar does to the rain of an episode; the defaults do nothing.

    Attributes:
        speckle: Standard deviation in dB of noise in each location and frame.
        classes: dB in a class, where a radar's product has few classes; 0: levels as they are.
        bright_km: Distance in km at which the beam meets the melting layer.
        bright_width: Standard deviation in km of that ring.
        bright: What it adds in dB.
        attenuation: dB/km that 1 mm/h of rain between radar and location takes from the echo; about 0.004 at C band.
        blocked: Number of blocked sectors.
        residue: Share of locations with ground clutter that was not removed.
    """

    speckle: float = 0.0
    classes: float = 0.0
    bright_km: float = 80.0
    bright_width: float = 10.0
    bright: float = 0.0
    attenuation: float = 0.0
    blocked: int = 0
    residue: float = 0.0


@dataclass(frozen=True)
class Conditions:
    """All that was drawn for an episode.

    Attributes:
        type: Key of TYPES.
        wet: As of :class:`RainType`.
        tail: As of :class:`RainType`.
        bend: As of :class:`RainType`.
        pace: Minutes that pass between two frames as a multiple of the archive's cadence.
        process: The rain.
        faults: The radar.
    """

    type: str
    wet: float
    tail: float
    bend: float
    pace: float
    process: Process
    faults: Faults

    def marginal(self) -> Marginal:
        """The map from latent values to levels that gives the wet area and the intensities of these conditions."""
        x = np.log(np.array(THRESHOLDS) / THRESHOLDS[0])
        shares = self.wet * np.exp(-self.tail * x - self.bend * x**2)
        return solve(normal_density(), 0.0, process=self.process, exceedance=tuple(float(share) for share in shares))


def draw_conditions(kind: str, draw: np.random.Generator) -> Conditions:
    """Draw an episode of the type ``kind``, a key of TYPES."""
    ranges = TYPES[kind]
    names = [field.name for field in fields(ranges) if field.name != "wet"]
    drawn: dict[str, Any] = {name: _uniform(draw, getattr(ranges, name)) for name in names}
    wet = round(float(np.exp(draw.uniform(*np.log(ranges.wet)))), 4)
    tail, bend, speed = (drawn.pop(key) for key in ("tail", "bend", "speed"))
    start = float(special.ndtri(1 - CELLS_SHARE * wet))
    process = Process(
        **drawn,
        between=0.0,
        speed=(speed, speed),
        direction=_uniform(draw, (0, np.pi)),
        cells_from=start,
        cells_full=start + CELLS_RISE,
    )
    return Conditions(kind, wet, tail, bend, round(float(draw.choice(PACES)), 4), process, _draw_faults(draw))


def _draw_faults(draw: np.random.Generator) -> Faults:
    """A radar's faults: each is absent in a part of the episodes."""
    clean = Faults()
    faults = Faults(
        speckle=_uniform(draw, (0.2, 2.0)),
        classes=float(draw.choice(CLASSES)),
        bright_km=_uniform(draw, (40, 120)),
        bright_width=_uniform(draw, (5, 15)),
        bright=_uniform(draw, (2, 6)),
        attenuation=_uniform(draw, (0.002, 0.01)),
        blocked=int(draw.integers(0, 4)),
        residue=_uniform(draw, (0.0002, 0.003)),
    )
    chances = {"speckle": 0.5, "bright": 0.25, "attenuation": 0.3, "residue": 0.4}
    absent: dict[str, Any] = {name: getattr(clean, name) for name, p in chances.items() if draw.random() >= p}
    return replace(faults, **absent)


def _uniform(draw: np.random.Generator, ends: Range) -> float:
    return round(float(draw.uniform(*ends)), 4)
