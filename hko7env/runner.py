"""Algorithm 1 of Shi et al. 2017: one pass of an agent through an environment."""

from collections.abc import Callable
from typing import Any

import gymnasium

from hko7env.contract import Agent
from hko7env.loading import noting
from hko7env.scores import Tally, check_forecast

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
    """Algorithm 1 of Shi et al. 2017: let ``agent`` forecast one pass of ``env``, or a part, and return its tally.

    Offline nothing is learned: there ``update`` is not called. ``options`` go to ``env.reset``. For a resumed run,
    sequences before index ``skip`` are gone through but not counted. ``record`` is called with each sequence's index
    and tally once its truth has been revealed, ``after`` with the index of each step done. An error of the agent is
    raised with the sequence's name added.
    """
    stream: Any = env.unwrapped
    total = Tally.zero(stream.task.leads)
    observation, info = env.reset(options=options)
    done = False
    while not done:
        index = info["sequence"]
        with noting(f"in sequence {index}, issued {stream.issued(index)}, by {type(agent).__name__}"):
            agent.store(observation)
            if stream.online:
                agent.update()
            forecast = agent.predict()
            check_forecast(forecast, env.action_space.shape or ())
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
