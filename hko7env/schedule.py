"""The walk over the frames of a split: which sequences are due, and where an episode begins.

It knows times only, never pixels, so it is tested against the official frame lists.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Minutes = npt.NDArray[np.int64]

INPUTS, LEADS = 5, 20  # J and K of Shi et al. 2017, section 5.1
MAX_MISSING = 2  # a window with a longer run of missing frames is not walked (released code)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Sequences of a stream in the order of their issue.

    ``starts`` (N,) int64 minutes since 1970-01-01 of each first slot and ``new_episode`` (N,) bool.
    A sequence has ``inputs + leads`` slots, ``cadence`` minutes apart.
    """

    starts: Minutes
    new_episode: npt.NDArray[np.bool_]
    inputs: int = INPUTS
    leads: int = LEADS
    cadence: int = 6
    episode_starts: npt.NDArray[np.int64] = field(init=False, repr=False)  # (E,) indices of the first sequences

    def __post_init__(self) -> None:
        object.__setattr__(self, "episode_starts", np.flatnonzero(self.new_episode))

    def __len__(self) -> int:
        return len(self.starts)

    def slots(self, index: int) -> Minutes:
        """(J + K,) int64 minutes of sequence ``index``: the first J are seen, the others to be forecast."""
        return np.asarray(self.starts[index] + self.cadence * np.arange(self.inputs + self.leads), dtype=np.int64)

    def episode(self, index: int) -> int:
        """Number of the episode, counted from 0, that sequence ``index`` belongs to."""
        return int(np.searchsorted(self.episode_starts, index, "right")) - 1

    @property
    def sha256(self) -> str:
        """Digest of the starts as newline-joined ISO minutes, for comparison with other walks of the same list."""
        text = "\n".join(np.datetime_as_string(self.starts.astype("datetime64[m]")))
        return hashlib.sha256(text.encode()).hexdigest()


def schedule(
    times: npt.ArrayLike,
    *,
    inputs: int = INPUTS,
    leads: int = LEADS,
    stride: int = INPUTS,
    cadence: int = 6,
    max_missing: int = MAX_MISSING,
) -> Schedule:
    """Walk ``times`` (N,) of existing frames, minutes since 1970-01-01, by the rule of the released HKO-7 iterator.

    A window of ``inputs + leads`` slots is a sequence unless more than ``max_missing`` consecutive slots are missing;
    then the walk moves on by ``stride`` slots. Otherwise it moves to the next existing frame, and the next sequence
    begins a new episode. Times off the grid are kept to the minute. Like the official rule, and unlike a causal one,
    it looks at the frames to be forecast as well.

    Raises ValueError for times that are not strictly increasing whole minutes and for settings below 1.
    """
    for name, value, least in (
        ("inputs", inputs, 1),
        ("leads", leads, 1),
        ("stride", stride, 1),
        ("cadence", cadence, 1),
        ("max_missing", max_missing, 0),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    stamps = np.asarray(times)
    if stamps.ndim != 1 or (len(stamps) and stamps.dtype.kind not in "iu"):
        raise ValueError(f"times must be (N,) integer minutes, got {stamps.dtype} of shape {stamps.shape}")
    if (np.diff(stamps.astype(np.int64)) <= 0).any():
        raise ValueError("times must be strictly increasing")
    found = list(_walk(stamps.tolist(), inputs + leads, stride * cadence, cadence, max_missing))
    starts = np.array([start for start, _ in found], dtype=np.int64)
    return Schedule(starts, np.array([new for _, new in found], dtype=bool), inputs, leads, cadence)


def _walk(times: list[int], window: int, advance: int, cadence: int, max_missing: int) -> Iterator[tuple[int, bool]]:
    if not times:
        return
    existing = set(times)
    cursor, following, new_episode = times[0], 0, True  # following: index of the first time after the cursor
    while cursor <= times[-1]:
        if _is_valid(cursor, existing, window, cadence, max_missing):
            yield cursor, new_episode
            new_episode = False
            cursor += advance
            continue
        new_episode = True
        while following < len(times) and times[following] <= cursor:
            following += 1
        if following == len(times):
            return
        cursor = times[following]


def _is_valid(cursor: int, existing: set[int], window: int, cadence: int, max_missing: int) -> bool:
    run, seen = 0, False
    for slot in range(cursor, cursor + window * cadence, cadence):
        if slot in existing:
            run, seen = 0, True
        else:
            run += 1
            if run > max_missing:
                return False
    return seen


def evenly(count: int, limit: int) -> npt.NDArray[np.int64]:
    """Indices of at most ``limit`` of ``count`` sequences, spread evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64))
