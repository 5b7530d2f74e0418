"""The Gymnasium environments: an archive's frames by the schedule, scored, the truth sealed until its valid time."""

from collections import deque
from copy import deepcopy
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from hko7env.archive import Archive
from hko7env.archive.clutter import clean
from hko7env.archive.format import iso
from hko7env.contract import Observation, Task
from hko7env.naming import suggest
from hko7env.schedule import INPUTS, LEADS, MAX_MISSING, Schedule
from hko7env.scores import Forecast, ForecastError, Tally, averages, check_forecast
from hko7env.split_view import SplitView

_FOREVER = 2**62  # bound of the time space


class Shown(NamedTuple):
    """A forecast kept for rendering: minutes of its issue, and its pixels (K, H, W)."""

    issued: int
    pixels: npt.NDArray[np.float32]


class _Sealed(NamedTuple):
    """A scored forecast whose truth has not been reached by the clock yet."""

    sequence: int
    valid: int  # time of its last lead
    tally: Tally


class NowcastingEnv(gymnasium.Env[Any, npt.NDArray[np.float32]]):
    """Radar frames in, two hours of rain out, by the HKO-7 protocol (Shi et al. 2017, sections 3.1 and 5.1).

    One step is one sequence: the observation holds the J = 5 newest frames (see :class:`hko7env.contract.Observation`),
    the action is the forecast of the next K = 20, float32 (20, H, W) pixels in [0, 1]. One Gymnasium episode is one
    pass over the stream; ``observation["new_episode"]`` marks the episodes of the paper inside it.

    The clock is ``observation["time"][-1]``, and each step moves it on. A forecast is scored when it is handed in, but
    its score stays sealed until the clock has reached its last valid time: the reward of a step is minus
    (B-MSE + B-MAE), mean over the leads, summed over the forecasts just revealed. ``tally``, ``scores`` and
    ``revealed`` follow the same rule. The last step of a whole pass reveals the rest, as no frame of the split
    follows. The last step of a part of it reveals only what the clock has reached, so that short parts pay no score
    early; the runner of a part takes the rest by :meth:`release`. Missing frames are all 0 in the observation and not
    scored in the truth.

    The seal holds within one pass up to its last step, for an agent that is given nothing but observations and
    rewards: neither depends on a frame later than the clock. It cannot bind whoever holds the environment or the
    archive: :meth:`release` and the archive's files show the truth to all who ask, and who may restart passes has seen
    later frames before.

    Frames are shown raw, as in the released code; ``cleaned=True`` sets masked locations and small echo in them to 0.

    Online (``online=True``) an episode lasts as long as the sequences follow one another; offline every sequence
    begins a new one and nothing may be carried over. Both walk the same sequences.

    ``archive`` is a path, a URL or a zarr store (default: the embedded synthetic archive, made on first use), ``split``
    the name of one of its splits, or ``"all"`` for all frames, unless the archive itself has a split of that name. The
    default is ``test``; an archive without any split is taken as a whole. The attribute ``split`` says what was taken.
    ``reset(options=...)`` takes ``start`` and ``stop``, sequence indices for a part of the pass, and ``continued``:
    True if the agent has already seen what came before ``start``, so that it is not marked as a new episode.
    ``render_mode="rgb_array"`` draws the newest frame beside the forecast an hour ahead.

    Raises ValueError for a split that the archive lacks and if nothing can be walked, ForecastError (the environment
    stays usable) for an action that is no forecast.
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
        self.archive = Archive(archive)
        self.view = SplitView(self.archive, split)
        self.split = self.view.split
        self.online, self.cleaned = online, cleaned
        self.render_mode = render_mode
        self.schedule: Schedule = self.view.schedule
        if len(self.schedule) == 0:
            raise ValueError(
                f"{archive}, split {self.split}, holds no sequence: none of its windows of {INPUTS + LEADS} "
                f"frames, {self.archive.cadence} min apart, is without a gap of more than {MAX_MISSING} frames; check "
                "the cadence and the gaps with tools/archive.py describe"
            )
        height, width = self.archive.shape
        self.task = Task(INPUTS, LEADS, height, width, self.archive.cadence, self.view.scored.copy(), self.archive.zr)
        self.observation_space = spaces.Dict(
            {
                "frames": spaces.Box(0, 255, (INPUTS, height, width), np.uint8),
                "present": spaces.MultiBinary(INPUTS),
                "time": spaces.Box(-_FOREVER, _FOREVER, (INPUTS,), np.int64),
                "new_episode": spaces.Discrete(2),
            }
        )
        self.action_space = spaces.Box(0.0, 1.0, (LEADS, height, width), np.float32)
        # What the last step has revealed, as (sequence index, tally), and the tally of all since reset
        self.revealed: list[tuple[int, Tally]] = []
        self.tally = Tally.zero(LEADS)
        self._sealed: deque[_Sealed] = deque()
        self._start, self._index, self._stop = 0, 0, 0
        self._latest: Observation | None = None
        self._forecast: Shown | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin a pass, or the part of it that ``options`` name (``start``, ``stop``, ``continued``)."""
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
        """Hand in the forecast of the current sequence; see the class for what comes back and when."""
        if self._index >= self._stop:
            raise gymnasium.error.ResetNeeded("the pass is over, or has not begun: call reset")
        self._seal(action)
        self._index += 1
        over = self._index == self._stop
        observation = self._nothing() if over else self._observe()
        whole = self._stop - self._start == len(self.schedule)
        self._reveal(_FOREVER if over and whole else int(observation["time"][-1]))
        return observation, self._reward(), over, False, self._info(observation)

    def release(self) -> list[tuple[int, Tally]]:
        """End the pass here and reveal what is still sealed, as (sequence index, tally) in the order of sequences.

        It is for the runner of a part, which scores all that it has let an agent forecast, and never for the agent.
        ``tally``, ``scores`` and ``revealed`` then hold it too, no reward does; the environment needs :meth:`reset`.
        """
        self._stop = self._index
        self._reveal(_FOREVER)
        return self.revealed.copy()

    def _reveal(self, clock: int) -> None:
        self.revealed = []
        while self._sealed and self._sealed[0].valid <= clock:
            index, _, one = self._sealed.popleft()
            self.revealed.append((index, one))
            self.tally += one

    def _seal(self, action: Forecast) -> None:
        check_forecast(action, cast(tuple[int, ...], self.action_space.shape))
        if action.dtype != np.float32:
            raise ForecastError(f"expected a float32 forecast, got {action.dtype}")
        slots = self.schedule.slots(self._index)[INPUTS:]
        self._sealed.append(_Sealed(self._index, int(slots[-1]), self.view.score(slots, action)))
        if self.render_mode:
            self._forecast = Shown(int(slots[0]) - self.task.cadence, action.copy())

    def _observe(self, new_episode: bool | None = None) -> dict[str, Any]:
        slots = self.schedule.slots(self._index)[:INPUTS].copy()  # a view would hold the window's other slots
        frames, present = self.view.frames_at(slots)
        if new_episode is None:
            new_episode = not self.online or bool(self.schedule.new_episode[self._index])
        shown = np.stack(frames)
        if self.cleaned:
            shown = clean(shown, self.archive.mask)
        if new_episode:
            self._forecast = None  # it belongs to another time
        self._latest = Observation(
            frames=shown, present=present.astype(np.int8), time=slots, new_episode=int(new_episode)
        )
        # render() needs what was observed, whatever the caller does to it
        return {**(deepcopy(self._latest) if self.render_mode else self._latest)}

    def _nothing(self) -> dict[str, Any]:
        """The observation after the last sequence: no frame is shown that is not due."""
        slots = self.schedule.slots(self._index - 1)[:INPUTS] + INPUTS * self.task.cadence
        frames = np.zeros((INPUTS, self.task.height, self.task.width), np.uint8)
        return {"frames": frames, "present": np.zeros(INPUTS, np.int8), "time": slots, "new_episode": 0}

    def _reward(self) -> float:
        errors = sum(float((one.balanced_squared + one.balanced_absolute).mean()) for _, one in self.revealed)
        return -float(errors)

    def _info(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {
            "sequence": self._index,
            "sequences": len(self.schedule),
            "clock": int(observation["time"][-1]),
            "revealed": len(self.revealed),
        }

    def issued(self, index: int) -> str:
        """ISO time at which the forecast of sequence ``index`` is issued: that of its last input slot."""
        return iso(int(self.schedule.slots(index)[INPUTS - 1]))

    @property
    def scores(self) -> dict[str, npt.NDArray[np.float64]]:
        """Averages over the leads (Table 3) of all that has been revealed since reset."""
        return averages(self.tally)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """(h, w, 3) uint8 picture of the newest frame and the last forecast, or None without a render mode."""
        if self.render_mode is None or self._latest is None:
            return None
        from hko7env.rendering import side_by_side

        return side_by_side(self._latest, *(self._forecast or (None, None)), task=self.task)
