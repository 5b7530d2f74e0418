"""What a user of pip gets: the content of the wheel, run where no working tree can be imported."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent
CARRIED = (
    "hko7env/py.typed",
    "hko7env/commands/archive/describe.py",
    "hko7env/agents/commands/benchmark.py",
    "hko7env/agents/benchmarks/scores.py",
    "hko7env/agents/weights/trajgru-small.safetensors",
)
# Hides working trees that are installed as editable, which Python adds to the path after PYTHONPATH.
HIDE = """
import pathlib, sys
sys.path[:] = [path for path in sys.path if not pathlib.Path(path, "agents").is_dir()]
"""
SCRIPT = "import sys\nfrom hko7env.commands.main import main\nsys.exit(main())"  # as pip writes it for an entry point
EVERY_HELP = """
from hko7env.commands.main import COMMANDS, main
for name in COMMANDS:
    try:
        assert main([name, "--help"]) == 0, name
    except SystemExit as left:
        assert left.code == 0, name
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel):
    """Run some code, in the given folder, as with the wheel installed."""
    site = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (site / "sitecustomize.py").write_text(HIDE)
    bare = {"PYTHONPATH": str(site), "HOME": str(wheel.parent), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}

    def run(folder, code, *words):
        command = [sys.executable, "-P", "-c", code, *map(str, words)]
        return subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_carries_agents_commands_and_weights_inside(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "hko7env = hko7env.commands.main:main" in file.read(entries).decode()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hko7env"}, "no top-level agents or tools"
    assert not [name for name in names if "__pycache__" in name]
    assert set(CARRIED) <= set(names)


def test_the_installed_package_runs_its_agents(installed, small_archive, tmp_path):
    code = (
        "import gymnasium, hko7env;"
        f"env = gymnasium.make('HKO7-Online-v0', archive={str(small_archive)!r});"
        "agent = hko7env.load('agents.last_frame', env.unwrapped.task);"
        "assert type(agent).__module__ == 'hko7env.agents.last_frame', type(agent);"
        "print(hko7env.run(env, agent).sequences)"
    )
    done = installed(tmp_path, code)
    assert done.stdout.strip() == "13", done.stderr


def test_the_installed_command_evaluates_shipped_and_own_agents(installed, small_archive, tmp_path):
    (tmp_path / "mine.py").write_text((ROOT / "agents/last_frame.py").read_text())
    words = ("agents.last_frame", "mine", "--limit", 2, "--archive", small_archive, "--env", "offline", "--workers", 2)
    done = installed(tmp_path, SCRIPT, "evaluate", *words)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[2:]] for line in done.stdout.splitlines() if "| offline" in line]
    assert len(rows) == 2
    assert rows[0] == rows[1], "the same agent has the same scores"


def test_every_installed_command_has_help(installed, tmp_path):
    done = installed(tmp_path, EVERY_HELP)
    assert done.returncode == 0, done.stderr
