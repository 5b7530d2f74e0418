"""The two-dimensional CNN of Shi et al. 2017, Table 13: frames are channels."""

from hko7env.contract import Task

from .learning.network_agent import Config, NetworkAgent, agent


def make(task: Task, config: Config) -> NetworkAgent:
    """The agent for ``task``; its grid must be a multiple of the network's strides."""
    return agent("conv2d", task, config)
