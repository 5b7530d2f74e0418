"""A test suite for your own agent; pytest collects it from a subclass.

Example:
    A complete agent and its test, in a file ``test_fading.py``::

        import numpy as np
        from hko7env.testing import AgentTests


        class Fading:
            \"\"\"Forecasts the newest frame, fading to half its value.\"\"\"

            def __init__(self, task):
                self.fade = np.linspace(1, 0.5, task.leads, dtype=np.float32)[:, None, None]

            def store(self, observation):
                self.frame = observation["frames"][-1] / np.float32(255)

            def update(self):
                pass

            def predict(self):
                return self.fade * self.frame


        class TestFading(AgentTests):
            def make(self, task):
                return Fading(task)

    ``pytest test_fading.py`` runs the suite.
"""

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hko7env.contract import Agent, Learner, Observation, Task
from hko7env.forecast import PLAIN_ARRAYS
from hko7env.units import NOISE_LEVEL

HEIGHT, WIDTH = 60, 48  # small, and different so that swapped axes are found
START = 24_000_000  # minutes since 1970-01-01, in 2015

Forecast = npt.NDArray[np.float32]


def task(height: int = HEIGHT, width: int = WIDTH, leads: int = 20, cadence: int = 6) -> Task:
    """Make a small task.

    Args:
        height: H, at least 6.
        width: W, at least 6.
        leads: K, number of frames to forecast.
        cadence: Minutes between frames.

    Returns:
        A task with 5 input frames and a static mask that excludes one corner.
    """
    scored = np.ones((height, width), bool)
    scored[: height // 6, : width // 6] = False
    return Task(5, leads, height, width, cadence, scored)


def observation(task: Task, seed: int = 0, step: int = 0, new_episode: bool = True) -> Observation:
    """Make an observation of drifting rain.

    Args:
        task: The task, for its shape.
        seed: Another seed gives other rain.
        step: Observations of consecutive steps continue each other.
        new_episode: Whether the entry ``new_episode`` is 1.

    Returns:
        An observation with all frames present.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((task.height, task.width))
    cells = [(rng.uniform(0, task.height), rng.uniform(0, task.width), rng.uniform(3, 8)) for _ in range(6)]
    drift = rng.uniform(-1, 1, 2)
    frames = np.zeros((task.inputs, task.height, task.width), np.uint8)
    for j in range(task.inputs):
        age = step * task.inputs + j
        field = sum(
            np.exp(-((rows - y - drift[0] * age) ** 2 + (columns - x - drift[1] * age) ** 2) / (2 * size**2))
            for y, x, size in cells
        )
        levels = np.clip(230 * np.asarray(field), 0, 255).astype(np.uint8)
        frames[j] = np.where(levels < NOISE_LEVEL, 0, levels)
    time = START + task.cadence * (step * task.inputs + np.arange(task.inputs, dtype=np.int64))
    return Observation(frames=frames, present=np.ones(task.inputs, np.int8), time=time, new_episode=int(new_episode))


def forecast(agent: Agent, *observations: Observation) -> Forecast:
    """Show observations to an agent, with an update and a forecast after each (Shi et al. 2017, Algorithm 1).

    Returns:
        A copy of its last forecast, of the same array type.
    """
    for shown in observations:
        agent.store(shown)
        agent.update()
        last = agent.predict()
    return last.copy()


class AgentTests:
    """Tests that every agent must pass; a subclass implements ``make``.

    Attributes:
        multiple: Height and width of the grids are multiples of this many px; override it for an agent that does not
            accept every grid.
        leads: Numbers of lead times to test; override it for an agent that cannot forecast every number.
        memoryless: Whether the agent's forecasts depend on the newest observation alone, as the decorator
            :func:`hko7env.contract.memoryless` declares; override it to have that tested.
    """

    multiple = 1
    memoryless = False
    leads: tuple[int, ...] = (20, 7)
    _walked: list[tuple[Observation, Forecast]]

    def task(self, height: int = HEIGHT, width: int = WIDTH, leads: int = 0) -> Task:
        """Make a :func:`task` with at least that grid; height and width differ, so that swapped axes are found."""
        rows, columns = (-(-size // self.multiple) * self.multiple for size in (height, width))
        if rows == columns:
            rows, columns = (rows + self.multiple, columns) if height > width else (rows, columns + self.multiple)
        return task(rows, columns, leads or self.leads[0])

    def make(self, task: Task) -> Agent:
        """Return a new agent for ``task``, equal to all others that this method returns for it."""
        raise NotImplementedError("implement make in your test class: def make(self, task): return MyAgent(task)")

    def stream(self, task: Task) -> Iterator[Observation]:
        """Yield six steps of one episode, enough for online learning to begin."""
        return (observation(task, step=step, new_episode=step == 0) for step in range(6))

    def _walk(self) -> list[tuple[Observation, Forecast]]:
        """The steps of ``stream`` as they are after a new agent has seen them, with its forecasts.

        Several tests compare with this walk, which is done once for a class.
        """
        if "_walked" not in vars(type(self)):
            some = self.task()
            agent = self.make(some)
            type(self)._walked = [(shown, forecast(agent, shown)) for shown in self.stream(some)]
        return type(self)._walked

    def test_is_an_agent(self) -> None:
        """The agent has store, update and predict."""
        agent = self.make(self.task())
        assert isinstance(agent, Agent), f"{type(agent).__name__} lacks store, update or predict"

    def test_forecasts_what_the_environment_takes(self) -> None:
        """Every forecast is float32 (K, H, W) in [0, 1], on several grids and numbers of leads."""
        first, second = self.task(), self.task(height=48, width=60, leads=self.leads[-1])
        agent = self.make(second)
        others = (forecast(agent, shown) for shown in self.stream(second))
        for some, forecasts in ((first, (ahead for _, ahead in self._walk())), (second, others)):
            wanted = (some.leads, some.height, some.width)
            for ahead in forecasts:
                assert type(ahead) in PLAIN_ARRAYS, f"predict() gave no plain numpy array, got {type(ahead).__name__}"
                assert ahead.shape == wanted, f"predict() gave shape {ahead.shape}, the task asks for {wanted}"
                assert ahead.dtype == np.float32, f"predict() gave {ahead.dtype}, the environment takes float32"
                assert np.isfinite(ahead).all(), "predict() gave NaN or infinity"
                assert ahead.min() >= 0, f"predict() gave {ahead.min()}, pixels lie in [0, 1]"
                assert ahead.max() <= 1, f"predict() gave {ahead.max()}, pixels lie in [0, 1]"

    def test_keeps_no_view_of_the_callers_arrays(self) -> None:
        """Changing an observation after store() does not change the forecast."""
        some = self.task()
        agent = self.make(some)
        for one, (_, wanted) in zip(self.stream(some), self._walk(), strict=True):
            agent.store(one)
            for array in (one["frames"], one["present"], one["time"]):
                array[:] = 0
            agent.update()
            np.testing.assert_array_equal(
                agent.predict(), wanted, "store() kept a view of the caller's arrays: copy them"
            )

    def test_leaves_the_callers_arrays_alone(self) -> None:
        """The agent does not change observations."""
        for before, (after, _) in zip(self.stream(self.task()), self._walk(), strict=True):
            np.testing.assert_array_equal(after["frames"], before["frames"], "the agent wrote into the caller's frames")

    def test_a_new_episode_forgets(self) -> None:
        """Frames of earlier episodes do not affect forecasts, except through learning."""
        some = self.task()
        fresh, used = self.make(some), self.make(some)
        used.store(observation(some, seed=1))
        if not isinstance(used, Learner):
            for step in range(1, 6):
                used.store(observation(some, seed=1, step=step, new_episode=False))
                used.update()
                used.predict()
        second = observation(some, seed=2)
        for agent in (fresh, used):
            agent.store(copy.deepcopy(second))
        np.testing.assert_array_equal(
            fresh.predict(),
            used.predict(),
            "frames of the last episode affect this one: reset the agent if new_episode is 1",
        )

    def test_is_memoryless_if_it_says_so(self) -> None:
        """An agent that is declared memoryless forecasts the same in the course of an episode as at its begin."""
        if not self.memoryless:
            return
        some = self.task()
        for shown, (_, ahead) in zip(self.stream(some), self._walk(), strict=True):
            fresh = self.make(some)
            fresh.store(Observation(**{**shown, "new_episode": 1}))
            np.testing.assert_array_equal(
                ahead,
                fresh.predict(),
                "what was shown before affects the forecast: it is not memoryless",
            )

    def test_is_repeatable(self) -> None:
        """Two new agents with the same observations give identical forecasts."""
        some = self.task()
        again = forecast(self.make(some), *self.stream(some))
        np.testing.assert_array_equal(
            again, self._walk()[-1][1], "two runs differ: seed every random number from the config"
        )

    def test_asking_twice_changes_nothing(self) -> None:
        """A second predict() gives the same forecast."""
        some = self.task()
        agent = self.make(some)
        agent.store(observation(some))
        agent.update()
        first = np.array(agent.predict())
        np.testing.assert_array_equal(first, agent.predict(), "a second predict() differs from the first")

    def test_survives_missing_and_empty_frames(self) -> None:
        """Forecasts are finite without rain and without frames."""
        some = self.task()
        for present in (
            np.ones(some.inputs, np.int8),
            np.zeros(some.inputs, np.int8),
            np.array([1, 0, 1, 1, 0], np.int8),
        ):
            shown = observation(some)
            shown["frames"][present == 0] = 0
            if present.all():
                shown["frames"][:] = 0
            shown["present"] = present
            ahead = forecast(self.make(some), shown)
            assert np.isfinite(ahead).all(), f"NaN or infinity with frames present {present.tolist()}"
            assert 0 <= ahead.min() <= ahead.max() <= 1, f"out of [0, 1] with frames present {present.tolist()}"

    def test_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        """A learner that is saved and restored gives the forecasts of one that was not interrupted."""
        some = self.task()
        if not isinstance(self.make(some), Learner):
            return
        unbroken = self._walk()[-1][1]
        shown, stops = list(self.stream(some)), (1, 3, 5)
        first = self.make(some)
        assert isinstance(first, Learner)
        for step, one in enumerate(shown, 1):
            last = forecast(first, one)
            if step in stops:
                first.save(tmp_path / f"checkpoint {step}")
        np.testing.assert_array_equal(last, unbroken, "save() changed the agent")
        for stop in stops:
            second = self.make(some)
            assert isinstance(second, Learner)
            second.restore(tmp_path / f"checkpoint {stop}")
            resumed = forecast(second, *shown[stop:])
            np.testing.assert_array_equal(resumed, unbroken, f"restored after step {stop}, the forecast differs")
