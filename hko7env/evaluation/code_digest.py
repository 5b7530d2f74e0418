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
from pathlib import Path

from hko7env.loading import locate

_SCORING = ("hko7env.env", "hko7env.runner", "hko7env.evaluation.journal")  # from the archive to summed tallies
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
    found: dict[str, Path] = {}
    waiting = [module, *_SCORING]
    while waiting:
        name = waiting.pop()
        for part in _with_parents(name):
            if part in found or not _is_ours(part, module):
                continue
            path = _file(part)
            if path:
                found[part] = path
                waiting += _imports(part, path)
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


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts)))


def _is_ours(name: str, agent: str) -> bool:
    """Whether a module belongs to hko7env or the agent's package, or is not part of an installation."""
    top = name.partition(".")[0]
    if top in ("hko7env", agent.partition(".")[0]):
        return True
    root = _root(top)
    standard = {Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib")}
    return root is not None and root not in standard and root.name not in ("site-packages", "dist-packages")


def _root(top: str) -> Path | None:
    """The folder in which a top-level module or package lies, or None if it is not a file."""
    folders = _folders(top)
    if folders:
        return folders[0].parent
    path = _file(top)
    return path.parent if path else None


def _folders(top: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []


def _file(name: str) -> Path | None:
    """The source of a module or of a package's ``__init__``, or None."""
    top, *rest = name.split(".")
    folders = _folders(top)
    if not folders:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        is_file = spec and not rest and spec.origin and spec.origin.endswith(".py")
        return Path(spec.origin) if spec and is_file and spec.origin else None
    candidates = [folder.joinpath(*rest) for folder in folders]
    for path in (*(c.with_name(f"{c.name}.py") for c in candidates if rest), *(c / "__init__.py" for c in candidates)):
        if path.is_file():
            return path
    return None


def _imports(module: str, path: Path) -> Iterator[str]:
    """Full names of what a module imports, including names that may be submodules."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    inside_functions = not module.startswith("hko7env") or module.startswith("hko7env.agents")
    for node in _nodes(ast.parse(path.read_bytes(), str(path)), inside_functions):
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
