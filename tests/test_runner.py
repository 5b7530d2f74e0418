"""The runner, and what it adds to an agent's errors; offline nothing is learned."""

import gymnasium
import numpy as np
import pytest

import hko7env
from hko7env.contract import Learner, NonLearningAgent
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.testing import observation, task
from tests.helpers.runs import plan


@pytest.mark.parametrize("bad", ["type", "shape", "dtype", "levels", "nan", "range"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_bad_forecast_names_agent_and_sequence(small_archive, bad, wrapped):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(small_archive))
    env = env if wrapped else env.unwrapped
    agent = hko7env.load("tests.helpers.toys:liar", env.unwrapped.task, label=bad, fail_at=3)
    with pytest.raises(hko7env.ForecastError) as caught:
        hko7env.run(env, agent)
    (note,) = caught.value.__notes__
    assert note.startswith("in sequence 3, issued 2015-")
    assert note.endswith("by Liar")


def test_a_bad_forecast_in_a_worker_names_agent_and_sequence(small_archive, tmp_path):
    one = plan(small_archive, "tests.helpers.toys:liar", online=False, label="nan", fail_at=3)
    message = r"ForecastError: .*lead 1 holds NaN, in sequence (3|10), issued 2015-.*, by Liar; .* keeps the finished"
    with pytest.raises(RunError, match=message):
        evaluate(one, tmp_path, workers=2)


def test_an_error_of_the_archive_is_not_the_agents(small_archive, monkeypatch):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(small_archive)).unwrapped
    agent = hko7env.load("agents.last_frame", env.task)

    def damaged(*_):
        raise hko7env.ArchiveError("damaged")

    monkeypatch.setattr(env.view, "score", damaged)
    with pytest.raises(hko7env.ArchiveError) as caught:
        hko7env.run(env, agent)
    assert not hasattr(caught.value, "__notes__")


def loop(env, agent):
    """The loop of the README."""
    observation, _ = env.reset()
    over = False
    while not over:
        agent.store(observation)
        agent.update()
        observation, _, over, _, _ = env.step(agent.predict())
    return env.unwrapped.tally


@pytest.mark.parametrize("name, learns", [("HKO7-Online-v0", True), ("HKO7-Offline-v0", False)])
def test_the_loop_of_the_readme_is_that_of_the_runner(small_archive, name, learns):
    """Also for a learner, whose update() the loop calls offline as well."""
    env = gymnasium.make(name, archive=str(small_archive))
    learner, other = (hko7env.load("tests.helpers.toys:learner", env.unwrapped.task) for _ in range(2))
    assert loop(env, learner) == hko7env.run(env, other)
    inner = learner if learns else learner.agent
    assert (inner.gain != np.float32(0.5)) == learns
    assert isinstance(learner, Learner) == learns


def test_an_agent_made_by_hand_does_not_learn_offline_either(small_archive):
    from tests.helpers.toys import Config
    from tests.helpers.toys import Learner as Toy

    env = gymnasium.make("HKO7-Offline-v0", archive=str(small_archive))
    agent = Toy(env.unwrapped.task, Config())
    hko7env.run(env, agent)
    assert agent.gain == np.float32(0.5)


def test_a_network_learns_nothing_offline(one_thread):
    pytest.importorskip("torch")
    agents = {}
    for online in (True, False):
        some = task(height=60, width=60)
        some = hko7env.Task(**{**vars(some), "online": online})
        agent = hko7env.load("agents.convgru", some, checkpoint="none")
        for step in range(6):
            agent.store(observation(some, step=step, new_episode=step == 0))
            agent.update()
        agents[online] = agent
    assert isinstance(agents[False], NonLearningAgent)
    weights = {
        online: next(iter((agent if online else agent.agent).net.parameters())).detach().numpy()
        for online, agent in agents.items()
    }
    assert not np.array_equal(weights[True], weights[False])
    fresh = hko7env.load("agents.convgru", some, checkpoint="none").agent
    np.testing.assert_array_equal(weights[False], next(iter(fresh.net.parameters())).detach().numpy())
