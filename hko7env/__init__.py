"""A streaming benchmark for precipitation nowcasting: the HKO-7 protocol (Shi et al. 2017) in Gymnasium."""

import gymnasium

from hko7env.archive import Archive, ArchiveError
from hko7env.contract import Agent, Learner, Observation, Task
from hko7env.forecast import ForecastError
from hko7env.loading import load
from hko7env.runner import run
from hko7env.scores import Tally, averages
from hko7env.units import HKO7, ZR

__version__ = "0.1.0"
__all__ = [
    "HKO7",
    "ZR",
    "Agent",
    "Archive",
    "ArchiveError",
    "ForecastError",
    "Learner",
    "Observation",
    "Tally",
    "Task",
    "averages",
    "load",
    "run",
]

for _name, _online in (("HKO7-Online-v0", True), ("HKO7-Offline-v0", False)):
    gymnasium.register(
        _name, entry_point="hko7env.env:NowcastingEnv", kwargs={"online": _online}, nondeterministic=False
    )
gymnasium.register("HKO7-Live-v0", entry_point="hko7env.live.env:LiveEnv", nondeterministic=True)
