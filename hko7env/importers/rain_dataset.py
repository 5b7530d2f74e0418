"""Rain or reflectivity over (time, y, x) in an open xarray dataset: what it is in, where and when, and its frames.

Units and standard names are those of the CF conventions and of the mlcast specification 0.2.0 of radar datasets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, iso
from hko7env.damage import DAMAGE, DamagedFile
from hko7env.importers.archive_facts import ArchiveFacts, read_facts
from hko7env.importers.contract import Mask
from hko7env.importers.dataset import check_frames
from hko7env.importers.levels import METRES, MM_PER_HOUR

Minutes = npt.NDArray[np.int64]
Axis = npt.NDArray[np.float64]

RATE, AMOUNT, REFLECTIVITY = "rain rate", "rain amount of a time step", "reflectivity"
UNITS: dict[str, dict[str, float]] = {  # what it is -> units in lower case -> factor to mm/h, mm or dBZ
    RATE: MM_PER_HOUR,
    AMOUNT: {"mm": 1.0, "kg m-2": 1.0},
    REFLECTIVITY: {"dbz": 1.0},
}
STANDARD_NAMES = {
    "rainfall_flux": RATE, "precipitation_flux": RATE, "equivalent_reflectivity_factor": REFLECTIVITY,
    "rainfall_amount": AMOUNT, "precipitation_amount": AMOUNT,
}  # fmt: skip
REGULAR_FROM = "consistent_timestep_start"  # attribute of a dataset whose time step varied before
SAMPLED_FRAMES = 25  # that show which locations are out of range
_BLOCK_VALUES, _BLOCK_FRAMES = 1 << 24, 60  # that are read at once and kept

Choice = Callable[[Any], str | None]  # takes a dataset and names its variable of rain


class Quantity(NamedTuple):
    """What the values of a variable are, and the factor that takes them to mm/h, mm or dBZ."""

    kind: str
    factor: float


class TimeAxis(NamedTuple):
    """The times of a dataset.

    Attributes:
        times: (N,) minutes since 1970-01-01, as stored.
        first: Number of the first frame from which the time step is regular.
        shortest: The smallest distance in minutes of times, those that are listed as missing included; 0 for one time.
        longest: The largest one.
        regular: Whether all distances are multiples of the smallest one.
    """

    times: Minutes
    first: int
    shortest: int
    longest: int
    regular: bool


@dataclass(frozen=True, eq=False)
class RainDataset:
    """The variable of rain or reflectivity of an open dataset.

    Attributes:
        data: The ``xarray.Dataset``.
        variable: The variable over (time, y, x).
        quantity: What its values are.
        axis: Its times.
        facts: Those of the archive, if the dataset is an exported one.
        flips: Steps, 1 or -1, along y and x that put north first and west first.
        y: (H,) coordinates of the rows in metres, north to south.
        x: (W,) coordinates of the columns in metres, west to east.
        frames: Reads its frames as they are stored.
    """

    data: Any
    variable: Any
    quantity: Quantity
    axis: TimeAxis
    facts: ArchiveFacts | None
    flips: tuple[int, int]
    y: Axis
    x: Axis
    frames: "FrameBlocks"

    def frame(self, number: int) -> npt.NDArray[np.float64]:
        """(H, W) float64 frame ``number`` in mm/h or dBZ, north and west first; NaN where there are no data."""
        if not 0 <= number < len(self.axis.times):
            raise DamagedFile(
                f"there is no frame {number}, it holds {len(self.axis.times)}: it changed while it was read"
            )
        flip_y, flip_x = self.flips
        factor = self.quantity.factor * (60 / self.axis.shortest if self.quantity.kind == AMOUNT else 1.0)
        return np.asarray(self.frames.read(number), np.float64)[::flip_y, ::flip_x] * factor

    @cached_property
    def outside(self) -> Mask:
        """(H, W) bool, True out of range: where more than half of some frames have no data.

        Frames without any data do not count, nor do those before the time step is regular.
        """
        if self.facts is not None:
            flip_y, flip_x = self.flips
            return np.asarray(self.facts.mask == OUT_OF_RANGE)[::flip_y, ::flip_x]
        numbers = np.unique(np.linspace(self.axis.first, len(self.axis.times) - 1, SAMPLED_FRAMES).astype(int))
        unknown = [np.isnan(frame) for number in numbers if (frame := self._sample(int(number))) is not None]
        if not unknown:
            raise DamagedFile(f"none of {len(numbers)} frames can be read")
        votes = [one for one in unknown if not one.all()] or unknown
        return np.asarray(2 * np.sum(votes, axis=0) > len(votes))

    def _sample(self, number: int) -> npt.NDArray[np.float64] | None:
        """A frame, or None if it is damaged, which is reported when its turn comes."""
        try:
            return self.frame(number)
        except OSError:  # of the connection or the disk
            raise
        except DAMAGE:
            return None


class FrameBlocks:
    """The frames of a variable; a block of them is read at once and kept while frames are asked for in order.

    Opening costs more than reading, and chunks of several frames are decoded as a whole.

    Args:
        variable: Over (time, y, x).
        chunk: Frames in a chunk; 0 if the variable is not in memory for the next frame.
    """

    def __init__(self, variable: Any, chunk: int) -> None:
        self._variable, self._chunk = variable, chunk
        frame = int(np.prod(variable.shape[1:]))
        self._ahead = max(min(_BLOCK_FRAMES, _BLOCK_VALUES // frame) // max(chunk, 1), 1) * chunk
        self._keeps = 0 < chunk * frame <= _BLOCK_VALUES
        self._first, self._block, self._next = 0, np.empty((0, *variable.shape[1:])), -1

    def read(self, number: int) -> npt.NDArray[Any]:
        """(H, W) frame ``number``."""
        in_order, self._next = number == self._next, number + 1
        if not self._keeps:
            return np.asarray(self._variable[number].values)
        if not self._first <= number < self._first + len(self._block):
            self._first = number // self._chunk * self._chunk
            try:
                self._block = self._values(self._ahead if in_order else self._chunk)
            except DAMAGE:  # of a later chunk, perhaps
                self._block = self._values(self._chunk)
        return np.asarray(self._block[number - self._first])

    def _values(self, count: int) -> npt.NDArray[Any]:
        return np.asarray(self._variable[self._first : self._first + count].values)


def describe(data: Any, choose: Choice) -> RainDataset | None:
    """Find out what a dataset holds; frames are not read.

    Args:
        data: An open ``xarray.Dataset``, times decoded.
        choose: Names the variable of rain or reflectivity, such as :func:`by_units`.

    Returns:
        None if there is no such variable.

    Raises:
        DamagedFile: Units, coordinates or times are missing, unknown or contradictory, or frames are
            larger than any radar's.
    """
    name = choose(data)
    if name is None:
        return None
    variable = data[name]
    quantity = quantity_of(variable)
    if quantity is None:
        return None
    check_frames(variable)
    time, *space = (str(dimension) for dimension in variable.dims)
    _check_order(data, *space)
    axis = _time_axis(data, time)
    if quantity.kind == AMOUNT and not 0 < axis.shortest == axis.longest:
        raise DamagedFile(f"{name} is an amount of rain, and {why_irregular(axis)}")
    y, x = (_metres(data, dimension) for dimension in space)
    flips = (-1 if len(y) > 1 and y[1] > y[0] else 1), (-1 if len(x) > 1 and x[1] < x[0] else 1)
    frames = FrameBlocks(variable, (variable.encoding.get("chunks") or (0,))[0])
    facts = read_facts(data)
    if facts is not None and (facts.mask.shape != variable.shape[1:] or len(facts.status) != len(variable)):
        raise DamagedFile(f"mask or status of the exported archive are of another size than {name}: export it again")
    return RainDataset(data, variable, quantity, axis, facts, flips, y[:: flips[0]], x[:: flips[1]], frames)


def by_units(data: Any) -> str | None:
    """Name of the variable over time, y and x in units of reflectivity or rain. Raises DamagedFile for several."""
    return _only([str(name) for name in data.data_vars if over_time(data, name) and quantity_of(data[name])])


def by_standard_name(data: Any) -> str | None:
    """Name of the one data variable, by a standard name of the mlcast specification.

    Raises:
        DamagedFile: A variable over time, y and x has another standard name, or there is none or several.
    """
    names = [str(name) for name, variable in data.data_vars.items() if variable.ndim == 3]
    for name in names:
        given = data[name].attrs.get("standard_name")
        if given not in STANDARD_NAMES:
            raise DamagedFile(
                f"variable {name} has the standard name {given!r}, expected one of {', '.join(STANDARD_NAMES)}"
            )
        if not over_time(data, name):
            raise DamagedFile(f"{data[name].dims[0]}, the first dimension of {name}, is no time: expected (time, y, x)")
        quantity_of(data[name])
    if not names:
        raise DamagedFile(f"no variable over (time, y, x) has a standard name such as {next(iter(STANDARD_NAMES))}")
    return _only(names)


def quantity_of(variable: Any) -> Quantity | None:
    """What a variable is in, by its standard name, or else by its units; None if neither is of rain.

    Raises:
        DamagedFile: The units are not those of the standard name.
    """
    units = str(variable.attrs.get("units", "")).strip().lower()
    name = str(variable.attrs.get("standard_name", "")).strip()
    if name in STANDARD_NAMES:
        known = UNITS[STANDARD_NAMES[name]]
        if units not in known:
            raise DamagedFile(
                f"variable {variable.name} is {name} in {variable.attrs.get('units', 'no units')!r}, expected one of "
                f"{', '.join(known)}"
            )
        return Quantity(STANDARD_NAMES[name], known[units])
    found = [Quantity(kind, UNITS[kind][units]) for kind in (RATE, REFLECTIVITY) if units in UNITS[kind]]
    return found[0] if found else None


def over_time(data: Any, name: Any) -> bool:
    """Whether a variable has three dimensions, the first of them a decoded time."""
    return data[name].ndim == 3 and np.issubdtype(data[data[name].dims[0]].dtype, np.datetime64)


def _only(names: list[str]) -> str | None:
    if len(names) > 1:
        raise DamagedFile(f"several variables are rain or reflectivity: {', '.join(names)}; keep one")
    return names[0] if names else None


def _check_order(data: Any, y: str, x: str) -> None:
    for name, other in ((y, "x"), (x, "y")):
        known = data[name].attrs if name in data.coords else {}
        if known.get("standard_name") == f"projection_{other}_coordinate" or known.get("axis") == other.upper():
            raise DamagedFile(f"the dimensions are (time, {y}, {x}), and {name} is {other}: expected (time, y, x)")


def _time_axis(data: Any, dimension: str) -> TimeAxis:
    values = data[dimension].values
    absent = np.flatnonzero(np.isnat(values))
    if len(absent):
        raise DamagedFile(f"{dimension} number {absent[0]} is not a time (NaT)")
    times = _minutes(values)
    missing = _missing_times(data)
    both = np.intersect1d(times, missing)
    if len(both):
        raise DamagedFile(f"missing_times has {iso(int(both[0]))}, and {dimension} has it too: one of them is wrong")
    start = _regular_from(data, times)
    regular = np.union1d(times[times >= start], missing[missing >= start])
    steps = np.diff(regular)
    first = int(np.argmax(times >= start)) if len(times) else 0
    if not len(steps):
        return TimeAxis(times, first, 0, 0, True)
    shortest = int(steps.min())
    return TimeAxis(times, first, shortest, int(steps.max()), not (steps % shortest).any())


def _missing_times(data: Any) -> Minutes:
    if "missing_times" not in data.variables:
        return np.empty(0, np.int64)
    values = data["missing_times"].values
    if not np.issubdtype(values.dtype, np.datetime64) or np.isnat(values).any():
        raise DamagedFile("missing_times holds values that are not times")
    return _minutes(values)


def _regular_from(data: Any, times: Minutes) -> int:
    """The minute from which the time step is regular."""
    given = data.attrs.get(REGULAR_FROM)
    begin = int(times.min()) if len(times) else 0
    if given is None:
        return begin
    try:
        start = int(np.datetime64(str(given).strip().removesuffix("Z"), "m").astype(np.int64))
    except ValueError as error:
        raise DamagedFile(f"attribute {REGULAR_FROM} is {given!r}, expected an ISO time") from error
    if len(times) and start > times.max():
        raise DamagedFile(f"attribute {REGULAR_FROM} is {given}, after the last time")
    return start


def _minutes(values: npt.NDArray[Any]) -> Minutes:
    return values.astype("datetime64[m]").astype(np.int64)


def why_irregular(axis: TimeAxis) -> str:
    """Why a rain rate cannot be had from amounts at these times, and what to do."""
    if len(axis.times) < 2:
        return "one frame does not show its time step"
    return (
        f"its time step varies from {axis.shortest} to {axis.longest} min: list gaps in missing_times, or say "
        f"from when it is regular in the attribute {REGULAR_FROM}"
    )


def _metres(data: Any, dimension: str) -> Axis:
    """A coordinate in metres. Raises DamagedFile if it is missing or not a length."""
    if dimension not in data.coords:
        raise DamagedFile(f"dimension {dimension} has no coordinate, so north and west are unknown")
    units = str(data[dimension].attrs.get("units", "m")).strip().lower()
    factor = METRES.get(units)
    if factor is None:
        raise DamagedFile(f"coordinate {dimension} is in {units}, expected m or km: project it")
    values = np.asarray(data[dimension].values, np.float64) * factor
    if not values.size or not np.isfinite(values).all():
        raise DamagedFile(f"coordinate {dimension} is empty or has values that are not finite")
    return values
