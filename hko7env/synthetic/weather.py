"""The episodes of a synthetic archive: their dates, splits, seasons, mean wetness and missing frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from hko7env.archive.format import DAY, iso, minutes
from hko7env.archive.hko7_facts import CADENCE, TABLE_12
from hko7env.synthetic.field import random_stream
from hko7env.synthetic.process import HONG_KONG

# Hong Kong 2009 to 2015, January to December: number of rainy days, and mean rain on a rainy day in mm
RAINY_DAYS = (27, 53, 76, 85, 123, 127, 129, 109, 104, 54, 52, 54)
MM_A_DAY = (4.3, 4.5, 7.2, 11.4, 21.1, 21.3, 20.6, 19.5, 20.1, 10.5, 7.5, 6.0)
LONG_GAP = 12 * 60  # minutes without a frame after which a new episode begins
YEARS = {"train": range(2009, 2014), "valid": range(2014, 2015), "test": range(2015, 2016)}

_DAYS, _MEANS = 1 << 105, 1 << 106  # random streams

Minutes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class EpisodeSpec:
    """When one episode takes place and which of its frames are recorded.

    Attributes:
        split: The split that it belongs to.
        start: ISO minute of its first slot.
        frames: Number of slots.
        missing: Slots that are not recorded.
        moved: (slot, minutes) for slots that are recorded some minutes late.
    """

    split: str
    start: str
    frames: int
    missing: tuple[int, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()

    @property
    def slots(self) -> npt.NDArray[np.int64]:
        """(n,) int64 slots that are recorded."""
        return np.setdiff1d(np.arange(self.frames), self.missing)

    def times(self, cadence: int) -> Minutes:
        """(n,) int64 minutes since 1970-01-01 of the recorded slots, ``cadence`` minutes apart."""
        times = minutes(self.start) + cadence * np.arange(self.frames, dtype=np.int64)
        for slot, by in self.moved:
            times[slot] += by
        return np.asarray(times[self.slots])


# Two separate test days with single and double missing frames, as in HKO-7's list; the other splits in other years
TWO_DAYS = (
    EpisodeSpec("train", "2013-06-10T00:00", 240),
    EpisodeSpec("valid", "2014-05-08T06:00", 120, missing=(57,)),
    EpisodeSpec("test", "2015-05-20T00:00", 240, missing=(33, 101, 102, 180)),
    EpisodeSpec("test", "2015-07-09T00:00", 240, missing=(4, 150)),
)


def small(seed: int) -> tuple[EpisodeSpec, ...]:
    """Forty half days, at least two hours apart, with some frames missing: 24 train, 6 valid and 10 test episodes."""
    draw = random_stream((seed, 0), _DAYS)
    found = []
    for split, count in (("train", 24), ("valid", 6), ("test", 10)):
        for day in draw_rainy_days(YEARS[split], count, draw):
            start = day + 60 * int(draw.integers(0, 10))
            first = int(draw.integers(0, 110))
            chance, length = draw.random(), int(draw.integers(1, 3))
            missing = tuple(range(first, first + length)) if chance < 0.3 else ()
            found.append(EpisodeSpec(split, iso(start), 120, missing))
    return tuple(found)


def hko7(seed: int, test_times: Sequence[int] | None = None) -> tuple[EpisodeSpec, ...]:
    """Episodes with as many days and frames as HKO-7: 812 train, 50 valid and 131 test days.

    Source: Shi et al. 2017, Table 12.

    Args:
        seed: Days are drawn by season, and missing frames at random.
        test_times: Minutes since 1970-01-01 of the test frames, such as the official list; None: draw them as well.
    """
    draw = random_stream((seed, 0), _DAYS)
    found: list[EpisodeSpec] = []
    for split, (count, frames) in TABLE_12.items():
        days = np.array(draw_rainy_days(YEARS[split], count, draw))
        times = (days[:, None] + CADENCE * np.arange(DAY // CADENCE)).reshape(-1)
        times = np.delete(times, _draw_missing(len(times), len(times) - frames, draw))
        if split == "test" and test_times is not None:
            times = np.asarray(test_times, np.int64)
        found += by_times(split, times)
    return tuple(found)


SIZES: dict[str, Callable[[int], tuple[EpisodeSpec, ...]]] = {
    "two-days": lambda seed: TWO_DAYS, "small": small, "hko7": hko7
}  # fmt: skip


def by_times(split: str, times: Minutes, cadence: int = CADENCE) -> list[EpisodeSpec]:
    """Episodes whose frames are recorded at given times; a gap of more than twelve hours begins a new one.

    Args:
        split: The split that they belong to.
        times: (n,) int64 minutes since 1970-01-01, increasing.
        cadence: Minutes between slots.

    Returns:
        The episodes in the order of time.
    """
    found = []
    for run in np.split(times, np.flatnonzero(np.diff(times) > LONG_GAP) + 1):
        slots = (run - run[0]) // cadence
        moved = tuple((int(s), int(by)) for s, by in zip(slots, (run - run[0]) % cadence, strict=True) if by)
        missing = np.setdiff1d(np.arange(slots[-1] + 1), slots)
        found.append(EpisodeSpec(split, iso(run[0]), int(slots[-1]) + 1, tuple(missing.tolist()), moved))
    return found


def draw_rainy_days(years: Sequence[int], count: int, draw: np.random.Generator) -> list[int]:
    """First minutes of ``count`` different days, drawn by season, none of them in the last days of a year."""
    days = np.concatenate([np.arange(f"{y}-01-01", f"{y}-12-29", dtype="datetime64[D]") for y in years])
    chance = _chance_of_rain(days)
    chosen = draw.choice(len(days), count, replace=False, p=chance / chance.sum())
    return [int(day) * DAY for day in np.sort(days[chosen]).astype(int)]


def rainy_day_chances() -> npt.NDArray[np.float64]:
    """(362,) chance of a rainy day for the days of a year up to 28 December, up to a factor."""
    return _chance_of_rain(np.arange("2015-01-01", "2015-12-29", dtype="datetime64[D]"))


def _chance_of_rain(days: npt.NDArray[np.datetime64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.array(RAINY_DAYS, np.float64)[days.astype("datetime64[M]").astype(int) % 12])


def _draw_missing(frames: int, count: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """(count,) indices of missing frames: mostly single ones and pairs, some gaps of up to four hours."""
    missing: set[int] = set()
    while len(missing) < count:
        length = int(draw.choice(np.array([1, 2, draw.integers(3, 41)]), p=[0.8, 0.15, 0.05]))
        first = int(draw.integers(0, frames - length))
        missing |= set(range(first, first + min(length, count - len(missing))))
    return np.array(sorted(missing))


def means(weather: Sequence[EpisodeSpec], seed: int) -> npt.NDArray[np.float64]:
    """(n,) float64 mean of the latent field in each episode: normal quantiles, so that few vary as much as many.

    Episodes of the rainy season tend to get the higher ones.
    """
    rank = seasonal_rank(weather, random_stream((seed, 0), _MEANS))
    return np.asarray(HONG_KONG.between * special.ndtri((rank + 0.5) / len(weather)))


def seasonal_rank(weather: Sequence[EpisodeSpec], draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """(n,) rank of each episode by wetness, 0 for the driest; episodes of the rainy season tend to be wetter."""
    month = np.array([int(w.start[5:7]) - 1 for w in weather])
    season = np.log(np.array(MM_A_DAY))[month]
    return np.argsort(np.argsort(season + 0.7 * draw.standard_normal(len(weather))))
