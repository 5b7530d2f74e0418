"""A learner that raises an error at two issue times, whenever it is made."""

from tests.helpers.toys import Config, Learner


class Failing(Learner):
    def store(self, observation):
        super().store(observation)
        self.time = int(observation["time"][-1])

    def predict(self):
        if self.time in (114, 144 + 60):
            raise RuntimeError("no forecast at this time")
        return super().predict()


def make(task, config):
    return Failing(task, config)


__all__ = ["Config", "make"]
