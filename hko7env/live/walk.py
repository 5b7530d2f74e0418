"""The causal walk: sequences from the frames seen so far, without a look at frames to come.

The walk of :mod:`hko7env.schedule` keeps a sequence only if the frames to be forecast will be there, which nobody knows
when the forecast is issued. This walk keeps every segment of J slots that continues its episode. Where the times of
all frames lie on one grid of ``cadence`` minutes, the official sequences are exactly those of this walk whose window of
J + K slots turns out to have no run of more than ``MAX_MISSING`` missing slots, with the same first slots and the same
flags. Off that grid the two may begin an episode at different frames, because the official walk chooses the first one
whose whole window is valid.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.schedule import INPUTS, LEADS, MAX_MISSING, Minutes

_BEFORE_ALL = -(2**62)  # a time before every frame


class Segment(NamedTuple):
    """The J slots that one step observes.

    Attributes:
        start: Minutes since 1970-01-01 of the first slot.
        present: Whether each slot has a frame, as it was known when the segment was issued.
        new_episode: Whether the segment does not continue the one before it.
        cadence: Minutes between slots.
    """

    start: int
    present: tuple[bool, ...]
    new_episode: bool
    cadence: int

    @property
    def slots(self) -> Minutes:
        """(J,) int64 minutes since 1970-01-01 of the observed slots."""
        return np.asarray(self.start + self.cadence * np.arange(INPUTS), dtype=np.int64)

    @property
    def targets(self) -> Minutes:
        """(K,) int64 minutes since 1970-01-01 of the slots to forecast."""
        return np.asarray(self.start + self.cadence * np.arange(INPUTS, INPUTS + LEADS), dtype=np.int64)

    @property
    def issue_time(self) -> int:
        """Minutes since 1970-01-01 of the last observed slot."""
        return self.start + self.cadence * (INPUTS - 1)


class CausalWalk:
    """Finds one segment after another among the frames that have come.

    An episode begins at the first frame after the last one that was used. Its segments follow one another every J
    slots until more than ``MAX_MISSING`` consecutive slots are missing, which ends the episode.

    Args:
        cadence: Minutes between slots.
        begin: Minutes since 1970-01-01; frames before this time are not used. None: all are.
    """

    def __init__(self, cadence: int, begin: int | None = None) -> None:
        self.cadence = cadence
        self._used = _BEFORE_ALL if begin is None else begin - 1  # time of the last frame that an episode used
        self._start: int | None = None  # first slot of the segment to come; None between episodes
        self._missing = 0  # length of the run of missing slots before it
        self._new_episode = True

    def resume(self, last: Segment) -> None:
        """Continue after ``last``, the newest segment of an earlier process."""
        self._accept(last)

    def advance(self, times: Minutes, decided: int) -> Segment | None:
        """Find the next segment.

        Args:
            times: (N,) int64 times of the good frames that have come, minutes since 1970-01-01, increasing.
            decided: Minutes since 1970-01-01; a slot up to this time that has no frame is missing for good.

        Returns:
            The segment, or None if one of its slots is not decided yet.
        """
        while True:
            if self._start is None:
                following = int(np.searchsorted(times, self._used, "right"))
                if following == len(times):
                    return None
                self._start, self._missing, self._new_episode = int(times[following]), 0, True
            slots = self._start + self.cadence * np.arange(INPUTS)
            present = _exist(times, slots)
            broken = self._broken(present[slots <= decided])
            if broken is not None:
                self._end_episode(slots[:broken][present[:broken]])
            elif slots[-1] > decided:
                return None
            else:
                segment = Segment(self._start, tuple(present.tolist()), self._new_episode, self.cadence)
                self._accept(segment)
                return segment

    def _broken(self, present: npt.NDArray[np.bool_]) -> int | None:
        """The place of the decided slot with which a run of missing ones is too long, or None."""
        run = self._missing
        for place, there in enumerate(present.tolist()):
            run = 0 if there else run + 1
            if run > MAX_MISSING:
                return place
        return None

    def _end_episode(self, used: Minutes) -> None:
        if len(used):
            self._used = int(used[-1])
        self._start = None

    def _accept(self, segment: Segment) -> None:
        """Go on to the segment after ``segment``."""
        places = np.flatnonzero(segment.present)
        self._used = segment.start + self.cadence * int(places[-1])  # a segment holds a frame: its runs are short
        self._missing = INPUTS - 1 - int(places[-1])
        self._start, self._new_episode = segment.start + INPUTS * self.cadence, False


def _exist(times: Minutes, slots: Minutes) -> npt.NDArray[np.bool_]:
    """Which of ``slots`` are among ``times``."""
    if len(times) == 0:
        return np.zeros(len(slots), bool)
    nearest = np.minimum(np.searchsorted(times, slots), len(times) - 1)
    return np.asarray(times[nearest] == slots)
