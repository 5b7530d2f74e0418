"""The Gymnasium environments: they show frames by the schedule, and score forecasts when their time has come."""

from collections import deque
from copy import deepcopy
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from hko7env.archive import Archive
from hko7env.archive.clutter import remove_noise
from hko7env.archive.format import iso
from hko7env.contract import Observation, Task
from hko7env.forecast import check_forecast
from hko7env.naming import suggest
from hko7env.schedule import INPUTS, LEADS, MAX_MISSING, Minutes, Schedule
from hko7env.scores import Tally, averages
from hko7env.split_view import SplitView

_FOREVER = 2**62  # bound of the time space


def make_task(archive: Archive, online: bool) -> Task:
    """What agents for the frames of an archive are made for."""
    height, width = archive.shape
    return Task(INPUTS, LEADS, height, width, archive.cadence, archive.scored.copy(), archive.zr, online)


def make_spaces(task: Task) -> tuple[spaces.Dict, spaces.Space[npt.NDArray[np.float32]]]:
    """The spaces of the observations and actions of a task, see :class:`NowcastingEnv`."""
    height, width = task.height, task.width
    observations = {
        "frames": spaces.Box(0, 255, (task.inputs, height, width), np.uint8),
        "present": spaces.MultiBinary(task.inputs),
        "time": spaces.Box(-_FOREVER, _FOREVER, (task.inputs,), np.int64),
        "new_episode": spaces.Discrete(2),
    }
    return spaces.Dict(observations), spaces.Box(0.0, 1.0, (task.leads, height, width), np.float32)


def no_frames(task: Task, slots: Minutes) -> dict[str, Any]:
    """The observation after the last step, without any frame, at ``slots`` (J,) int64 minutes since 1970-01-01."""
    frames = np.zeros((task.inputs, task.height, task.width), np.uint8)
    return {"frames": frames, "present": np.zeros(task.inputs, np.int8), "time": slots, "new_episode": 0}


class _Issued(NamedTuple):
    """A forecast kept for rendering: minutes of its issue, and its pixels (K, H, W)."""

    time: int
    pixels: npt.NDArray[np.float32]


class _Sealed(NamedTuple):
    """The tally of a sequence whose last valid time the clock has not reached."""

    sequence: int
    last_valid_time: int
    tally: Tally


