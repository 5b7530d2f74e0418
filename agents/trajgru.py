"""TrajGRU as encoder and forecaster: Shi et al. 2017, Table 16."""

from hko7env.contract import Task

from .learning.network_agent import Config, NetworkAgent, agent


def make(task: Task, config: Config) -> NetworkAgent:
    """The agent for ``task``; its grid must be a multiple of the network's strides."""
    return agent("trajgru", task, config)
