"""The code that can change the scores of an agent, found by following imports, and its digest.

Imports are read from the source, without importing anything. Strings that name a module of the same code, such as
``"agents.rover"`` in ``load("agents.rover", task)``, count as imports. Imports inside functions of ``hko7env`` are not
followed: they load conveniences (rendering, the default archive, progress bars).
"""

import ast
import hashlib
import importlib.util
import re
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from hko7env.loading import locate

# From the archive to summed tallies; the compiled counter is imported inside a function.
_SCORING = ("hko7env.env", "hko7env.runner", "hko7env.evaluation.journal", "hko7env.compiled_counting")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def code_digest(agent: str) -> str:
    """sha256 over the sources and weights that can change the scores of an agent.

    Covered are the modules that the agent's module imports, directly or not, the modules that compute the scores, and
    the weights shipped beside the agent. Of installed packages only the agent's own and hko7env are covered.

    Args:
        agent: Name of the agent, ``module`` or ``module:function``.

    Raises:
        ValueError: If there is no such module.
    """
    module = locate(agent.partition(":")[0])
    digest = hashlib.sha256()
    modules = sources(module)
    for name, path in sorted((modules | weights(modules[module], set(modules.values()))).items()):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def sources(module: str) -> dict[str, Path]:
    """Find the modules that can change the scores of the agent in ``module``.

    Args:
        module: Full name of the agent's module.

    Returns:
        Files by the full names of their modules, packages' ``__init__`` included.
    """
    modules = _Modules(module)
    found: dict[str, Path] = {}
    waiting, seen = [module, *_SCORING], set[str]()
    while waiting:
        parts = waiting.pop().split(".")
        for name in (".".join(parts[: i + 1]) for i in range(len(parts))):  # importing a.b runs a/__init__ as well
            path = None if name in seen else modules.file(name)
            seen.add(name)
            if path:
                found[name] = path
                waiting += _imports(name, path.name == "__init__.py", path.read_bytes())
            if name in found and found[name].name != "__init__.py":
                break  # a module that is no package: what follows are names in it
    return found


def weights(agent: Path, used: set[Path]) -> dict[str, Path]:
    """Find the files in the folder ``weights`` beside an agent's module.

    Documentation (``.md``) is left out, and files of other agents: a file belongs to the module whose name it begins
    with, as ``trajgru-small.safetensors`` to ``trajgru.py``.

    Args:
        agent: The agent's module.
        used: The sources that the agent depends on, see :func:`sources`; files of these modules are kept.

    Returns:
        Files by ``weights/`` and their names.
    """
    others = {file.stem for file in agent.parent.glob("*.py") if file not in used}
    found = [file for file in (agent.parent / "weights").glob("*") if file.is_file() and file.suffix != ".md"]
    return {f"weights/{file.name}": file for file in found if not others & {re.split("[-.]", file.name)[0]}}


class _Modules:
    """Finds the sources of modules, as far as they are not installed, or belong to the agent's package or hko7env."""

    def __init__(self, agent: str) -> None:
        self._always = ("hko7env", agent.partition(".")[0])
        self._tops: dict[str, tuple[list[Path], Path | None]] = {}

    def file(self, name: str) -> Path | None:
        """The source of a module, or of a package's ``__init__``; None if there is none, or it does not count."""
        top, *rest = name.split(".")
        if top not in self._tops:
            self._tops[top] = self._find(top)
        folders, source = self._tops[top]
        if source and not rest:
            return source
        for place in (folder.joinpath(*rest) for folder in folders):
            for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
                if path.is_file():
                    return path
        return None

    def _find(self, top: str) -> tuple[list[Path], Path | None]:
        """The folders of a top-level package, or the file of a top-level module; nothing if it does not count."""
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return [], None
        folders = [Path(place) for place in spec.submodule_search_locations or []]
        file = Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
        places = [*(folder.parent for folder in folders), *([file.parent] if file and not folders else [])]
        if top not in self._always and any(_is_installed(place) for place in places):
            return [], None
        return folders, file


def _is_installed(folder: Path) -> bool:
    return folder in _standard_library() or folder.name in ("site-packages", "dist-packages")


@lru_cache(maxsize=1)
def _standard_library() -> frozenset[Path]:
    return frozenset(Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib"))


@lru_cache(maxsize=1024)
def _imports(module: str, is_package: bool, source: bytes) -> tuple[str, ...]:
    """Full names of what a module imports, including names that may be submodules."""
    return tuple(_imported_names(module, is_package, source))


def _imported_names(module: str, is_package: bool, source: bytes) -> Iterator[str]:
    package = module.split(".") if is_package else module.split(".")[:-1]
    inside_functions = not module.startswith("hko7env") or module.startswith("hko7env.agents")
    for node in _nodes(ast.parse(source), inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and inside_functions:
            name = node.value.partition(":")[0]
            if _DOTTED.fullmatch(name):
                yield name


def _nodes(tree: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
