from functools import cache
from itertools import pairwise
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from zarr.storage import MemoryStore

import hko7env
from hko7env.archive import create
from hko7env.env import NowcastingEnv
from hko7env.forecast import ForecastError
from hko7env.schedule import schedule
from hko7env.scores import Tally, tally
from hko7env.units import HKO7

IDS = ("HKO7-Online-v0", "HKO7-Offline-v0")


@pytest.fixture(params=IDS)
def env(request, small_archive):
    return gymnasium.make(request.param, archive=str(small_archive)).unwrapped


def constant(env, value=0.0):
    return np.full(env.action_space.shape, value, np.float32)


def by_hand(env, index, value):
    """The tally of a constant forecast of sequence ``index``, from whole arrays of the archive."""
    archive = env.archive
    slots = env.schedule.starts[index] + env.archive.cadence * np.arange(5, 25)
    truth = np.zeros((20, *archive.shape), np.uint8)
    mask = np.zeros((20, *archive.shape), bool)
    for k, slot in enumerate(slots):
        where = np.flatnonzero(archive.times == slot)
        if len(where):
            truth[k] = archive.frames(where[0], where[0] + 1)[0]
            mask[k] = (archive.mask == 0) & ~((truth[k] > 0) & (truth[k] < 71))
    return tally(truth, mask, np.full(truth.shape, value, np.float32))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
@pytest.mark.filterwarnings("error")
def test_gymnasium_has_nothing_to_complain_of(small_archive, name, render_mode):
    env = gymnasium.make(name, archive=str(small_archive), render_mode=render_mode, disable_env_checker=True)
    check_env(env.unwrapped, skip_render_check=render_mode is None)


def test_a_pass_by_hand(env, small_archive):
    """Every observation, flag, reward and count of a whole pass, against the archive itself."""
    archive = hko7env.Archive(str(small_archive))
    walk = schedule(archive.select("test"))
    assert (len(walk), walk.episode_starts.tolist()) == (13, [0, 8])
    online = env.spec.id == "HKO7-Online-v0"
    observation, info = env.reset()
    expected, revealed = Tally.zero(20), []
    for i in range(len(walk)):
        assert info["sequence"] == i
        assert observation in env.observation_space
        assert observation["time"].tolist() == walk.slots(i)[:5].tolist()
        assert observation["new_episode"] == (1 if not online else int(i in (0, 8)))
        for slot, frame, present in zip(walk.slots(i), observation["frames"], observation["present"], strict=False):
            where = np.flatnonzero(archive.times == slot)
            assert present == len(where)
            np.testing.assert_array_equal(frame, archive.frames(where[0], where[0] + 1)[0] if len(where) else 0)
        value = 0.04 * i
        observation, reward, terminated, truncated, info = env.step(constant(env, value))
        revealed.append((i, by_hand(env, i, value)))
        # the truth of a forecast ends 20 slots after its issue; the clock moves 5 slots a step inside an episode
        clock = walk.slots(i + 1)[4] if i + 1 < len(walk) else np.inf
        matured = [(j, t) for j, t in revealed if walk.slots(j)[-1] <= clock]
        revealed = [(j, t) for j, t in revealed if walk.slots(j)[-1] > clock]
        assert [j for j, _ in env.revealed] == [j for j, _ in matured]
        assert reward == -sum(float((t.balanced_squared + t.balanced_absolute).mean()) for _, t in matured)
        for _, t in matured:
            expected += t
        assert env.tally == expected
        assert (terminated, truncated) == (i == len(walk) - 1, False)
    assert expected.sequences == 13
    assert not observation["present"].any()
    assert not observation["frames"].any(), "the last observation shows no frame"


def test_offline_and_online_score_the_same_sequences(small_archive):
    tallies = []
    for name in IDS:
        env = gymnasium.make(name, archive=str(small_archive))
        tallies.append(hko7env.run(env, hko7env.load("agents.last_frame", env.unwrapped.task)))
    assert tallies[0] == tallies[1]
    assert tallies[0].sequences == 13


def test_frames_of_another_split_are_missing(new_archive):
    """The window of the only valid sequence of `early` runs two slots past its end, as the rule allows."""
    frames = frames_of(3, 60)
    day = [("1970-01-01T00:00", "1970-01-01T02:18")]
    archive = new_archive(
        6 * np.arange(60), frames, splits={"early": day, "late": [("1970-01-01T02:18", "1971-01-01")]}
    )
    env = NowcastingEnv(archive.name, split="early")
    assert len(env.schedule) == 1
    total = hko7env.run(env, hko7env.load("agents.last_frame", env.task))
    assert total.pixels.tolist() == [32] * 18 + [0] * 2
    late = NowcastingEnv(archive.name, split="late")
    assert late.reset()[0]["time"][0] == 6 * 23


