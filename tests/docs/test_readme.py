import re
from pathlib import Path

from hko7env.archive import Archive
from hko7env.commands.archive.main import COMMANDS as ARCHIVE
from hko7env.commands.main import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent.parent


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_readmes_code_runs(small_archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hko7env.synthetic.default_archive", lambda: small_archive)
    code = blocks("python")
    assert len(code) == 4
    names = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert names["over"]
    assert names["info"]["sequence"] == 8
    assert len(Archive("mine.zarr")) == 30
    suite = names["TestFading"]()
    for test in [getattr(suite, name) for name in dir(suite) if name.startswith("test_")]:
        test(*[tmp_path] if "checkpoint" in test.__name__ else [])
    Path("mine.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["evaluate", "mine", "--archive", str(small_archive), "--limit", "3"]) == 0


def test_the_readme_names_commands_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"python (tools/\w+\.py)", text):
        assert (ROOT / path).is_file(), path
    for name in re.findall(r"^(?:hko7env |python tools/)([\w-]+)", text, re.MULTILINE):
        assert name.replace("_", "-") in COMMANDS, name
    for name in re.findall(r"^(?:hko7env archive|python tools/archive.py) (\w+)", text, re.MULTILINE):
        assert name in ARCHIVE, name
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= set(targets)
