"""Names and options to agents: ``agents.trajgru`` means ``agents.trajgru:make``."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hko7env.contract import Agent, OptionError, Task
from hko7env.naming import suggest


@contextmanager
def noting(place: str) -> Iterator[None]:
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
    with noting(f"while {name} made its agent"):
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
            raise ValueError(f"{name} has no option {option!r}, {suggest(option, known)}")


def _locate(module: str) -> str:
    """``agents.x`` beside the working tree if it is there, else the copy that the installed package carries."""
    for candidate in (module, f"hko7env.{module}"):
        try:
            if importlib.util.find_spec(candidate):
                return candidate
        except ModuleNotFoundError:
            continue
    here = [path.stem for path in Path.cwd().glob("*.py") if _makes(path)]
    raise ValueError(f"there is no agent {module!r}, {suggest(module.removesuffix('.py'), [*available(), *here])}")


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