def test_frames_are_raw_unless_cleaned(small_archive):
    raw, cleaned = (NowcastingEnv(str(small_archive), cleaned=c) for c in (False, True))
    a, b = raw.reset()[0]["frames"], cleaned.reset()[0]["frames"]
    noise = (raw.archive.mask != 0) | ((a > 0) & (a < 71))
    assert a[noise].any()
    np.testing.assert_array_equal(b, np.where(noise, 0, a))
    assert raw.step(constant(raw, 0.2))[1] == cleaned.step(constant(cleaned, 0.2))[1], "scores do not change"


# ---------------------------------------------------------------- the seal


def frames_of(seed, n=70):
    rng = np.random.default_rng(seed)
    return rng.integers(71, 256, (n, 4, 8), np.uint8)


def archive_of(frames):
    store = MemoryStore()
    create(store, shape=frames.shape[1:]).append(6 * np.arange(len(frames)), frames)
    return store


@cache
def archives_that_differ_from(clock):
    """Two archives whose frames differ from index ``clock`` on."""
    frames = frames_of(0)
    other = frames.copy()
    other[clock:] = frames_of(1)[clock:]
    return archive_of(frames), archive_of(other)


@cache
def archive_with_gaps():
    frames = frames_of(7, 62)
    frames[::2, :, :4] = 0
    times = 6 * np.delete(np.arange(62), [20, 21, 40])
    store = MemoryStore()
    create(store, shape=(4, 8)).append(times, np.delete(frames, [20, 21, 40], axis=0))
    return store


@cache
def dry_archive():
    return archive_of(np.zeros((60, 4, 8), np.uint8))


