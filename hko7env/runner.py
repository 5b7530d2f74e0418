"""Algorithm 1 of Shi et al. 2017: one pass of an agent through an environment."""

from collections.abc import Callable
from typing import Any

import gymnasium

from hko7env.contract import Agent, NonLearningAgent
from hko7env.forecast import ForecastError
from hko7env.loading import noting
from hko7env.scores import Tally

Record = Callable[[int, Tally], None]


def run(
    env: gymnasium.Env[Any, Any],
    agent: Agent,
    *,
    options: dict[str, Any] | None = None,
    skip: int = 0,
    record: Record | None = None,
    after: Callable[[int], None] | None = None,
) -> Tally:
    """Let an agent forecast one pass of an environment, or a part of it (Algorithm 1 of Shi et al. 2017).

    Offline nothing is learned: ``agent.update`` is not called.

    Args:
        env: An environment of this package, wrapped or not.
        agent: The agent.
        options: Passed to ``env.reset``: ``start``, ``stop`` and ``continued``, see
            :class:`~hko7env.env.NowcastingEnv`.
        skip: Sequences before this index are run but not counted, to resume a run.
        record: Called with the index and the tally of each counted sequence once its truth has been revealed.
        after: Called with the index of each sequence after its step.

    Returns:
        The tally of the counted sequences.

    Raises:
        Exception: Whatever the agent raises, or ForecastError for what it forecasts, with a note that names the
            sequence and the agent.
    """
    stream: Any = env.unwrapped
    total = Tally.zero(stream.task.leads)
    name = type(agent.agent if isinstance(agent, NonLearningAgent) else agent).__name__
    agent = agent if stream.online else NonLearningAgent(agent)
    observation, info = env.reset(options=options)
    done = False
    while not done:
        index = info["sequence"]
        place = f"in sequence {index}, issued {stream.issued(index)}, by {name}"
        with noting(place):
            agent.store(observation)
            agent.update()
            forecast = agent.predict()
        with noting(place, ForecastError):
            observation, _, terminated, truncated, info = env.step(forecast)
        done = terminated or truncated
        for revealed, tally in [*stream.revealed, *(stream.release() if done else [])]:
            if revealed >= skip:
                total += tally
                if record:
                    record(revealed, tally)
        if after:
            after(index)
    return total
