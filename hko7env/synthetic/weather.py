"""Which episodes a synthetic archive has: their dates, splits, seasons, wetness and missing frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from hko7env.archive.format import iso, minutes
from hko7env.synthetic.field import random
from hko7env.synthetic.rain import BETWEEN

# Hong Kong 2009 to 2015, January to December: rainy days, and mm on a rainy day
RAINY_DAYS = (27, 53, 76, 85, 123, 127, 129, 109, 104, 54, 52, 54)
MM_A_DAY = (4.3, 4.5, 7.2, 11.4, 21.1, 21.3, 20.6, 19.5, 20.1, 10.5, 7.5, 6.0)
LONG_GAP = 12 * 60  # minutes without a frame after which the weather is another one
DAY = 1440

_DAYS, _MEANS = 1 << 105, 1 << 106  # random streams

Minutes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Weather:
    """One episode: ``frames`` slots from ``start`` (ISO minute), ``missing`` of them not recorded.

    A slot may be recorded ``moved`` by some minutes: (slot, minutes).
    """

    split: str
    start: str
    frames: int
    missing: tuple[int, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()

    @property
    def slots(self) -> npt.NDArray[np.int64]:
        """Slots that are recorded."""
        return np.setdiff1d(np.arange(self.frames), self.missing)

    def times(self, cadence: int) -> Minutes:
        """Minutes since 1970-01-01 of the recorded slots."""
        times = minutes(self.start) + cadence * np.arange(self.frames, dtype=np.int64)
        for slot, by in self.moved:
            times[slot] += by
        return np.asarray(times[self.slots])


# Two test days apart, with single and double missing frames as in HKO-7's list; the other splits in other years.
DEMO = (
    Weather("train", "2013-06-10T00:00", 240),
    Weather("valid", "2014-05-08T06:00", 120, missing=(57,)),
    Weather("test", "2015-05-20T00:00", 240, missing=(33, 101, 102, 180)),
    Weather("test", "2015-07-09T00:00", 240, missing=(4, 150)),
)


def small(seed: int) -> tuple[Weather, ...]:
    """Forty half days, hours apart: 24 to train on, 6 to validate, 10 to test; some frames missing."""
    draw = random((seed, 0), _DAYS)
    found = []
    for split, years, count in (("train", range(2009, 2014), 24), ("valid", [2014], 6), ("test", [2015], 10)):
        for day in _rainy_days(years, count, draw):
            start = day + 60 * int(draw.integers(0, 10))
            first = int(draw.integers(0, 110))
            gone = draw.random(), int(draw.integers(1, 3))
            missing = tuple(range(first, first + gone[1])) if gone[0] < 0.3 else ()
            found.append(Weather(split, iso(start), 120, missing))
    return tuple(found)


def hko7(seed: int, test_times: Sequence[int] | None = None) -> tuple[Weather, ...]:
    """Days and frames in the numbers of HKO-7 (Table 12): 812 train, 50 valid and 131 test days.

    ``test_times`` (minutes since 1970-01-01) are the test frames, such as the official list; by default days are drawn
    by season and 90 frames are missing.
    """
    draw = random((seed, 0), _DAYS)
    found: list[Weather] = []
    for split, years, count, frames in (
        ("train", range(2009, 2014), 812, 192_168),
        ("valid", [2014], 50, 11_736),
        ("test", [2015], 131, 31_350),
    ):
        days = np.array(_rainy_days(years, count, draw))
        times = (days[:, None] + 6 * np.arange(240)).reshape(-1)
        times = np.delete(times, _gone(len(times), len(times) - frames, draw))
        if split == "test" and test_times is not None:
            times = np.asarray(test_times, np.int64)
        found += by_times(split, times)
    return tuple(found)


SIZES: dict[str, Callable[[int], tuple[Weather, ...]]] = {"demo": lambda seed: DEMO, "small": small, "hko7": hko7}


def by_times(split: str, times: Minutes, cadence: int = 6) -> list[Weather]:
    """The episodes of a list of increasing times: a new one after each gap of more than twelve hours."""
    found = []
    for run in np.split(times, np.flatnonzero(np.diff(times) > LONG_GAP) + 1):
        slots = (run - run[0]) // cadence
        moved = tuple((int(s), int(by)) for s, by in zip(slots, (run - run[0]) % cadence, strict=True) if by)
        missing = np.setdiff1d(np.arange(slots[-1] + 1), slots)
        found.append(Weather(split, iso(run[0]), int(slots[-1]) + 1, tuple(missing.tolist()), moved))
    return found


def _rainy_days(years: Sequence[int], count: int, draw: np.random.Generator) -> list[int]:
    """First minutes of ``count`` different days, more of them in the rainy season, the year's last days left dry."""
    days = np.concatenate([np.arange(f"{y}-01-01", f"{y}-12-29", dtype="datetime64[D]") for y in years])
    month = days.astype("datetime64[M]").astype(int) % 12
    chance = np.array(RAINY_DAYS, np.float64)[month]
    chosen = draw.choice(len(days), count, replace=False, p=chance / chance.sum())
    return [int(day) * DAY for day in np.sort(days[chosen]).astype(int)]


def _gone(frames: int, count: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """``count`` of ``frames`` to leave out: mostly single ones and pairs, some gaps of up to four hours."""
    gone: set[int] = set()
    while len(gone) < count:
        length = int(draw.choice(np.array([1, 2, draw.integers(3, 41)]), p=[0.8, 0.15, 0.05]))
        first = int(draw.integers(0, frames - length))
        gone |= set(range(first, first + min(length, count - len(gone))))
    return np.array(sorted(gone))


def means(weather: Sequence[Weather], seed: int) -> npt.NDArray[np.float64]:
    """(n,) latent mean of each episode: normal quantiles, so that few episodes have the spread of many.

    The higher ones fall rather in the rainy season.
    """
    month = np.array([int(w.start[5:7]) - 1 for w in weather])
    season = np.log(np.array(MM_A_DAY))[month]
    rank = np.argsort(np.argsort(season + 0.7 * random((seed, 0), _MEANS).standard_normal(len(weather))))
    return np.asarray(BETWEEN * special.ndtri((rank + 0.5) / len(weather)))
