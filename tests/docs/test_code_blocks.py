"""Every code block of the documentation works: python is run, command lines are read by the real parsers."""

import importlib
import inspect
import re
import sys

import pytest

from agents.networks.recurrent import CELLS
from agents.networks.registry import NETWORKS
from hko7env.archive import Archive
from hko7env.command_line import Parser
from hko7env.commands.archive.main import COMMANDS as ARCHIVE_COMMANDS
from hko7env.commands.main import COMMANDS, main
from hko7env.loading import available
from tests.helpers.markdown import PAGES, ROOT, blocks, command_lines
from tools import gpu_plan

WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]
WITH_COMMANDS = [page for page in PAGES if command_lines(page)]


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def workplace(tmp_path, monkeypatch, small_archive):
    """An empty current folder from which modules are imported, and a small archive as the default one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("hko7env.synthetic.default_archive", lambda: small_archive)
    before = set(sys.modules)
    registries = [(registry, dict(registry)) for registry in (CELLS, NETWORKS)]  # pages show how to add to them
    yield tmp_path
    for registry, entries in registries:
        registry.clear()
        registry.update(entries)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write_files(page, folder, monkeypatch):
    """Write the page's blocks that have a file name as a title into ``folder``, and let their packages find them."""
    for block in blocks(page):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            if path.parent != folder:
                package = importlib.import_module(".".join(path.parent.relative_to(folder).parts))
                monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
    importlib.invalidate_caches()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_python_blocks_run(page, workplace, monkeypatch):
    write_files(page, workplace, monkeypatch)
    names = {"__name__": "page"}
    for block in blocks(page):
        if block.language == "python" and not block.title:
            exec(compile(block.text, name_of(page), "exec"), names)
    for suite in [value for value in names.values() if isinstance(value, type) and value.__name__.startswith("Test")]:
        run_suite(suite, workplace)


def run_suite(suite, folder):
    """Run the tests of a class as pytest would, each in a folder of its own."""
    one = suite()
    tests = [getattr(one, name) for name in dir(one) if name.startswith("test_")]
    assert tests
    for test in tests:
        place = folder / test.__name__
        place.mkdir()
        test(**({"tmp_path": place} if "tmp_path" in inspect.signature(test).parameters else {}))


def test_the_readme_walks_a_part_and_its_agent_can_be_evaluated(workplace, small_archive, capsys):
    python = [block.text for block in blocks(ROOT / "README.md") if block.language == "python"]
    assert len(python) == 3
    names = {}
    exec(compile(python[0], "README.md", "exec"), names)
    assert names["done"]
    assert names["info"]["sequence"] == 8
    (workplace / "mine.py").write_text(python[1])
    assert main(["evaluate", "mine", "--archive", str(small_archive), "--limit", "3"]) == 0
    assert "| mine " in capsys.readouterr().out


def test_the_archive_that_is_written_from_python_is_whole(workplace):
    text = next(b.text for b in blocks(ROOT / "docs/archives.md") if b.language == "python")
    exec(compile(text, "archives.md", "exec"), {})
    assert len(Archive("mine.zarr")) == 30


class Parsed(Exception):
    """The command line was read without an error."""


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_command_lines_are_accepted(page, workplace, monkeypatch):
    write_files(page, workplace, monkeypatch)
    mine = next(b.text for b in blocks(ROOT / "README.md") if "class Fading" in b.text and b.language == "python")
    (workplace / "mine.py").write_text(mine)
    parse = Parser.parse_args

    def stop(self, *arguments):
        parse(self, *arguments)
        raise Parsed

    monkeypatch.setattr(Parser, "parse_args", stop)
    for words in command_lines(page):
        check(words)


def check(words):
    """Let the real parser read one command line, or fail."""
    if words[0] == "torchrun":
        words = words[words.index("tools/train.py") - 1 :]
    if words[1:2] == ["tools/gpu_plan.py"]:
        assert gpu_plan.main([*words[2:], "--dry-run"]) == 0, words
        return
    if words[1:] and words[1].startswith("tools/"):
        assert (ROOT / words[1]).is_file(), words
        words = ["hko7env", words[1].removeprefix("tools/").removesuffix(".py").replace("_", "-"), *words[2:]]
    if words[0] == "hko7env":
        with pytest.raises((Parsed, SystemExit)) as stopped:
            assert main(words[1:]) == 0, words
        assert stopped.type is Parsed or stopped.value.code == 0, words
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(f"\n{target}:" in makefile for target in words[1:] if "=" not in target), words
    else:
        assert words[0] in ("python3", "pip", ".", "export"), f"no test knows how to check {words}"


def test_every_command_is_documented():
    used = {tuple(words[1:3]) for page in PAGES for words in command_lines(page) if words[0] == "hko7env"}
    assert set(COMMANDS) <= {words[0] for words in used}
    assert set(ARCHIVE_COMMANDS) <= {words[1] for words in used if words[0] == "archive"}


def test_every_flag_that_is_mentioned_exists(capsys):
    commands = [[name] for name in COMMANDS if name not in ("archive", "moving-mnist")]
    commands += [["archive", name] for name in ARCHIVE_COMMANDS]
    commands += [["moving-mnist", name] for name in ("train", "test", "table", "draw")]
    commands += [["archive", "import", "pysteps:fmi_pgm"]]
    commands += [["evaluate", agent] for agent in available()]
    for words in commands:
        with pytest.raises(SystemExit):
            assert main([*words, "--help"]) == 0, words
    with pytest.raises(SystemExit):
        gpu_plan.main(["--help"])
    known = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    for page in PAGES:
        code = " ".join(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)))
        unknown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) - known - {"--editable", "--help"}
        assert not unknown, (page.name, unknown)
