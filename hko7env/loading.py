"""Making agents by name: ``agents.trajgru`` means the function ``make`` of the module ``agents.trajgru``."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hko7env.contract import Agent, NonLearningAgent, OptionError, Task
from hko7env.naming import suggest


@contextmanager
def noting(place: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Add the note ``place``, such as "in sequence 3", to errors of ``kind``; OptionError passes without a note."""
    try:
        yield
    except OptionError:
        raise
    except kind as error:
        error.add_note(place)
        raise


def load(name: str, task: Task, **options: Any) -> Agent:
    """Make an agent.

    Args:
        name: ``module`` or ``module:function``; the default function is ``make``. It is called as
            ``make(task, config)`` if the module has a dataclass ``Config``, else as ``make(task)``.
        task: What the agent is made for. If it is an offline task, the agent's ``update`` is disabled, see
            :class:`~hko7env.contract.NonLearningAgent`.
        **options: Fields of the module's ``Config``.

    Returns:
        The agent.

    Raises:
        ValueError: If there is no such module, function or option; the message suggests one.
        OptionError: If the agent cannot be made with these options.
        TypeError: If the function returns something that is not an agent.
    """
    make, config = find(name)
    check_options(name, config, options)
    with noting(f"while {name} made its agent"):
        agent = make(task, config(**options)) if config else make(task)
    if not isinstance(agent, Agent):
        raise TypeError(f"{name} made a {type(agent).__name__}, which lacks store, update or predict")
    return agent if task.online else NonLearningAgent(agent)


def find(name: str) -> tuple[Callable[..., Any], Any]:
    """Find an agent's ``make`` function and its ``Config`` dataclass.

    Args:
        name: ``module`` or ``module:function``.

    Returns:
        The function, and the dataclass or None.

    Raises:
        ValueError: If there is no such module or function.
    """
    module_name, _, attribute = name.partition(":")
    full_name = locate(module_name)
    with noting(f"while {module_name} was imported"):
        module = importlib.import_module(full_name)
    make = getattr(module, attribute or "make", None)
    if not callable(make):
        raise ValueError(f"{module_name} has no function {attribute or 'make'}(task, config) to make an agent with")
    config = getattr(module, "Config", None)
    return make, config if inspect.isclass(config) and is_dataclass(config) else None


def check_options(name: str, config: Any, options: dict[str, Any]) -> None:
    """Raise ValueError, with a suggestion, if the dataclass ``config`` of agent ``name`` lacks one of ``options``."""
    known = [field.name for field in fields(config)] if config else []
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}, {suggest(option, known)}")


def find_module(module: str) -> str | None:
    """``module`` itself if it can be imported, else its copy inside the installed package, else None.

    Args:
        module: Such as ``agents.trajgru``, or a module of your own.
    """
    for candidate in (module, f"hko7env.{module}"):
        try:
            if importlib.util.find_spec(candidate):
                return candidate
        except ModuleNotFoundError:
            continue
    return None


def locate(module: str) -> str:
    """The full name of an agent's module, see :func:`find_module`.

    Raises:
        ValueError: If there is none; the message suggests an agent.
    """
    if found := find_module(module):
        return found
    here = [path.stem for path in Path.cwd().glob("*.py") if _makes_agents(path)]
    raise ValueError(f"there is no agent {module!r}, {suggest(module.removesuffix('.py'), [*available(), *here])}")


def available() -> list[str]:
    """Names of the agents in the package ``agents``: its modules with a top-level function or class ``make``."""
    for package in ("agents", "hko7env.agents"):
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            found = pkgutil.iter_modules(spec.submodule_search_locations)
            folder = Path(spec.submodule_search_locations[0])
            return sorted(f"agents.{m.name}" for m in found if _makes_agents(folder / f"{m.name}.py"))
    return []


def _makes_agents(source: Path) -> bool:
    if not source.is_file():
        return False
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):  # somebody's unfinished file
        return False
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == "make" for node in tree.body)
