import importlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hko7env.archive import Archive, create

ROOT = Path(__file__).resolve().parent.parent


def tool(name, *words, cwd):
    command = [sys.executable, "-W", "error", str(ROOT / "tools" / name), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_evaluate_prints_the_table_and_writes_the_runs(small_archive, tmp_path):
    words = ("agents.last_frame", "tests.helpers.toys", "--delay", "0", "--archive", small_archive, "--workers", "2")
    done = tool("evaluate.py", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:3] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in row] for row in rows[2:]] == [
        ["agents.last_frame", "offline"], ["agents.last_frame", "online"],
        ["tests.helpers.toys", "offline"], ["tests.helpers.toys", "online"],
    ]  # fmt: skip
    assert len(list((tmp_path / "results").iterdir())) == 4
    assert "13/13" in done.stderr, "a progress bar with the count"


@pytest.mark.parametrize(
    "words, message",
    [
        (["agents.last_farme"], "did you mean 'agents.last_frame'?"),
        (["agents.last_frame", "--splt", "test"], "there is no option '--splt'; did you mean --split?"),
        (["agents.last_frame", "--split", "tets"], "did you mean 'test'?"),
        (["tests.helpers.toys", "--dely", "1"], "did you mean --delay?"),
        (["tests.helpers.toys", "--delay", "soon"], "--delay expects float, got 'soon'"),
        (["tests.helpers.toys", "--loud", "maybe"], "--loud expects bool, got 'maybe'"),
        (["tests.helpers.toys", "--delay"], "--delay needs a value"),
        (["agents.last_frame", "--limit", "0"], "--limit must be at least 1"),
        (["agents.last_frame", "--workers", "0"], "--workers must be at least 1"),
        (["agents.last_frame", "--archive", "nowhere.zarr"], "no archive at nowhere.zarr"),
        (["--evn", "online", "agents.last_frame"], "--evn may be --env"),
        (["--delay", "3", "tests.helpers.toys"], "options of an agent come after the agents"),
        (["tests.helpers.toys", "--spl", "test"], "there is no option '--spl'; did you mean --split?"),
        (["tests.helpers.toys", "--label=", "--weights=x"], "there is no option '--weights'"),
        (["tests.toy"], "there is no agent 'tests.toy'"),
    ],
)
def test_evaluate_names_what_is_wrong(small_archive, tmp_path, words, message):
    given = [] if "--archive" in words else ["--archive", small_archive]
    done = tool("evaluate.py", *words, *given, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agents_error_comes_with_its_traceback_and_sequence(small_archive, tmp_path):
    done = tool("evaluate.py", "tests.helpers.toys", "--fail-at", 5, "--archive", small_archive, cwd=tmp_path)
    assert done.returncode == 1
    assert "RuntimeError: the toy is broken" in done.stderr
    assert "in sequence 5, issued 2015-05-20T02:54, by Slow" in done.stderr


def test_a_folder_that_cannot_be_written_is_named(small_archive, tmp_path):
    (tmp_path / "results").write_text("in the way")
    done = tool("evaluate.py", "agents.last_frame", "--archive", small_archive, cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot write results/agents.last_frame-offline-test" in done.stderr
    assert "choose another --out" in done.stderr
    assert "Traceback" not in done.stderr


def test_describe_verify_and_pack(small_archive, tmp_path):
    text = tool("archive.py", "describe", small_archive, cwd=tmp_path).stdout
    for part in (
        "142 frames of 48 x 64, every 6 min", "gaps: 4", "2015-05-20T00:36 -> 2015-05-20T00:48: 12 min",
        "test: 102 frames, 13 sequences in 2 episodes", "0.5 mm/h = 12.98 dBZ = level  83.70, reached from 84",
    ):  # fmt: skip
        assert part in text
    assert "142 frames, 0 damaged chunks" in tool("archive.py", "verify", small_archive, cwd=tmp_path).stdout
    packed = tool("archive.py", "pack", small_archive, "packed.zarr", cwd=tmp_path)
    assert Archive(str(small_archive)).fingerprint in packed.stdout
    (tmp_path / "packed.zarr/pixel/c/0/0/0").unlink()
    damaged = tool("archive.py", "verify", "packed.zarr", cwd=tmp_path)
    assert damaged.returncode == 1
    assert "file pixel/c/0/0/0" in damaged.stdout
    missing = tool("archive.py", "describe", "nowhere.zarr", cwd=tmp_path)
    assert (missing.returncode, missing.stderr.startswith("archive: no archive at nowhere.zarr")) == (1, True)


def test_denoise_writes_the_mask_and_says_how(small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    before = Archive(str(small_archive)).mask
    compared = tool("archive.py", "denoise", "a.zarr", "--against-truth", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert f"of {(before == 1).sum()} (" in compared.stdout
    np.testing.assert_array_equal(Archive(str(tmp_path / "a.zarr")).mask, before)
    done = tool("archive.py", "denoise", "a.zarr", "--split", "train", "--deviations", "2", cwd=tmp_path)
    assert "40 frames" in done.stdout
    after = Archive(str(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(after.mask == 2, before == 2)
    assert after.attributes["denoised"]["deviations"] == 2
    assert f"{(after.mask == 1).sum()} outliers" in done.stdout


def test_splits_by_lists_and_rules(small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    (tmp_path / "list.csv").write_text("20130610, 0\n20150520, 12.5\n20150709, Trace\n20991231, 1\n")
    for words, text in (
        (("days", "--days", "list.csv"), "days: 4 days, 3 of them with frames, 142 frames"),
        (("wet", "--gauge", "list.csv"), "wet: 2 days, 1 of them with frames, 57 frames"),
        (("echo", "--radar-mean", "0"), "echo: 3 days, 3 of them with frames, 142 frames"),
        (("fifteen", "--radar-mean", "0", "--years", "2015"), "fifteen: 2 days, 2 of them with frames, 102 frames"),
    ):
        done = tool("archive.py", "split", "a.zarr", *words, cwd=tmp_path)
        assert done.stdout.strip() == text, done.stderr
    archive = Archive(str(tmp_path / "a.zarr"))
    assert set(archive.splits) == {"train", "test", "days", "wet", "echo", "fifteen"}
    assert len(archive.select("wet")) == 57


def test_describe_a_split_that_lies_ahead(tmp_path):
    archive = create(str(tmp_path / "a.zarr"), shape=(4, 4), splits={"later": [("2099-01-01", "2100-01-01")]})
    archive.append([0], np.zeros((1, 4, 4), np.uint8))
    done = tool("archive.py", "describe", "a.zarr", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "later: no good frame" in done.stdout
    assert "fingerprint" in done.stdout


def test_a_damaged_archive_is_not_blamed_on_the_agent(small_archive, tmp_path):
    shutil.copytree(small_archive, tmp_path / "a.zarr")
    (tmp_path / "a.zarr/pixel/c/12/0/0").unlink()
    done = tool("evaluate.py", "agents.last_frame", "--archive", "a.zarr", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("evaluate: a.zarr: frames 60 to 64")
    assert "Traceback" not in done.stderr


def test_an_error_while_an_agent_is_made_has_its_traceback(small_archive, tmp_path):
    (tmp_path / "broken.py").write_text("def make(task):\n    raise ValueError('bad shapes deep inside')\n")
    done = tool("evaluate.py", "broken", "--archive", small_archive, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "while broken made its agent" in done.stderr


def test_describe_an_empty_archive(tmp_path):
    create(str(tmp_path / "empty.zarr"), shape=(4, 4))
    done = tool("archive.py", "describe", "empty.zarr", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 frames of 4 x 4" in done.stdout


# ---------------------------------------------------------------- the README


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
    done = tool("evaluate.py", "mine", "--archive", small_archive, "--limit", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_readme_names_every_command_and_no_other(monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"python (tools/\w+\.py)", text):
        assert (ROOT / path).is_file(), path
    for name in ("evaluate", "archive", "benchmark", "train", "links", "moving_mnist"):
        assert f"tools/{name}.py" in text
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= set(targets)
    monkeypatch.syspath_prepend(ROOT / "tools")
    command = importlib.import_module("archive").main
    for name in set(re.findall(r"^python tools/archive.py (\w+)", text, re.MULTILINE)):
        with pytest.raises(SystemExit) as left:
            command([name, "--help"])
        assert left.value.code == 0, name


# ---------------------------------------------------------------- the wheel


@pytest.mark.slow
def test_the_wheel_carries_the_agents_inside(small_archive, tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as file:
        tops = {name.split("/")[0] for name in file.namelist()}
        assert {t for t in tops if not t.endswith(".dist-info")} == {"hko7env"}, "no top-level agents or tools"
        assert not [name for name in file.namelist() if "__pycache__" in name]
        assert "hko7env/py.typed" in file.namelist()
        assert "hko7env/agents/weights/trajgru-small.safetensors" in file.namelist()
        file.extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.remove({str(ROOT)!r});"  # put there by the editable install
        "import gymnasium, hko7env;"
        f"env = gymnasium.make('HKO7-Offline-v0', archive={str(small_archive)!r});"
        "agent = hko7env.load('agents.last_frame', env.unwrapped.task);"
        "assert type(agent).__module__ == 'hko7env.agents.last_frame', type(agent);"
        "print(hko7env.run(env, agent).sequences)"
    )
    bare = {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)}
    words = [sys.executable, "-P", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "13", done.stderr


def test_synthetic_archives_are_made_checked_and_drawn(tmp_path):
    """The smallest size on a tiny map; the archive is whole, the check says what is missed, the page is written."""
    made = ("archive.py", "synthetic", "--out", "demo.zarr", "--shape", "32", "48", "--seed", "3")
    first = tool(*made, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "833 frames, fingerprint" in first.stdout
    assert tool(*made, cwd=tmp_path).stdout == first.stdout
    other = tool(*made[:-1], "4", cwd=tmp_path)
    assert other.returncode == 1
    assert "other arguments" in other.stderr
    other = tool(*made, "--test-times", "x.csv", cwd=tmp_path)
    assert other.returncode == 1
    assert "--size hko7" in other.stderr
    checked = tool("archive.py", "check", "demo.zarr", "--sequences", "3", cwd=tmp_path)
    assert checked.returncode == 1, "a map of 32 x 48 cannot be as HKO-7"
    assert "MISSED" in checked.stdout
    assert "of 17 targets met" in checked.stdout
    drawn = tool("archive.py", "plot", "demo.zarr", "--out", "page.html", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "page.html").stat().st_size > 50_000
