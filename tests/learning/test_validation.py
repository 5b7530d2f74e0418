import gymnasium
import pytest

import hko7env
from agents.learning.distributed import Ranks
from agents.learning.validation import Validation
from hko7env.archive import Archive
from hko7env.loading import load
from hko7env.split_view import SplitView

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def archive(ninety_archive):
    return ninety_archive


def test_validation_is_the_environments_score(archive):
    env = gymnasium.make("HKO7-Offline-v0", archive=str(archive), split="valid").unwrapped
    view = SplitView(Archive(str(archive)), "valid")
    agent = load("agents.convgru", env.task, checkpoint="none")
    means = hko7env.averages(hko7env.run(env, agent))
    score = Validation(view, agent.agent.net, Ranks())()
    assert score == pytest.approx(means["b_mse"] + means["b_mae"], rel=1e-12)
    assert Validation(view, agent.agent.net, Ranks(), 2).chosen.tolist() == [0, len(env.schedule) - 1]
    with pytest.raises(ValueError, match="at least 1 sequence"):
        Validation(view, agent.agent.net, Ranks(), 0)
