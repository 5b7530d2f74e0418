"""The agent's side of the contract, and Algorithm 1 of Shi et al. 2017 on one screen."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

import gymnasium
import numpy as np
import numpy.typing as npt

from hko7env.naming import meant
from hko7env.scores import Tally, check_forecast
from hko7env.units import HKO7, ZR


class OptionError(ValueError):
    """Options that an agent cannot be made with here; the message says what to choose, no traceback is needed."""


class Observation(TypedDict):
    """What an agent sees in a step: the J newly observed frames.

    ``frames`` (J, H, W) uint8 levels, raw; ``present`` (J,) int8, 0 where a frame is missing and all 0; ``time`` (J,)
    int64 minutes since 1970-01-01; ``new_episode`` 1 if nothing seen before may be continued.
    """

    frames: npt.NDArray[np.uint8]
    present: npt.NDArray[np.int8]
    time: npt.NDArray[np.int64]
    new_episode: int


@dataclass(frozen=True, eq=False)
class Task:
    """The static facts an agent is made for: J inputs, K leads, H x W frames every ``cadence`` minutes.

    ``scored`` (H, W) bool is the static mask (True = scored), ``zr`` the relation between level and rain rate.
    """

    inputs: int
    leads: int
    height: int
    width: int
    cadence: int
    scored: npt.NDArray[np.bool_]
    zr: ZR = HKO7


@runtime_checkable
class Agent(Protocol):
    """Forecasts the next K frames from what it has been shown. It may keep copies of observations, never views."""

    def store(self, observation: Observation) -> None:
        """Take in the J newest frames; if ``new_episode`` is 1, forget the frames before them."""

    def update(self) -> None:
        """Learn from what has been stored, if this agent learns."""

    def predict(self) -> npt.NDArray[np.float32]:
        """(K, H, W) float32 pixels in [0, 1] for the K frames after the newest stored one."""


@runtime_checkable
class Learner(Agent, Protocol):
    """An agent that carries something across episodes (weights, optimiser state) and can therefore be checkpointed."""

    def save(self, path: Path) -> None:
        """Write all that makes the next predictions what they are, random state and stored frames included."""

    def restore(self, path: Path) -> None:
        """Become the agent that :meth:`save` wrote to ``path``. Raises ValueError for a file that is none."""


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
        with _naming(f"in sequence {index}, issued {stream.issued(index)}, by {type(agent).__name__}"):
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


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """Add a note to an error of the agent, so that it is known where it happened, and that it was the agent's."""
    try:
        yield
    except OptionError:
        raise
    except Exception as error:
        error.add_note(place)
        raise


def load(name: str, task: Task, **options: Any) -> Agent:
    """The agent ``name`` for ``task``: ``agents.trajgru`` means ``agents.trajgru:make``.

    ``make(task, config)`` gets the module's ``Config`` made from ``options``; a module without a ``Config`` takes none.
    Raises ValueError with a suggestion for an unknown name or option, TypeError if what it makes is no agent.
    """
    make, config = find(name)
    check_options(name, config, options)
    with _naming(f"while {name} made its agent"):
        agent = make(task, config(**options)) if config else make(task)
    if not isinstance(agent, Agent):
        raise TypeError(f"{name} made a {type(agent).__name__}, which lacks store, update or predict")
    return agent


def find(name: str) -> tuple[Callable[..., Any], Any]:
    """The ``make`` function and the ``Config`` dataclass (or None) of an agent's name."""
    module_name, _, attribute = name.partition(":")
    module = importlib.import_module(_locate(module_name))
    make = getattr(module, attribute or "make", None)
    if not callable(make):
        raise ValueError(f"{module_name} has no function {attribute or 'make'}(task, config) to make an agent with")
    config = getattr(module, "Config", None)
    return make, config if inspect.isclass(config) and is_dataclass(config) else None


def check_options(name: str, config: Any, options: dict[str, Any]) -> None:
    """Raise ValueError, with what may be meant, if ``config`` lacks one of ``options``."""
    known = [field.name for field in fields(config)] if config else []
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}, {meant(option, known)}")


def _locate(module: str) -> str:
    """``agents.x`` beside the working tree if it is there, else the copy that the installed package carries."""
    for candidate in (module, f"hko7env.{module}"):
        try:
            if importlib.util.find_spec(candidate):
                return candidate
        except ModuleNotFoundError:
            continue
    here = [path.stem for path in Path.cwd().glob("*.py") if _makes(path)]
    raise ValueError(f"there is no agent {module!r}, {meant(module.removesuffix('.py'), [*available(), *here])}")


def available() -> list[str]:
    """Names of the agents in the package ``agents``: the modules that can be given to :func:`load`."""
    for package in ("agents", "hko7env.agents"):
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            found = pkgutil.iter_modules(spec.submodule_search_locations)
            folder = Path(spec.submodule_search_locations[0])
            return sorted(f"agents.{m.name}" for m in found if _makes(folder / f"{m.name}.py"))
    return []


def _makes(source: Path) -> bool:
    return source.is_file() and "\ndef make(" in source.read_text(encoding="utf-8")
