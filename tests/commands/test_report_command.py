import re
import sys

import pytest

from hko7env.report.sections import headline
from tests.helpers.report_runs import days, forecasts, observed, write_run, write_runs

pytest.importorskip("matplotlib")


@pytest.fixture
def quick(monkeypatch):
    """Only the first section, to save time."""
    monkeypatch.setattr("hko7env.report.report_page.SECTIONS", (headline.make,))


@pytest.mark.usefixtures("quick")
def test_the_page_is_written(command, tmp_path):
    write_runs(tmp_path / "results", {"agents.a": 0.3, "agents.b": 0.6})
    done = command("report", tmp_path / "results", "--out", tmp_path / "page.html")
    assert done.status == 0, done.err
    assert done.out == f"Report: {tmp_path / 'page.html'}\n"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "b has the lowest error" in re.sub(r"<[^>]+>", "", page)


@pytest.mark.usefixtures("quick")
def test_single_folders_can_be_named(command, tmp_path):
    first, second, _ = write_runs(tmp_path / "results", {"agents.a": 0.3, "agents.b": 0.6, "agents.c": 0.7})
    done = command("report", first, second)
    assert done.status == 0, done.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "agents.c" not in page


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["nowhere"], 1, "nowhere is no folder: name run folders"),
        (["."], 1, ". holds no run folder"),
        ([], 2, "required: RUN"),
        ([".", "--ouf", "x"], 2, "did you mean '--out'?"),
    ],
)
def test_a_wrong_command_line_is_named(command, tmp_path, words, status, message):
    done = command("report", *words)
    assert done.status == status
    assert message in done.err
    assert done.err.startswith("hko7env report: ")
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_run_that_cannot_be_compared_leaves_no_page(command, tmp_path):
    walk = days(2)
    for seed in (0, 1):
        write_run(tmp_path / "results", f"agents.a{seed}", walk, *forecasts(observed(len(walk), seed), 0.5, 0))
    done = command("report", tmp_path / "results")
    assert done.status == 1
    assert "different observations" in done.err
    assert not (tmp_path / "report.html").exists()


def test_without_matplotlib_it_says_what_to_install(command, tmp_path, monkeypatch):
    write_runs(tmp_path / "results", {"agents.a": 0.3, "agents.b": 0.6})
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it raises ImportError
    done = command("report", tmp_path / "results")
    assert done.status == 1
    assert "pip install 'hko7env[plots]'" in done.err
