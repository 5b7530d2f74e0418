"""The benchmark of a GPU, tried on the CPU with tiny networks."""

import argparse
import json
import time

import pytest

from agents.benchmarks.gpu import items, runner
from agents.benchmarks.gpu.items import Item
from agents.benchmarks.gpu.settings import FIRST, NETWORKS, Settings
from agents.benchmarks.gpu.table import Found, Results, failures, format_page
from agents.networks.paper_tables import TABLES

TINY = Settings("cpu", tiny=True)
ABOUT = {"device": "CPU", "tiny": True, "torch": "2"}

pytestmark = pytest.mark.usefixtures("one_thread")


def lines_of(name):
    found = runner.run_item(next(item for item in items.list_items(TINY) if item.name == name), TINY)
    assert found.state == "done", (found.error, found.trace, failures(found))
    return found.lines


def test_every_network_and_every_step_is_listed_once():
    names = [item.name for item in items.list_items(Settings("cuda"))]
    assert len(names) == len(set(names))
    assert set(NETWORKS) == set(TABLES)
    for name in TABLES:
        assert f"speed of training, {name}" in names
    assert names.index(f"speed of online, {FIRST[0]}") < names.index("speed of training, hko7 conv3d")
    assert "speed of training, hko7 trajgru, compiled" in names


def test_the_command_runs_a_list_of_items_and_goes_on(command, tmp_path):
    words = ("benchmark", "gpu", "--device", "cpu", "--out", tmp_path / "gpu")
    done = command(*words, "--minutes", "0.001")
    assert done.status == 0, done.err
    assert "device" in json.loads(done.out.splitlines()[-1])["not run"]
    page = (tmp_path / "gpu/table.md").read_text()
    assert "## Not run" in page
    assert "the figures mean nothing" in page, "on a CPU it is always tiny"


TESTED = ("gpu-marked tests", "speed of forecast, hko7 trajgru")  # below


@pytest.mark.parametrize("name", [item.name for item in items.list_items(TINY) if item.name not in TESTED])
def test_items_need_no_gpu_to_be_tried(name):
    assert lines_of(name)


MARKED = """
import pytest
@pytest.mark.gpu
def test_of_a_gpu():
    assert 2 * 2 == {result}, "wrong on this device"
def test_of_no_gpu():
    raise AssertionError
"""


