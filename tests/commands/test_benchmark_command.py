import importlib
import json

import pytest

from agents.benchmarks.timing import compare, lines
from agents.benchmarks.whole_pass import pass_times
from agents.commands.benchmark import TOPICS
from tests.helpers.markdown import ROOT, table_rows


@pytest.mark.parametrize("topic", ["stream", "rover", "moving-mnist"])
def test_a_topic_is_measured_beside_its_reference(command, small_archive, monkeypatch, topic):
    for module in ("stream", "rover"):
        monkeypatch.setattr(f"agents.benchmarks.{module}.full_size_archive", lambda: small_archive)
    done = command("benchmark", topic, "--rounds", "1")
    assert done.status == 0, done.err
    found = [json.loads(line) for line in done.out.splitlines()]
    assert found[0]["ratio"] == 1
    assert any("hko7env" in line["name"] and line["ratio"] > 0 for line in found)  # how fast is no matter of a test
    read = [line for line in found if line["name"].startswith("stream") and "hko7env" in line["name"]]
    assert all(line["median"] > 0 for line in found if line not in read)  # there the time to open is subtracted


def test_a_faster_rover_with_other_forecasts_is_an_error(command, small_archive, monkeypatch):
    monkeypatch.setattr("agents.benchmarks.rover.full_size_archive", lambda: small_archive)
    monkeypatch.setattr("agents.rover.restore", lambda transformed, out: out.fill(0.5))
    with pytest.raises(RuntimeError, match="differs by up to 0"):
        command("benchmark", "rover", "--rounds", "1")


def test_every_topic_has_a_module():
    for module, about in TOPICS.values():
        assert callable(importlib.import_module(f"agents.benchmarks.{module}").measure), about


def test_the_parameters_of_every_network(command):
    done = command("benchmark", "nets", "--list")
    assert done.status == 0
    found = {line["name"]: line["parameters"] for line in map(json.loads, done.out.splitlines())}
    assert len(found) == 14
    assert (found["hko7 convgru"], found["hko7 trajgru"]) == (13_649_081, 12_150_053)


def test_counts_of_a_transition_are_those_of_the_page(command):
    done = command("benchmark", "transition", "--list")
    assert done.status == 0, done.err
    found = {line["name"]: line for line in map(json.loads, done.out.splitlines())}
    samples = 9216 * 13 * 64  # written, copied (read and written) and read by the projection, 4 bytes each
    first = found["transition/1 x 64 x 96 x 96, 13 links, float32, forward and backward"]
    assert first["MB PyTorch"] == [round(samples * 16 / 1e6, 1), round(samples * 32 / 1e6, 1)]
    assert first["GFLOP"][0] == round(2 * samples * 192 / 1e9, 2)
    rows = table_rows(ROOT / "docs/fused-transition.md", "## What it saves")
    assert len(rows) == 6
    for layer, products, *cells in rows:
        channels, side, links = layer.split(", ")
        line = found[f"transition/1 x {channels} x {side}, {links} links, {products}, forward and backward"]
        assert cells == [", ".join(map(str, line[column])) for column in ("GFLOP", "MB PyTorch", "MB fused")]


def test_transitions_are_not_timed_without_a_gpu(command, monkeypatch):
    monkeypatch.setattr("agents.benchmarks.transition.find_obstacle", lambda device: "Triton is not installed")
    done = command("benchmark", "transition")
    assert done.status == 1
    assert "Triton is not installed: only --list works" in done.err


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["scors"], 2, "there is no topic 'scors', did you mean 'scores'?"),
        (["flow", "--archives", "a.zarr"], 2, "there is no option '--archives', use --archive"),
        (["nets", "--models", "hko7trajgru"], 1, "did you mean 'hko7 trajgru'?"),
        (["scores", "--rounds", "0"], 2, "must be at least 1"),
        ([], 2, "required: TOPIC"),
    ],
)
def test_a_wrong_command_line_is_named(command, words, status, message):
    done = command("benchmark", *words)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_rounds_alternate_after_one_to_warm_up():
    calls = []
    jobs = {"one": lambda: calls.append("one"), "two": lambda: calls.append("two")}
    assert set(compare(jobs, 2)) == set(jobs)
    assert calls == ["one", "two"] * 3


def test_a_line_gives_milliseconds_a_unit_and_the_ratio():
    slow, fast = lines({"plain": 2.0, "ours": 0.5}, "plain", "ms/frame", per=10, size=7)
    assert slow == {"name": "plain", "median": 200, "unit": "ms/frame", "ratio": 1, "bytes": 7}
    assert (fast["median"], fast["ratio"]) == (50, 0.25)


def test_the_pass_has_the_schedule_of_hko7s_test_split():
    assert len(pass_times()) == 31_350  # it checks its own sequences and episodes
