"""The agent suite must catch each kind of bad agent, by the right test and with a message that helps."""

import inspect
import subprocess
import sys
import textwrap
from itertools import count

import numpy as np
import pytest

import hko7env.testing
from hko7env.testing import AgentTests


class Good:
    """Forecasts its newest frame; the bad ones below differ from it in one thing each."""

    def __init__(self, task):
        self.task = task
        self.frame = np.zeros((task.height, task.width), np.float32)

    def store(self, observation):
        self.frame = observation["frames"][-1] / np.float32(255)

    def update(self):
        pass

    def predict(self):
        return np.broadcast_to(self.frame, (self.task.leads, *self.frame.shape))


class KeepsAView(Good):
    def store(self, observation):
        self.levels = observation["frames"]

    def predict(self):
        return np.broadcast_to(self.levels[-1] / np.float32(255), (self.task.leads, *self.frame.shape))


class KeepsAViewOfOldFrames(Good):
    def __init__(self, task):
        super().__init__(task)
        self.seen = []

    def store(self, observation):
        if observation["new_episode"]:
            self.seen = []
        self.seen.append(observation["frames"])

    def predict(self):
        mean = np.mean([frames[-1] for frames in self.seen], axis=0, dtype=np.float32) / np.float32(255)
        return np.broadcast_to(mean, (self.task.leads, *self.frame.shape))


class WritesIntoTheFrames(Good):
    def store(self, observation):
        observation["frames"][observation["frames"] < 100] = 0
        super().store(observation)


class RemembersOldEpisodes(Good):
    total = 0.0

    def store(self, observation):
        super().store(observation)
        self.total += observation["frames"].mean() / 2550

    def predict(self):
        return np.clip(super().predict() + np.float32(self.total), 0, 1)


class SaysNaN(Good):
    def predict(self):
        return super().predict() * np.float32(np.nan)


class SaysNaNWithoutRain(Good):
    def predict(self):
        with np.errstate(invalid="ignore"):
            return super().predict() * (self.frame.max() / self.frame.max())


class SwapsTheAxes(Good):
    def predict(self):
        return super().predict().swapaxes(1, 2)


class FixesTheGrid(Good):
    def predict(self):
        return np.zeros((20, 60, 48), np.float32)


class SaysDouble(Good):
    def predict(self):
        return super().predict().astype(np.float64)


class LeavesTheRange(Good):
    def predict(self):
        return super().predict() + np.float32(0.5)


class HidesSome(Good):
    def predict(self):
        return np.ma.masked_less(super().predict(), 0.5)


class RollsDice(Good):
    dice = count()

    def __init__(self, task):
        super().__init__(task)
        self.luck = np.float32(next(self.dice) / 1000)

    def predict(self):
        return np.minimum(super().predict() + self.luck, np.float32(1))


class ChangesWhenAsked(Good):
    asked = 0

    def predict(self):
        self.asked += 1
        return super().predict() * np.float32(1 / self.asked)


class LacksPredict(Good):
    predict = None


class Learns(Good):
    """Adds what it has learned, and can be saved."""

    def __init__(self, task):
        super().__init__(task)
        self.learned = np.float32(0)

    def update(self):
        self.learned = np.float32(0.5) * self.learned + self.frame.mean() / 10

    def predict(self):
        return np.minimum(super().predict() + self.learned, np.float32(1))

    def save(self, path):
        with path.open("wb") as file:
            np.savez(file, learned=self.learned, frame=self.frame)

    def restore(self, path):
        with np.load(path) as saved:
            self.learned, self.frame = saved["learned"][()], saved["frame"]


class ForgetsWhatItLearned(Learns):
    def restore(self, path):
        pass


def failures(agent, tmp_path, **attributes):
    """Names of the suite's tests that ``agent`` fails, with their messages."""
    suite = type("Suite", (AgentTests,), {"make": lambda self, task: agent(task), **attributes})()
    failed = {}
    for name, test in inspect.getmembers(suite, inspect.ismethod):
        if name.startswith("test_"):
            arguments = {"tmp_path": tmp_path} if "tmp_path" in inspect.signature(test).parameters else {}
            try:
                test(**arguments)
            except (AssertionError, TypeError, ValueError) as error:
                failed[name.removeprefix("test_")] = str(error)
    return failed


@pytest.mark.parametrize("agent", [Good, Learns])
def test_good_agents_pass(agent, tmp_path):
    assert failures(agent, tmp_path) == {}


class RemembersItsEpisode(Good):
    """A good agent, but not one without memory."""

    def store(self, observation):
        before = self.frame
        super().store(observation)
        if not observation["new_episode"]:
            self.frame = (self.frame + before) / 2


@pytest.mark.parametrize("agent, memoryless", [(Good, True), (Learns, False), (RemembersItsEpisode, False)])
def test_the_declaration_of_no_memory_is_tested(agent, memoryless, tmp_path):
    assert failures(agent, tmp_path) == {}
    failed = failures(agent, tmp_path, memoryless=True)
    assert list(failed) == ([] if memoryless else ["is_memoryless_if_it_says_so"])
    assert memoryless or "it is not memoryless" in failed["is_memoryless_if_it_says_so"]


@pytest.mark.parametrize(
    "agent, test, message",
    [
        (KeepsAView, "keeps_no_view_of_the_callers_arrays", "copy them"),
        (KeepsAViewOfOldFrames, "keeps_no_view_of_the_callers_arrays", "copy them"),
        (WritesIntoTheFrames, "leaves_the_callers_arrays_alone", "wrote into"),
        (RemembersOldEpisodes, "a_new_episode_forgets", "if new_episode is 1"),
        (SaysNaN, "forecasts_what_the_environment_takes", "NaN"),
        (SaysNaNWithoutRain, "survives_missing_and_empty_frames", "NaN"),
        (SwapsTheAxes, "forecasts_what_the_environment_takes", "shape"),
        (FixesTheGrid, "forecasts_what_the_environment_takes", "shape"),
        (SaysDouble, "forecasts_what_the_environment_takes", "float64"),
        (HidesSome, "forecasts_what_the_environment_takes", "no plain numpy array, got MaskedArray"),
        (LeavesTheRange, "forecasts_what_the_environment_takes", "pixels lie in"),
        (RollsDice, "is_repeatable", "seed every random number"),
        (ChangesWhenAsked, "asking_twice_changes_nothing", "differs"),
        (LacksPredict, "is_an_agent", "lacks store, update or predict"),
        (ForgetsWhatItLearned, "goes_on_from_a_checkpoint", "restored after step"),
    ],
)
def test_bad_agents_are_caught(agent, test, message, tmp_path):
    failed = failures(agent, tmp_path)
    assert test in failed, f"caught only by {failed}"
    assert message in failed[test]


def test_a_suite_without_an_agent_says_what_to_do():
    with pytest.raises(NotImplementedError, match="def make"):
        AgentTests().make(None)


def test_the_example_of_the_module_passes(tmp_path):
    lines = hko7env.testing.__doc__.partition("::\n")[2].partition("    ``pytest")[0]
    (tmp_path / "test_fading.py").write_text(textwrap.dedent(lines))
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_fading.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "10 passed" in done.stdout, done.stdout