def test_marked_tests_run_in_a_process_of_their_own(tmp_path, monkeypatch):
    """Of a tiny benchmark those of one file, here of three."""
    monkeypatch.setattr(items, "ROOT", tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take most of the time
    (line,) = items.run_tests(TINY)
    assert line["skipped"].startswith("there is no folder of tests")
    (tmp_path / "tests").mkdir()
    for name, result in (("torch_rain", 4), ("other", 5)):
        (tmp_path / f"tests/test_{name}.py").write_text(MARKED.format(result=result))
    (tmp_path / "tests/test_unmarked.py").write_text("raise ImportError")
    (line,) = items.run_tests(TINY)
    assert (line["name"], line["passed"]) == ("tests, 1 files", True)
    assert line["fact"].startswith("1 passed, 1 deselected")
    (line,) = items.run_tests(Settings("cuda"))
    assert (line["name"], line["passed"]) == ("tests, 2 files", False)
    assert line["fact"].startswith("1 failed, 1 passed, 2 deselected")
    assert "wrong on this device" in line["output"]


def test_times_are_told_beside_those_link_by_link():
    found = lines_of("speed of forecast, hko7 trajgru")
    assert [line["variant"] for line in found] == [
        "link by link", "float32, eager", "float32, graph", "bf16, eager", "bf16, graph",
    ]  # fmt: skip
    assert found[0]["fast"] == 1
    assert all(line["median"] > 0 and line["fast"] > 0 for line in found)


def slow(settings):
    yield {"name": "begun", "value": 1, "unit": "s"}
    time.sleep(60)


def broken(settings):
    yield {"name": "half of it", "error": 0.5, "bound": 0.1, "passed": False}
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def sound(settings):
    yield {"name": "agrees", "error": 0.0, "bound": 0.1, "passed": True}


class Recorded:
    """Stands for the worker: gives what is prepared, or nothing when the time is over."""

    prepared, made = [], []

    def __init__(self, settings, names, log):
        self.made.append(names)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait(self, seconds, bound):
        return self.prepared.pop(0)


def test_a_failure_stops_nothing_and_is_tried_again_last(tmp_path, monkeypatch):
    listed = [Item(name, 5, sound) for name in "abc"]
    Recorded.made.clear()
    Recorded.prepared[:] = [Found("failed", error="lost", ended=True), Found("done"), None]
    monkeypatch.setattr(runner, "_Worker", Recorded)
    results = Results.open(tmp_path / "results.json", ABOUT)
    end = time.monotonic() + 100
    assert list(runner._run(listed, TINY, results, tmp_path, end)) == ["a", "b"]
    assert Recorded.made == [["a", "b", "c"], ["b", "c"]], "another process after the one that was lost"
    results.write()
    again = Results.open(tmp_path / "results.json", ABOUT)
    assert again.items == results.items
    Recorded.prepared[:] = [Found("done"), Found("done")]
    assert list(runner._run(listed, TINY, again, tmp_path, end)) == ["c", "a"]
    assert list(runner._run(listed, TINY, again, tmp_path, end)) == []
    assert list(runner._run([*listed, Item("d", 5, sound)], TINY, again, tmp_path, time.monotonic())) == []


def test_the_page_is_written_after_an_interrupt_too(tmp_path, monkeypatch):
    def interrupted(listed, settings, results, out, end):
        results.items["device"] = Found("done", ({"name": "torch", "fact": "2"},))
        yield "device"
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_run", interrupted)
    lines = runner.measure(argparse.Namespace(minutes=1.0, device="cpu", tiny=True, out=tmp_path))
    assert next(lines)["state"] == "done"
    with pytest.raises(KeyboardInterrupt):
        next(lines)
    assert "torch 2" in (tmp_path / "table.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["items"].keys() == {"device"}


def test_an_item_that_raises_leaves_its_lines_and_where_it_happened():
    found = runner.run_item(Item("it", 5, broken), TINY)
    assert (found.state, found.ended) == ("failed", True)
    assert "in broken" in found.trace
    assert failures(found) == [
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "half of it: error 0.5, bound 0.1",
    ]
    assert runner.run_item(Item("it", 5, sound), TINY).state == "done"


@pytest.mark.slow
def test_a_process_that_hangs_or_ends_is_replaced(tmp_path):
    """With the real worker: its list is that of the package, of which the first item is quick."""
    with runner._Worker(TINY, ["device", "no such item"], tmp_path / "log.txt") as worker:
        assert worker.wait(300, 300).state == "done"
        ended = worker.wait(300, 300)
        assert "the process ended with exit code 1: see log.txt" in ended.error
    with runner._Worker(TINY, ["whole trainings"], tmp_path / "log.txt") as worker:
        assert worker.wait(0.01, 99) is None, "the time of the whole benchmark is over"
        stopped = worker.wait(0.01, 0.01)
        assert (stopped.state, stopped.ended) == ("failed", True)
        assert "stopped after" in stopped.error
    assert "--- device" in (tmp_path / "log.txt").read_text()


def test_the_page_shows_what_agrees_how_fast_it_is_and_what_went_wrong(tmp_path):
    results = Results(tmp_path / "results.json", {**ABOUT, "tiny": False, "device": "Some GPU"}, "2026-01-02")
    time_line = {"name": "hko7 trajgru", "step": "training", "variant": "bf16, graph", "median": 9.871, "bytes": 3e9}
    results.items = {
        "one": runner.run_item(Item("one", 5, broken), TINY),
        "two": Found("done", [{**time_line, "fast": 21.5}, {"name": "rain", "value": 7.5, "unit": "sequences/s"}]),
        "three": Found("failed", [{"name": "n", "variant": "graph", "failed": "no | memory"}]),
    }
    page = format_page(results, ["two", "one", "three", "four"])
    for row in (
        "Measured on Some GPU, torch 2, on 2026-01-02",
        "| half of it | 5.0e-01 | 0.1 | **no** |",
        "| hko7 trajgru | training | bf16, graph | 9.87 | 21.5 | 3000 |",
        "| rain | 7.5 | sequences/s |  |",
        "| three | n graph: no / memory |",
        "| four |",
    ):
        assert row in page
    assert "the figures mean nothing" not in page


def test_results_of_something_else_are_left_alone(tmp_path):
    path = tmp_path / "results.json"
    Results(path, ABOUT, "2026-01-02").write()
    with pytest.raises(
        ValueError, match=r"results of .*'torch': '2'.*, not of .*'torch': '3'.*: choose another folder"
    ):
        Results.open(path, {**ABOUT, "torch": "3"})
    for text in ("{", '{"format": "other"}', "[]", '{"format": "hko7env benchmark gpu"}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="holds no results of this benchmark"):
            Results.open(path, ABOUT)
    path.unlink()
    assert Results.open(path, ABOUT).items == {}


@pytest.mark.parametrize("word", ["0", "soon", "inf"])
def test_a_wrong_number_of_minutes_is_named(command, word):
    done = command("benchmark", "gpu", "--minutes", word)
    assert done.status == 2
    assert "--minutes" in done.err
