"""House rules that a test can hold: who may import whom, what importing costs, no dead options, no forbidden words."""

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hko7env.agent import available, find

ROOT = Path(__file__).resolve().parent.parent

ALLOWED = {
    "units": set(),
    "damage": set(),
    "schedule": set(),
    "progress": set(),
    "naming": set(),
    "layout": {"units"},
    "archive": {"layout", "units", "naming"},
    "scores": {"units"},
    "synthetic": {"archive", "layout", "parallel", "progress", "synthetic", "units"},
    "oracle": {"agent", "synthetic"},
    "acceptance": {"agent", "archive", "parallel", "schedule", "scores", "summary", "synthetic", "units"},
    "gallery": {"acceptance", "archive", "layout", "pictures", "scores", "summary", "synthetic", "units"},
    "moving_mnist": set(),
    "importers": {"archive", "damage", "denoise", "importers", "layout", "parallel", "progress", "units", "naming"},
    "parallel": set(),
    "summary": {"archive", "denoise", "layout", "parallel", "scores", "units"},
    "days": {"archive", "damage", "layout", "scores"},
    "denoise": {"archive", "damage", "layout", "parallel", "scores"},
    "agent": {"scores", "units", "naming"},
    "pictures": {"agent", "layout", "units"},
    "env": {"agent", "archive", "denoise", "layout", "pictures", "schedule", "scores", "synthetic", "naming"},
    "results": {"scores", "units"},
    "evaluation": {"agent", "env", "progress", "results", "scores"},
    "testing": {"agent", "units"},
}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            first, *rest = node.module.split(".")
            yield from ((first, rest[0]),) if rest else ((first, a.name) for a in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name.split(".")[0], None) for a in node.names)


def sources(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.py"))


def test_arrows_go_down_only():
    for path in sources("hko7env"):
        room = path.relative_to(ROOT / "hko7env").parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        ours = {name for first, name in imported(ast.parse(path.read_text())) if first == "hko7env" and name}
        assert ours <= ALLOWED[room], f"{path.name} imports {ours - ALLOWED[room]}"


def test_hko7env_knows_no_torch_and_no_agents():
    for path in sources("hko7env"):
        outside = {first for first, _ in imported(ast.parse(path.read_text()))}
        known = {"torch"} if path.name == "moving_mnist.py" else set()  # renders on a GPU; nothing here imports it
        assert not outside & ({"torch", "agents", "tools"} - known), path.name


def test_nobody_imports_tools():
    for folder in ("hko7env", "agents"):
        for path in sources(folder):
            assert "tools" not in {first for first, _ in imported(ast.parse(path.read_text()))}, path.name


IMPORT = """
import sys
import hko7env
loaded = {name.split(".")[0] for name in sys.modules}
assert not loaded & {"torch", "scipy", "pandas", "xarray", "tqdm", "PIL"}, loaded
for name in ("env", "synthetic", "evaluation", "importers.eccc", "testing", "pictures"):
    __import__("hko7env." + name)
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
    trees = [ast.parse(p.read_text()) for folder in ("hko7env", "agents", "tools") for p in sources(folder)]
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