class NowcastingEnv(gymnasium.Env[Any, npt.NDArray[np.float32]]):
    """Precipitation nowcasting by the HKO-7 protocol (Shi et al. 2017, sections 3.1 and 5.1).

    One step is one sequence: the observation holds the J = 5 newest radar frames, the action is the forecast of the
    next K = 20. One Gymnasium episode is one pass over all sequences of a split; ``observation["new_episode"]`` marks
    the paper's episodes, uninterrupted runs of sequences, within it.

    **Observation space** (``Dict``):

    - ``frames``: uint8 (5, H, W), radar levels 0..255; raw, and all 0 where a frame is missing
    - ``present``: int8 (5,), 0 where a frame is missing
    - ``time``: int64 (5,), minutes since 1970-01-01
    - ``new_episode``: 1 if nothing seen before may be continued, else 0

    **Action space** (``Box``): float32 (20, H, W), pixels in [0, 1]; a pixel is level / 255, dBZ = 70 pixel - 10. Any
    other action raises ForecastError and leaves the environment unchanged.

    **Reward:** minus (B-MSE + B-MAE), mean over the leads, summed over the forecasts that the step has revealed; a
    finite float, 0 if there are none.

    **Sealing:** The clock is ``observation["time"][-1]``. The score of a forecast is withheld (sealed) until the clock
    has reached its last valid time; reward, ``tally``, ``scores`` and ``revealed`` follow this rule. The last step of a
    whole pass reveals all scores, as no frame of the split follows. The last step of a part reveals only what is due;
    :meth:`release` gives the rest to the code that runs the part. So within a pass, nothing that an agent gets depends
    on a frame later than the clock. Code that reads the archive, calls :meth:`release` or repeats passes is not
    restricted.

    **Scoring:** A location is not scored where the observed frame is missing, the static mask excludes it, or the
    observed echo is small-echo noise (levels 1..70).

    **Episode end:** ``terminated`` after the last sequence; never ``truncated``. The last observation holds no frame.

    **Info** (of reset and step): ``sequence``, index of the current sequence; ``sequences``, number of sequences;
    ``clock``, minutes since 1970-01-01; ``revealed``, number of forecasts revealed by the step.

    **Options of reset:** ``start`` and ``stop``, sequence indices of a part of the pass; ``continued``, True if the
    agent has seen what precedes ``start``, so that the first observation need not begin a new episode.

    **Versions:** ``HKO7-Online-v0`` keeps episodes as described. ``HKO7-Offline-v0`` has the same sequences and scores,
    but each begins a new episode and nothing may be learned (``task.online`` is False). Changed scores will make v1.

    Args:
        archive: Path, URL or zarr store of an archive; None means the default synthetic archive, made on first use.
        split: A split of the archive, or ``"all"`` for all frames; None means ``"test"``, or all frames of an archive
            without splits.
        online: Whether sequences that follow one another belong to one episode.
        render_mode: ``"rgb_array"`` draws the newest frame beside the forecast an hour ahead; None draws nothing.
        cleaned: Whether observations have masked locations and small echo set to 0. Scores do not change.

    Attributes:
        task: What an agent is made for.
        archive: The open archive.
        split: The split that was chosen.
        view: The split's frames, schedule and scoring, also of frames later than the clock: not for agents.
        schedule: The sequences.
        tally: Sum of the tallies revealed since reset.
        revealed: List of (sequence index, tally) that the last step revealed.

    Raises:
        ValueError: For an unknown split or render mode, or if the split holds no sequence.
        FileNotFoundError: If there is no archive.
        ArchiveError: For a damaged archive; a ValueError.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        archive: Any = None,
        split: str | None = None,
        online: bool = True,
        render_mode: str | None = None,
        cleaned: bool = False,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode {render_mode!r} is unknown, only {self.metadata['render_modes']} and None")
        if archive is None:
            from hko7env.synthetic import default_archive

            archive = str(default_archive())
        self.view = SplitView(Archive(archive), split)
        self.archive, self.split = self.view.archive, self.view.split
        self.schedule: Schedule = self.view.schedule
        if len(self.schedule) == 0:
            raise ValueError(
                f"{archive}, split {self.split}, holds no sequence: none of its windows of {INPUTS + LEADS} "
                f"frames, {self.archive.cadence} min apart, is without a gap of more than {MAX_MISSING} frames; check "
                "the cadence and the times of the archive"
            )
        self.online, self.cleaned, self.render_mode = online, cleaned, render_mode
        self.task = make_task(self.archive, online)
        self.observation_space, self.action_space = make_spaces(self.task)
        self.revealed: list[tuple[int, Tally]] = []
        self.tally = Tally.zero(LEADS)
        self._sealed: deque[_Sealed] = deque()
        self._start, self._index, self._stop = 0, 0, 0
        self._latest: Observation | None = None
        self._forecast: _Issued | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a pass, or a part of it.

        Args:
            seed: Unused: nothing is random.
            options: ``start``, ``stop`` and ``continued``, see the class.

        Returns:
            The first observation, and info.

        Raises:
            ValueError: For an unknown option, or a part that is not within the pass.
        """
        super().reset(seed=seed)
        start, stop, continued = self._part(options or {})
        self.tally = Tally.zero(LEADS)
        self.revealed = []
        self._sealed.clear()
        self._start, self._index, self._stop = start, start, stop
        self._forecast = None
        observation = self._observe(new_episode=None if continued else True)
        return observation, self._info(observation)

    def _part(self, options: dict[str, Any]) -> tuple[int, int, bool]:
        known: dict[str, Any] = {"start": 0, "stop": len(self.schedule), "continued": False}
        for option, value in options.items():
            if option not in known:
                raise ValueError(f"reset has no option {option!r}, {suggest(option, known)}")
            if not isinstance(value, int | np.integer):
                raise ValueError(f"reset's option {option!r} must be a whole number or a truth value, got {value!r}")
        start, stop, continued = (options.get(name, default) for name, default in known.items())
        if not 0 <= start < stop <= len(self.schedule):
            raise ValueError(
                f"a part needs 0 <= start < stop <= {len(self.schedule)}, got start {start} and stop {stop}"
            )
        return int(start), int(stop), bool(continued)

    def step(self, action: npt.NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take the forecast of the current sequence and go on to the next one.

        Args:
            action: (K, H, W) float32 pixels in [0, 1].

        Returns:
            The next observation, reward, terminated, truncated (False) and info, see the class.

        Raises:
            ForecastError: For any other action; the environment is unchanged.
            gymnasium.error.ResetNeeded: If the pass is over, or reset has not been called.
        """
        if self._index >= self._stop:
            raise gymnasium.error.ResetNeeded("the pass is over, or has not begun: call reset()")
        self._seal(action)
        self._index += 1
        over = self._index == self._stop
        if over:
            observation = no_frames(
                self.task, self.schedule.slots(self._index - 1)[:INPUTS] + INPUTS * self.task.cadence
            )
        else:
            observation = self._observe()
        whole = self._stop - self._start == len(self.schedule)
        self._reveal(_FOREVER if over and whole else int(observation["time"][-1]))
        reward = -sum(tally.balanced_error for _, tally in self.revealed)
        return observation, float(reward), over, False, self._info(observation)

    def release(self) -> list[tuple[int, Tally]]:
        """End the pass here and reveal everything that is still sealed.

        This is for code that runs a part of a pass and wants the scores of all its forecasts, not for agents. No
        reward includes them. Afterwards the environment needs :meth:`reset`.

        Returns:
            List of (sequence index, tally) in the order of sequences, the same as ``revealed``.
        """
        self._stop = self._index
        self._reveal(_FOREVER)
        return self.revealed.copy()

    def _reveal(self, clock: int) -> None:
        self.revealed = []
        while self._sealed and self._sealed[0].last_valid_time <= clock:
            index, _, tally = self._sealed.popleft()
            self.revealed.append((index, tally))
            self.tally += tally

    def _seal(self, action: npt.NDArray[np.float32]) -> None:
        check_forecast(action, cast(tuple[int, ...], self.action_space.shape), ("float32",))
        slots = self.schedule.slots(self._index)[INPUTS:]
        self._sealed.append(_Sealed(self._index, int(slots[-1]), self.view.score(slots, action)))
        if self.render_mode:
            self._forecast = _Issued(int(slots[0]) - self.task.cadence, action.copy())

    def _observe(self, new_episode: bool | None = None) -> dict[str, Any]:
        slots = self.schedule.slots(self._index)[:INPUTS].copy()  # a view would hold the window's other slots
        frames, present = self.view.frames_at(slots)
        if new_episode is None:
            new_episode = not self.online or bool(self.schedule.new_episode[self._index])
        shown = np.stack(frames)
        if self.cleaned:
            shown = remove_noise(shown, self.archive.mask)
        if new_episode:
            self._forecast = None  # it belongs to the episode before
        self._latest = Observation(
            frames=shown, present=present.astype(np.int8), time=slots, new_episode=int(new_episode)
        )
        # A copy, so that render() still has the observation if the caller changes it
        return {**(deepcopy(self._latest) if self.render_mode else self._latest)}

    def _info(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {
            "sequence": self._index,
            "sequences": len(self.schedule),
            "clock": int(observation["time"][-1]),
            "revealed": len(self.revealed),
        }

    def issued(self, index: int) -> str:
        """ISO time of issue of the forecast of sequence ``index``: the time of its last observed slot."""
        return iso(int(self.schedule.slots(index)[INPUTS - 1]))

    @property
    def scores(self) -> dict[str, npt.NDArray[np.float64]]:
        """Scores of ``tally``, averaged over the leads, see :func:`hko7env.scores.averages`."""
        return averages(self.tally)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw the newest frame and the last forecast: (h, w, 3) uint8, or None without a render mode."""
        if self.render_mode is None or self._latest is None:
            return None
        from hko7env.rendering import side_by_side

        return side_by_side(self._latest, *(self._forecast or (None, None)), task=self.task)
