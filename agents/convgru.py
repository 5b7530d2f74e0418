"""ConvGRU as encoder and forecaster: Shi et al. 2017, Table 15."""

from hko7env.contract import Task

from .learning.network_agent import Config, NetworkAgent, make_agent


def make(task: Task, config: Config) -> NetworkAgent:
    """Make the agent for ``task``."""
    return make_agent("convgru", task, config)
