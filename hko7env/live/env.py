"""The environment of an archive that is still growing."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
import numpy.typing as npt

from hko7env.archive.format import iso
from hko7env.env import make_spaces, make_task, no_frames
from hko7env.forecast import check_forecast, check_range
from hko7env.live.growing_archive import GrowingArchive
from hko7env.live.stream import LiveStream, Waiting
from hko7env.live.walk import CausalWalk, Segment
from hko7env.naming import suggest
from hko7env.schedule import INPUTS, LEADS, Minutes
from hko7env.scores import Tally, averages


class _Sealed(NamedTuple):
    """A forecast whose truth has not come: index of its sequence, its valid times (K,), and its pixels (K, H, W)."""

    sequence: int
    targets: Minutes
    pixels: npt.NDArray[np.float32]


class LiveEnv(gymnasium.Env[Any, npt.NDArray[np.float32]]):
    """Precipitation nowcasting on an archive to which another process appends, as in operation: ``HKO7-Live-v0``.

    Spaces, reward, sealing and scoring are those of :class:`hko7env.env.NowcastingEnv`. What differs is the walk: it
    uses the frames that have come and nothing else, and ``reset`` and ``step`` wait until the next segment of J = 5
    slots is decided.

    **Decided** is a slot whose frame is in the archive; one for which a later frame is there, good or suspect, since
    frames are appended in the order of time; and one that is overdue by ``patience``. A decided slot without a good
    frame is missing: ``present`` is 0 and the frame is 0. A frame that comes after its segment was issued is not shown
    any more, but it counts as truth if it comes before the forecast is scored.

    **Episodes:** More than two consecutive missing slots end an episode; the next one begins at the next frame. The
    official walk (``HKO7-Online-v0``) also drops sequences whose frames to be forecast will be missing, which cannot be
    known when they are issued; this walk issues them. Where all frames lie on one grid of the cadence, the official
    sequences are exactly those of this walk whose window of 25 slots turns out to have no longer gap, with the same
    observations, flags and tallies. Frames off that grid may let the walks begin an episode at different frames.

    **Scores** are revealed when the clock, ``observation["time"][-1]``, has reached the last valid time. Valid times
    without a frame are not scored.

    **Episode end:** ``truncated`` once no frame has come for ``timeout`` seconds, or after :meth:`stop`; never
    ``terminated``. The last observation holds no frame. :meth:`release` then reveals the forecasts that are left,
    scored against the frames that have come. ``reset`` begins the walk again.

    **Info:** ``sequence``, number of segments before the current one; ``clock``, minutes since 1970-01-01;
    ``revealed``, number of forecasts revealed by the step.

    **Options of reset:** ``begin``, minutes since 1970-01-01 of the earliest frame to use; default: the first one.

    Args:
        archive: Path, URL or zarr store of an archive.
        split: A split of the archive, or ``"all"``; None as of ``NowcastingEnv``.
        patience: Minutes after its time at which a slot counts as missing; None: only a later frame decides, so that
            no clock is needed.
        timeout: Seconds without a new frame after which the stream is over; 0 for a finished archive; None: never.
        poll: The longest time in seconds between two looks at the archive; they come in quick succession at first.
        online: Whether agents may learn.
        cleaned: Whether observations have masked locations and small echo set to 0.
        render_mode: None; this environment draws nothing.
        clock: Seconds since 1970-01-01, for tests.
        sleep: Waits for some seconds, for tests.

    Attributes:
        task: What an agent is made for.
        stream: The segments and the truth.
        tally: Sum of the tallies revealed since reset.
        revealed: List of (sequence index, tally) that the last step revealed.

    Raises:
        ValueError: For an unknown split, a number out of range, or an archive without a good frame.
        FileNotFoundError: If there is no archive.
        ArchiveError: For a damaged archive; a ValueError.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        archive: Any,
        split: str | None = None,
        *,
        patience: float | None = None,
        timeout: float | None = None,
        poll: float = 0.5,
        online: bool = True,
        cleaned: bool = False,
        render_mode: None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if render_mode is not None:
            raise ValueError(f"render_mode {render_mode!r} is unknown: this environment draws nothing, give None")
        self.render_mode = None
        self._waiting = Waiting(patience, timeout, poll)
        self._source = GrowingArchive(archive, split, clock=clock, sleep=sleep)
        self._source.refresh()
        if self._source.archive is None:
            raise FileNotFoundError(f"no archive at {archive}: check the path, or wait until its writer has made it")
        if self._source.view is None:
            raise ValueError(f"{archive} holds no good frame yet: make the environment when the first one has come")
        self._clock, self._sleep, self._cleaned, self.online = clock, sleep, cleaned, online
        self.task = make_task(self._source.archive, online)
        self.observation_space, self.action_space = make_spaces(self.task)
        self._begin()

    def _begin(self, begin: int | None = None) -> None:
        walk = CausalWalk(self.task.cadence, begin)
        self.stream = LiveStream(
            self._source, walk, self._waiting, cleaned=self._cleaned, clock=self._clock, sleep=self._sleep
        )
        self.revealed: list[tuple[int, Tally]] = []
        self.tally = Tally.zero(LEADS)
        self._sealed: deque[_Sealed] = deque()
        self._segment: Segment | None = None
        self._index = 0
        self._stopped = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin the walk, and wait for its first segment.

        Args:
            seed: Unused: nothing is random.
            options: ``begin``, see the class.

        Returns:
            The first observation, and info.

        Raises:
            ValueError: For an unknown option.
            TimeoutError: No segment has come within ``timeout``, or :meth:`stop` was called.
        """
        super().reset(seed=seed)
        for option in options or {}:
            if option != "begin":
                raise ValueError(f"reset has no option {option!r}, {suggest(option, ['begin'])}")
        begin = (options or {}).get("begin")
        if not (begin is None or isinstance(begin, int | np.integer)):
            raise ValueError(f"reset's option 'begin' must be whole minutes since 1970-01-01, got {begin!r}")
        self._begin(None if begin is None else int(begin))
        self._segment = self._next()
        if self._segment is None:
            raise TimeoutError(f"no segment of {INPUTS} slots has come: wait longer, or check what feeds the archive")
        observation = self._observe(self._segment)
        return observation, self._info(observation)

    def step(self, action: npt.NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take the forecast of the current segment, and wait for the next one.

        Args:
            action: (K, H, W) float32 pixels in [0, 1].

        Returns:
            The next observation, reward, terminated (False), truncated and info, see the class.

        Raises:
            ForecastError: For any other action; the environment is unchanged.
            gymnasium.error.ResetNeeded: If the stream is over, or reset has not been called.
        """
        if self._segment is None:
            raise gymnasium.error.ResetNeeded("the stream is over, or has not begun: call reset()")
        check_forecast(action, cast(tuple[int, ...], self.action_space.shape), ("float32",))
        for lead, frame in enumerate(action):
            check_range(np.ascontiguousarray(frame).reshape(-1), lead)
        before = self._segment
        self._sealed.append(_Sealed(self._index, before.targets, action.copy()))
        self._segment = self._next()
        self._index += 1
        if self._segment is None:
            observation = no_frames(self.task, before.slots + INPUTS * self.task.cadence)
            self._reveal(before.issue_time)
        else:
            observation = self._observe(self._segment)
            self._reveal(self._segment.issue_time)
        reward = -sum(tally.balanced_error for _, tally in self.revealed)
        return observation, float(reward), False, self._segment is None, self._info(observation)

    def stop(self) -> None:
        """Let the running or next :meth:`step` return without waiting any longer; for other threads and signals."""
        self._stopped = True

    def release(self) -> list[tuple[int, Tally]]:
        """End the stream here and score everything that is still sealed against the frames that have come.

        This is for code that runs the stream, not for agents. Afterwards the environment needs :meth:`reset`.

        Returns:
            List of (sequence index, tally) in the order of sequences, the same as ``revealed``.
        """
        self._segment = None
        self._reveal(None)
        return self.revealed.copy()

    def issued(self, index: int) -> str:
        """ISO time of issue of the current segment, whose index is ``index``: the time of its last observed slot."""
        if self._segment is None or index != self._index:
            raise ValueError(f"sequence {index} is not the current one")
        return iso(self._segment.issue_time)

    @property
    def scores(self) -> dict[str, npt.NDArray[np.float64]]:
        """Scores of ``tally``, averaged over the leads, see :func:`hko7env.scores.averages`."""
        return averages(self.tally)

    def _next(self) -> Segment | None:
        return self.stream.next(stopped=lambda: self._stopped)

    def _observe(self, segment: Segment) -> dict[str, Any]:
        return {**self.stream.observe(segment, None if self.online else True)}

    def _reveal(self, clock: int | None) -> None:
        """Score the forecasts whose last valid time is not after ``clock``; None: all."""
        self.revealed = []
        while self._sealed and (clock is None or int(self._sealed[0].targets[-1]) <= clock):
            sealed = self._sealed.popleft()
            tally = self.stream.score(sealed.targets, sealed.pixels)
            self.revealed.append((sealed.sequence, tally))
            self.tally += tally

    def _info(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {"sequence": self._index, "clock": int(observation["time"][-1]), "revealed": len(self.revealed)}