@given(st.integers(0, 8), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_future_leaves_no_trace(step, online):
    """Whatever follows the clock, everything that the caller can see up to it is the same."""
    seen = []
    for store in archives_that_differ_from(5 * step + 5):  # frames observed when step ``step`` is about to be taken
        env = NowcastingEnv(store, online=online)
        trace = [env.reset()]
        for _ in range(step):
            trace.append(env.step(constant(env, 0.5)))
        with np.printoptions(threshold=10**9, floatmode="unique"):
            seen.append(repr((trace, env.tally, env.revealed, env.scores)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("length", [1, 2, 4])
def test_short_parts_pay_nothing_that_is_not_due(length):
    """Differences of the rewards of one-step parts told every future pixel; now they tell none."""
    frames = frames_of(0)
    env = NowcastingEnv(archive_of(frames), online=length % 2 == 0)
    count, rng = len(env.schedule), np.random.default_rng(length)
    for start in [*range(count - length + 1), *rng.integers(0, count - length + 1, 20).tolist()]:
        options = {"start": start, "stop": start + length, "continued": bool(rng.integers(2))}
        _, info = env.reset(options=options)
        for i in range(length):
            observation, reward, over, _, info = env.step(constant(env, 0.5))
            assert over == (i == length - 1)
            due = [start] if i == 3 else []  # the last of 20 frames is reached with the fourth step
            assert [index for index, _ in env.revealed] == due
            assert (reward == 0, env.tally.sequences, info["revealed"]) == (not due, len(due), len(due))
            assert info["clock"] == observation["time"][-1] == env.schedule.slots(start)[4] + 30 * (i + 1)
        assert not observation["frames"].any()


def test_the_rest_of_a_part_is_released_and_ends_it(env):
    by_index = {i: by_hand(env, i, 0.3) for i in range(3, 11)}
    env.reset(options={"start": 3, "stop": 11})
    seen = []
    for _ in range(8):
        _, _, over, *_ = env.step(constant(env, 0.3))
        seen += env.revealed
    assert over
    assert [index for index, _ in seen] == [3, 4, 5, 6, 7], "the clock stands 30 minutes after sequence 10 was issued"
    sealed = env.release()
    assert [index for index, _ in sealed] == [8, 9, 10]
    assert dict(seen + sealed) == by_index
    total = Tally.zero(20)
    for i in range(3, 11):
        total += by_index[i]
    assert env.tally == total
    assert env.release() == []
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(constant(env))
    env.reset()
    env.step(constant(env))
    assert [index for index, _ in env.release()] == [0]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(constant(env))


def test_the_runner_gets_all_of_a_part(env):
    wanted = Tally.zero(20)
    for i in (4, 5, 6):
        wanted += by_hand(env, i, 0.25)

    class Constant:
        def store(self, observation): ...

        def update(self): ...

        def predict(self):
            return constant(env, 0.25)

    recorded = []
    options = {"start": 4, "stop": 7}
    assert hko7env.run(env, Constant(), options=options, record=lambda i, t: recorded.append(i)) == wanted
    assert recorded == [4, 5, 6]


def test_a_caller_cannot_change_what_is_scored_or_shown_next(env):
    env.reset()
    action = constant(env, 0.5)
    observation, *_ = env.step(action)
    action[:] = 1
    observation["frames"][:] = 255
    observation["time"][:] = 0
    again = [env.step(constant(env, 0.5)) for _ in range(3)]
    env.reset()
    env.step(constant(env, 0.5))
    clean = [env.step(constant(env, 0.5)) for _ in range(3)]
    for (a, reward_a, *_), (b, reward_b, *_) in zip(again, clean, strict=True):
        np.testing.assert_array_equal(a["frames"], b["frames"])
        np.testing.assert_array_equal(a["time"], b["time"])
        assert reward_a == reward_b


def test_successive_observations_share_no_memory(env):
    first, _ = env.reset()
    second, *_ = env.step(constant(env))
    for name in ("frames", "present", "time"):
        assert not np.shares_memory(first[name], second[name])
        assert first[name].base is None, "a view would hold more than is shown"
    with pytest.raises((AttributeError, ValueError)):
        env.archive.at(first["time"])[0][0][:] = 1  # what the archive keeps is read-only
    env.task.scored[:] = False  # the agent's copy
    env.reset()
    env.step(constant(env))
    assert env.view.scored.any()


@given(st.floats(0, 1, width=32))
@settings(max_examples=10, deadline=None)
def test_rewards_are_finite_plain_numbers(value):
    env = NowcastingEnv(dry_archive())
    _, info = env.reset()
    over = False
    while not over:
        _, reward, over, _, info = env.step(constant(env, value))
        assert type(reward) is float
        assert np.isfinite(reward)
        for entry in info.values():
            assert type(entry) in (int, str)


# ---------------------------------------------------------------- bad input


class WithUnit(np.ndarray):
    """Stands for the arrays of other packages that mean more than their numbers."""


@pytest.mark.parametrize(
    "action, message",
    [
        (np.zeros((19, 48, 64), np.float32), r"expected a forecast of shape \(20, 48, 64\)"),
        (np.zeros((20, 64, 48), np.float32), "got .20, 64, 48."),
        (np.zeros((20, 48, 64)), "got float64"),
        (np.zeros((20, 48, 64), np.uint8), "expected float32 pixels in .0, 1., got uint8"),
        (np.full((20, 48, 64), np.nan, np.float32), "lead 1 holds NaN"),
        (np.full((20, 48, 64), 1.01, np.float32), "lies in"),
        ([0.0], "numpy array, got list"),
        (np.ma.masked_all((20, 48, 64), np.float32), r"plain numpy array, got MaskedArray.*numpy.ma.filled"),
        (np.ma.masked_array(np.zeros((20, 48, 64), np.float32)), "plain numpy array, got MaskedArray"),
        (np.zeros((20, 48, 64), np.float32).view(WithUnit), "plain numpy array, got WithUnit"),
        (None, "numpy array, got NoneType"),
    ],
)
def test_a_bad_action_is_refused_and_the_pass_goes_on(env, action, message):
    env.reset()
    for _ in range(3):
        env.step(constant(env, 0.3))
    with pytest.raises(ForecastError, match=message):
        env.step(action)
    rewards = [env.step(constant(env, 0.3))[1] for _ in range(10)]
    env.reset()
    assert [env.step(constant(env, 0.3))[1] for _ in range(13)][3:] == rewards


def test_steps_outside_a_pass_are_refused(env):
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(constant(env))
    env.reset(options={"start": 12})
    env.step(constant(env))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(constant(env))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strat": 1}, "no option 'strat', did you mean 'start'"),
        ({"start": 5, "stop": 5}, "start < stop"),
        ({"start": -1}, "0 <= start"),
        ({"stop": 14}, "stop <= 13"),
        ({"start": 1.5}, "whole number"),
        ({"start": None}, "whole number"),
    ],
)
def test_bad_parts_are_named(env, options, message):
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_streams_that_hold_nothing_are_named(small_archive, new_archive):
    with pytest.raises(ValueError, match="did you mean 'test'"):
        gymnasium.make("HKO7-Online-v0", archive=str(small_archive), split="tes")
    short = new_archive(6 * np.arange(20), np.zeros((20, 4, 8), np.uint8))
    with pytest.raises(ValueError, match="holds no sequence"):
        gymnasium.make("HKO7-Online-v0", archive=short.name)
    with pytest.raises(FileNotFoundError, match="no archive at"):
        gymnasium.make("HKO7-Online-v0", archive="nowhere.zarr")
    with pytest.raises(ValueError, match="render_mode 'human' is unknown"):
        NowcastingEnv(str(small_archive), render_mode="human")


def test_a_file_of_numbers_is_a_forecast(env, tmp_path):
    env.reset()
    env.step(np.memmap(tmp_path / "forecast", np.float32, "w+", shape=env.action_space.shape))


# ---------------------------------------------------------------- which frames


DAY = [("1970-01-01T00:00", "1970-01-01T02:30")]  # of the archives of frames_of: 25 frames, one sequence


@pytest.mark.parametrize(
    "splits, split, chosen, count",
    [
        ({}, None, "all", 10),
        ({}, "all", "all", 10),
        ({"test": DAY}, None, "test", 1),
        ({"test": DAY}, "all", "all", 10),
        ({"all": DAY}, "all", "all", 1),  # a split of that name is what was asked for
        ({"all": DAY, "test": DAY}, None, "test", 1),
        ({"train": DAY}, "all", "all", 10),
        ({"train": DAY}, "train", "train", 1),
    ],
)
def test_the_split_that_is_taken_is_the_one_asked_for(new_archive, splits, split, chosen, count):
    archive = new_archive(6 * np.arange(70), frames_of(0), splits=splits)
    env = NowcastingEnv(archive.name, split=split)
    assert (env.split, len(env.schedule)) == (chosen, count)


@pytest.mark.parametrize(
    "splits, split, message",
    [
        ({"vest": DAY, "train": DAY}, None, "no split 'test': choose one of vest, train, or 'all' for all frames"),
        ({"all": DAY}, None, "no split 'test': choose one of all"),
        ({}, "test", "no split 'test', only all"),
        ({"test": DAY}, "", "no split '', only test, all"),
        ({}, "", "no split '', only all"),
        ({"test": DAY}, "al", "no split 'al', did you mean 'all'"),
        ({"test": DAY}, "None", "no split 'None'"),
        ({"test": DAY}, 5, "no split 5"),
    ],
)
def test_no_split_is_replaced_by_all_frames(new_archive, splits, split, message):
    archive = new_archive(6 * np.arange(70), frames_of(0), splits=splits)
    with pytest.raises(ValueError, match=message):
        NowcastingEnv(archive.name, split=split)


def test_damage_in_the_archive_stops_the_pass_with_its_place(new_archive):
    archive = new_archive(6 * np.arange(60), frames_of(0, 60))
    env = NowcastingEnv(archive.name)
    (Path(archive.name) / "pixel/c/7/0/0").unlink()
    env.reset()
    with pytest.raises(hko7env.ArchiveError, match="pixel/c/7/0/0"):
        for _ in range(4):
            env.step(constant(env))


# ---------------------------------------------------------------- parts


@given(st.lists(st.integers(1, 12), max_size=3, unique=True), st.sampled_from(IDS))
@settings(max_examples=15, deadline=None)
def test_parts_add_up_to_the_pass(small_archive, cuts, name):
    env = gymnasium.make(name, archive=str(small_archive)).unwrapped
    whole = hko7env.run(env, hko7env.load("agents.last_frame", env.task))
    total = Tally.zero(20)
    edges = [0, *sorted(cuts), 13]
    for start, stop in pairwise(edges):
        agent = hko7env.load("agents.last_frame", env.task)
        total += hko7env.run(env, agent, options={"start": start, "stop": stop})
    np.testing.assert_array_equal(total.hits, whole.hits)
    np.testing.assert_array_equal(total.correct_negatives, whole.correct_negatives)
    np.testing.assert_allclose(total.balanced_squared, whole.balanced_squared, rtol=1e-14)
    assert total.sequences == 13


def test_a_part_begins_a_new_episode_unless_it_continues(small_archive):
    env = NowcastingEnv(str(small_archive))
    assert env.reset(options={"start": 3})[0]["new_episode"] == 1
    assert env.reset(options={"start": 3, "continued": True})[0]["new_episode"] == 0
    assert env.reset(options={"start": 8, "continued": True})[0]["new_episode"] == 1


class Passes(RuleBasedStateMachine):
    """Any order of resets, parts, steps and bad steps; the model is a list of tallies counted by hand."""

    @initialize(online=st.booleans())
    def open(self, online):
        self.env = NowcastingEnv(archive_with_gaps(), online=online)
        self.n = len(self.env.schedule)
        self.at, self.stop, self.given = 0, 0, []
        self.is_whole = self.everything = False

    @rule(data=st.data())
    def reset(self, data):
        self.at = data.draw(st.integers(0, self.n - 1))
        self.stop = data.draw(st.integers(self.at + 1, self.n))
        observation, info = self.env.reset(options={"start": self.at, "stop": self.stop})
        assert (info["sequence"], observation["new_episode"]) == (self.at, 1)
        self.given, self.everything = [], False
        self.is_whole = (self.at, self.stop) == (0, self.n)

    @precondition(lambda self: self.at < self.stop)
    @rule(value=st.floats(0, 1, width=32))
    def step(self, value):
        self.given.append((self.at, by_hand(self.env, self.at, value)))
        _, _, over, _, _ = self.env.step(constant(self.env, value))
        self.at += 1
        assert over == (self.at == self.stop)
        self.everything = over and self.is_whole

    @rule()
    def release(self):
        sealed = [] if self.everything else [(i, t) for i, t in self.given if not self.is_due(i)]
        assert self.env.release() == sealed
        assert self.env.revealed == sealed
        self.stop, self.everything = self.at, True

    def is_due(self, index):
        """Whether the clock has reached a sequence's last valid time; each step moves it on by five frames."""
        walk = self.env.schedule
        clock = walk.slots(self.at)[4] if self.at < self.stop else walk.slots(self.at - 1)[9]
        return walk.slots(index)[-1] <= clock

    @precondition(lambda self: self.at < self.stop)
    @rule(bad=st.sampled_from([np.nan, -0.5, 2.0]))
    def bad_step(self, bad):
        with pytest.raises(ForecastError):
            self.env.step(constant(self.env, bad))

    @precondition(lambda self: self.at == self.stop)
    @rule()
    def step_too_many(self):
        with pytest.raises(gymnasium.error.ResetNeeded):
            self.env.step(constant(self.env))

    @invariant()
    def tally_is_what_has_matured(self):
        expected = Tally.zero(20)
        for index, one in self.given:
            if self.everything or self.is_due(index):
                expected += one
        assert self.env.tally == expected


TestPasses = Passes.TestCase
TestPasses.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


# ---------------------------------------------------------------- pictures


def test_rendering_shows_frame_forecast_and_scale(small_archive):
    env = NowcastingEnv(str(small_archive), render_mode="rgb_array")
    assert env.render() is None
    env.reset()
    blank = env.render()
    env.step(constant(env, HKO7.threshold_pixels[4] + 0.05))
    shown = env.render()
    assert blank.shape == shown.shape
    assert shown.dtype == np.uint8
    middle = shown.shape[1] // 2
    assert (shown[40:200, middle - 40 : middle] != blank[40:200, middle - 40 : middle]).any(), "the forecast is drawn"
    for _ in range(7):
        env.step(constant(env, HKO7.threshold_pixels[4] + 0.05))
    assert env._latest["new_episode"] == 1
    assert (env.render()[40:200, middle - 40 : middle] == blank[40:200, middle - 40 : middle]).all(), "of another time"


def test_other_cadences_and_grids(new_archive):
    for shape, cadence in (((5, 7), 5), ((16, 8), 10), ((1, 1), 15)):
        frames = np.full((30, *shape), 150, np.uint8)
        archive = new_archive(cadence * np.arange(30), frames, f"{cadence}.zarr", cadence=cadence)
        env = gymnasium.make("HKO7-Online-v0", archive=archive.name, render_mode="rgb_array").unwrapped
        total = hko7env.run(env, hko7env.load("agents.last_frame", env.task))
        assert total.sequences == len(env.schedule) == 2
        assert env.task.cadence == cadence
        assert env.render().ndim == 3
        assert total.hits[0].tolist() == [2 * shape[0] * shape[1]] * 3 + [0, 0]  # level 150 is between 5 and 10 mm/h
