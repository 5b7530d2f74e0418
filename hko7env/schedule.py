"""Sequences and episodes from the times of a split's frames, by the rule of the released HKO-7 iterator.

A window of J + K slots is valid if it holds a frame and no run of more than ``max_missing`` consecutive slots is
missing. Only times are used, never pixels, so the rule is tested against the official frame lists.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Minutes = npt.NDArray[np.int64]

INPUTS, LEADS = 5, 20  # J and K of Shi et al. 2017, section 5.1
MAX_MISSING = 2  # the longest allowed run of missing slots in a window (released code)


@dataclass(frozen=True, eq=False)
class Schedule:
    """The sequences of a split in the order of their issue.

    A sequence has ``inputs + leads`` slots, ``cadence`` minutes apart.

    Attributes:
        starts: (N,) int64 minutes since 1970-01-01 of each sequence's first slot.
        new_episode: (N,) bool, True where a sequence does not continue the one before it.
        inputs: J, slots that are observed.
        leads: K, slots that are forecast.
        cadence: Minutes between slots.
        episode_starts: (E,) int64 indices of the first sequence of each episode.
    """

    starts: Minutes
    new_episode: npt.NDArray[np.bool_]
    inputs: int = INPUTS
    leads: int = LEADS
    cadence: int = 6
    episode_starts: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "episode_starts", np.flatnonzero(self.new_episode))

    def __len__(self) -> int:
        return len(self.starts)

    def slots(self, index: int) -> Minutes:
        """(J + K,) int64 minutes since 1970-01-01 of the slots of sequence ``index``."""
        return np.asarray(self.starts[index] + self.cadence * np.arange(self.inputs + self.leads), dtype=np.int64)

    def episode(self, index: int) -> int:
        """Number of the episode that sequence ``index`` belongs to, counted from 0."""
        return int(np.searchsorted(self.episode_starts, index, "right")) - 1

    @property
    def sha256(self) -> str:
        """sha256 (hex) of the starts as ISO minutes, one a line; equal schedules have equal digests."""
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
    """Find the sequences among the frames that exist.

    An episode begins at the first existing frame whose window is valid. Its sequences follow one another every
    ``stride`` slots until a window is invalid; the next episode begins at the next existing frame with a valid window.
    The slots of an episode are counted from the exact minute of its first frame; frames between slots do not count. As
    in the released code, and unlike in operation, validity depends on the frames to be forecast as well.

    Args:
        times: (N,) strictly increasing whole minutes since 1970-01-01 of the frames that exist.
        inputs: J, slots of a sequence that are observed.
        leads: K, slots of a sequence that are forecast.
        stride: Slots between the starts of consecutive sequences.
        cadence: Minutes between slots.
        max_missing: Longest allowed run of missing slots in a window.

    Returns:
        The schedule; it is empty if no window is valid.

    Raises:
        ValueError: For times that are not strictly increasing whole minutes, or settings below 1 (``max_missing``: 0).
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
    stamps = stamps.astype(np.int64)
    if (np.diff(stamps) <= 0).any():
        raise ValueError("times must be strictly increasing")
    windows = _Windows(stamps, inputs + leads, cadence, max_missing)
    possible = stamps[windows.valid(stamps)]
    episodes: list[Minutes] = []
    following = 0  # index in ``possible`` of the next episode's first start
    while following < len(possible):
        episodes.append(_unbroken(windows, possible[following], stride * cadence))
        following = int(np.searchsorted(possible, episodes[-1][-1] + stride * cadence))
    starts = np.concatenate([np.zeros(0, np.int64), *episodes])
    return Schedule(starts, np.isin(starts, [episode[0] for episode in episodes]), inputs, leads, cadence)


def valid_starts(
    times: Minutes, cadence: int, *, inputs: int = INPUTS, leads: int = LEADS, max_missing: int = MAX_MISSING
) -> Minutes:
    """Select those of ``times`` at which a valid window begins.

    Args:
        times: (N,) int64 strictly increasing minutes since 1970-01-01 of the frames that exist.
        cadence: Minutes between slots.
        inputs: J, as of :func:`schedule`.
        leads: K, as of :func:`schedule`.
        max_missing: As of :func:`schedule`.

    Returns:
        (n,) int64 minutes since 1970-01-01.
    """
    return times[_Windows(times, inputs + leads, cadence, max_missing).valid(times)]


class _Windows(NamedTuple):
    """The windows of ``length`` slots over the frames at ``times`` (N,) int64."""

    times: Minutes
    length: int
    cadence: int
    max_missing: int

    def valid(self, starts: Minutes) -> npt.NDArray[np.bool_]:
        """(M,) whether the windows that begin at ``starts`` (M,) hold a frame and no long run of missing ones."""
        missing = np.zeros(len(starts), np.int64)  # length of the run of missing slots so far
        holds_frame, short = np.zeros(len(starts), bool), np.ones(len(starts), bool)
        for slot in range(self.length):
            there = self._exist(starts + slot * self.cadence)
            holds_frame |= there
            missing = np.where(there, 0, missing + 1)
            short &= missing <= self.max_missing
        return holds_frame & short

    def _exist(self, slots: Minutes) -> npt.NDArray[np.bool_]:
        if len(self.times) == 0:
            return np.zeros(len(slots), bool)
        nearest = np.minimum(np.searchsorted(self.times, slots), len(self.times) - 1)
        return np.asarray(self.times[nearest] == slots)


def _unbroken(windows: _Windows, first: np.int64, advance: int) -> Minutes:
    """Starts of the valid windows from ``first`` on, ``advance`` minutes apart, up to the first invalid one."""
    starts, count = np.array([first]), 64
    while True:
        ahead = starts[-1] + advance * np.arange(1, count + 1)
        valid = windows.valid(ahead)
        if not valid.all():
            return np.concatenate([starts, ahead[: np.argmin(valid)]])
        starts, count = np.concatenate([starts, ahead]), 2 * count


def evenly(count: int, limit: int) -> npt.NDArray[np.int64]:
    """(n,) int64 indices of at most ``limit`` of ``count`` sequences, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64))
