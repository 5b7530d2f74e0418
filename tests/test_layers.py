"""House rules that a test can hold: who may import whom, what importing costs, no dead options, no forbidden words."""

import ast
import dataclasses
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hko7env.loading import available, find

ROOT = Path(__file__).resolve().parent.parent

# From the bottom up: a room may import rooms of lower lines, and itself.
LAYERS = (
    "hko7env.units hko7env.schedule hko7env.progress hko7env.files hko7env.naming hko7env.locking hko7env.forecast",
    "hko7env.allocator hko7env.block_counter hko7env.damage hko7env.options hko7env.parallel hko7env.command_line",
    "hko7env.compiled_counting",
    "hko7env.counting",
    "hko7env.scores",
    "hko7env.archive hko7env.contract hko7env.diagnostics",
    "hko7env.loading hko7env.rendering hko7env.split_view",
    "hko7env.runner",
    "hko7env.importers hko7env.synthetic",
    "hko7env.env hko7env.testing hko7env.forecast_files hko7env.export",
    "hko7env.live",
    "hko7env.evaluation",
    "hko7env.live_run",
    "hko7env.report",
    "agents.optical_flow agents.networks",
    "agents.learning",
    "agents.moving_mnist agents.calibration agents.oracle agents.last_frame agents.rover",
    "agents.convgru agents.trajgru agents.conv2d agents.conv3d agents.calibrated_flow agents.flow_net",
    "agents.benchmarks",
    "agents.commands",
    "hko7env.commands",
    "hko7env.__main__",
)
RANK = {room: rank for rank, line in enumerate(LAYERS) for room in line.split()}
AGENT = re.compile(r"(?:hko7env\.)?(agents\.[a-z_0-9]+)[a-z_0-9.:]*")


def sources(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.py"))


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def room_of(module):
    return ".".join(module.split(".")[:2])


@functools.cache
def imported(path):
    """Names of the modules and of what is taken from them, absolute; agents named in a string count as well."""
    return tuple(find_imports(path))


def find_imports(path):
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    docstrings = set()
    tree = tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docstrings.add(node.body[0].value)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield from (f"{module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            found = AGENT.fullmatch(node.value)
            if found:
                yield found[1]


def arrows():
    """(room of a module, room that it imports, name of what it imports) wherever the two rooms differ."""
    for path in sources("hko7env") + sources("agents"):
        own = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in imported(path) if not own.endswith("__init__") else ():
            room = room_of(module)
            if module.split(".")[0] in ("hko7env", "agents") and room not in (own, "hko7env"):
                yield own, room, module


def test_arrows_go_down_only():
    found = list(arrows())
    assert len(found) > 1000
    for _, room, module in found:
        assert room in RANK, f"{module} is in no layer: add its room to LAYERS"
    upwards = [f"{own} must not import {module}" for own, room, module in found if RANK[room] >= RANK[own]]
    assert not upwards


def test_agents_import_each_other_relatively():
    """An installed package has them inside hko7env, where there is no package ``agents`` at the top."""
    for path in sources("agents"):
        for node in ast.walk(tree_of(path)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] == "agents"], path


def test_hko7env_knows_no_torch():
    for path in sources("hko7env"):
        outside = {module.split(".")[0] for module in imported(path)}
        assert not outside & {"torch", "tools"}, path.name
        if "commands" not in path.parts:
            assert "agents" not in outside, path.name


def test_nobody_imports_tools():
    for folder in ("hko7env", "agents"):
        for path in sources(folder):
            assert "tools" not in {module.split(".")[0] for module in imported(path)}, path.name


IMPORT = """
import sys
import hko7env
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"torch", "scipy", "pandas", "xarray", "tqdm", "PIL", "pysteps"}, loaded
for name in ("env", "synthetic", "evaluation", "importers.formats.eccc", "testing", "rendering"):
    __import__("hko7env." + name)
__import__("hko7env.importers.formats.pysteps")
assert "pysteps" not in sys.modules
import pathlib
assert not list(pathlib.Path.cwd().iterdir())
"""


def test_importing_reads_and_makes_nothing(tmp_path):
    bare = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    words = [sys.executable, "-W", "error", "-c", IMPORT]
    run = subprocess.run(words, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""


def test_every_option_is_read():
    trees = [tree_of(p) for folder in ("hko7env", "agents", "tools") for p in sources(folder)]
    read = {n.attr for t in trees for n in ast.walk(t) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    assert "agents.last_frame" in available()
    for name in available():
        _, config = find(name)
        unread = {f.name for f in dataclasses.fields(config)} - read if config else set()
        assert not unread, f"{name}: nobody reads {unread}"


@pytest.mark.parametrize(
    "pattern",
    [r"^\s*(import|from) pickle\b", r"\beval\(", r"except:\s*$", r"except Exception:\s*$", r"allow_pickle=True"],
)
def test_forbidden_words(pattern):
    for folder in ("hko7env", "agents", "tools"):
        for path in sources(folder):
            assert not re.search(pattern, path.read_text(), re.MULTILINE), f"{path.name} has {pattern}"


FUNCTION_LINES, MODULE_LINES = 60, 350


def test_functions_and_modules_stay_small():
    for path in sources("hko7env") + sources("agents") + sources("tools"):
        lines = path.read_text().count("\n")
        assert lines <= MODULE_LINES, f"{path} is long: split it by what its parts are about"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= FUNCTION_LINES, f"{node.name} in {path} has {lines} lines: split it"
