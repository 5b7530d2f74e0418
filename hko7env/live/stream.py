"""The steps of a growing archive: waiting for a segment, the observation of it, and the truth that has come."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hko7env.archive import ArchiveError
from hko7env.archive.clutter import remove_noise
from hko7env.contract import Observation
from hko7env.forecast import Forecast
from hko7env.live.growing_archive import GrowingArchive
from hko7env.live.walk import CausalWalk, Segment
from hko7env.schedule import INPUTS, MAX_MISSING, Minutes
from hko7env.scores import Tally
from hko7env.split_view import SplitView

FIRST_POLL = 0.02  # seconds until an archive is looked at again; doubled as long as nothing has come
_T = TypeVar("_T")


@dataclass(frozen=True)
class Waiting:
    """How long to wait for frames.

    Attributes:
        patience: Minutes after its time at which a slot without a frame counts as missing. None: only a later frame
            makes it missing, so that no clock is needed, as in a replay.
        timeout: Seconds without a new frame after which the stream is over; None: it never is.
        poll: The longest time in seconds between two looks at the archive.

    Raises:
        ValueError: For a negative number, or a ``poll`` of 0.
    """

    patience: float | None = None
    timeout: float | None = None
    poll: float = 0.5

    def __post_init__(self) -> None:
        for name in ("patience", "timeout", "poll"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < math.inf and (value or name != "poll")):
                least = "above 0" if name == "poll" else "at least 0"
                raise ValueError(f"{name} must be {least} and finite, got {value}")


class LiveStream:
    """One segment after another of an archive that is still growing.

    A slot is decided once the archive holds a frame of its time or a later one, good or suspect, because frames are
    appended in the order of time; or once it is overdue by ``waiting.patience``.

    Args:
        source: The archive, which has a good frame.
        walk: The walk, possibly resumed.
        waiting: How long to wait.
        cleaned: Whether observations have masked locations and small echo set to 0.
        clock: Seconds since 1970-01-01.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        source: GrowingArchive,
        walk: CausalWalk,
        waiting: Waiting,
        *,
        cleaned: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.source, self.waiting, self.cleaned = source, waiting, cleaned
        self._walk, self._clock, self._sleep = walk, clock, sleep

    @property
    def view(self) -> SplitView:
        """The frames that have come."""
        assert self.source.view is not None, "the archive has a good frame"
        return self.source.view

    @property
    def decided(self) -> int:
        """Minutes since 1970-01-01; a slot up to this time that has no frame is missing for good."""
        newest = int(self.view.archive.times[-1])
        if self.waiting.patience is None:
            return newest
        return max(newest, math.floor(self._clock() / 60 - self.waiting.patience))

    def next(self, *, stopped: Callable[[], bool] = bool, idle: Callable[[], None] | None = None) -> Segment | None:
        """Wait for the next segment.

        Args:
            stopped: Whether to stop waiting; asked between two looks at the archive.
            idle: Called between two looks.

        Returns:
            The segment, or None after a stop or a timeout.

        Raises:
            ArchiveError: The archive is damaged, or another one has taken its place; a ValueError.
        """
        quiet_since, pause = self._clock(), FIRST_POLL
        while True:
            grown = self.source.refresh()
            segment = self._walk.advance(self.view.times, self.decided)
            if segment is not None:
                return segment
            if grown:
                quiet_since, pause = self._clock(), FIRST_POLL
            timeout = self.waiting.timeout
            if stopped() or (timeout is not None and self._clock() - quiet_since >= timeout):
                return None
            if idle:
                idle()
            self._sleep(min(pause, self.waiting.poll))
            pause *= 2

    def observe(self, segment: Segment, new_episode: bool | None = None) -> Observation:
        """What agents see of a segment: the same whenever it is read.

        A frame that has come after the segment was issued is not shown; one that has been removed since is missing.

        Args:
            segment: The segment.
            new_episode: Replaces the segment's flag.
        """
        frames, there = self._read(lambda view: view.frames_at(segment.slots))
        present = there & np.array(segment.present)
        shown = np.stack(frames)
        shown[~present] = 0
        if self.cleaned:
            shown = remove_noise(shown, self.view.archive.mask)
        fresh = segment.new_episode if new_episode is None else new_episode
        return Observation(frames=shown, present=present.astype(np.int8), time=segment.slots, new_episode=int(fresh))

    def score(self, targets: Minutes, forecast: Forecast) -> Tally:
        """Score a forecast whose K valid times are ``targets``. Raises ForecastError if it is malformed."""
        return self._read(lambda view: view.score(targets, forecast))

    def ended(self, targets: Minutes) -> bool:
        """Whether a stream that ends now has the truth of ``targets`` but for a run that the official walk allows."""
        newest = int(self.view.archive.times[-1])
        return int(np.count_nonzero(targets > newest)) <= MAX_MISSING

    def is_late(self, segment: Segment) -> bool:
        """Whether the time of the next forecast has come: its segment is there or, with ``patience``, by the clock."""
        self.source.refresh()
        following = segment.issue_time + INPUTS * segment.cadence
        by_clock = self.waiting.patience is not None and self._clock() / 60 >= following
        return by_clock or int(self.view.archive.times[-1]) >= following

    def _read(self, read: Callable[[SplitView], _T]) -> _T:
        """Read from the archive, a second time if its writer has removed frames meanwhile."""
        try:
            return read(self.view)
        except (ArchiveError, FileNotFoundError):
            self.source.refresh()
            return read(self.view)
