import numpy as np

from hko7env.loading import load
from hko7env.testing import AgentTests, observation, task


class TestLastFrame(AgentTests):
    memoryless = True

    def make(self, task):
        return load("agents.last_frame", task)


def test_every_lead_is_the_newest_frame():
    agent = load("agents.last_frame", task())
    shown = observation(task())
    agent.store(shown)
    for lead in agent.predict():
        np.testing.assert_array_equal(lead, (shown["frames"][-1] / 255).astype(np.float32))
