"""Worker processes: a queue with priorities, and workers that die."""

import os
import time
from pathlib import Path

import pytest

from hko7env.evaluation.evaluate import Execution, evaluate
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.workers import DeadWorkerError, LocalWorkers


def collect_all(workers):
    collected = []
    while workers.pending:
        collected += workers.collect(0.1)
    return collected


def note(item):
    """Append a line to a file, and die at ``item[1]``, or for the first time that the file has few lines."""
    path, word, deaths = item
    with Path(path).open("a") as file:
        file.write(word)
    if Path(path).read_text().count(word) <= deaths:
        os._exit(3)
    return word.upper()


def test_items_of_small_priority_begin_first(tmp_path):
    path = str(tmp_path / "begun")
    with LocalWorkers(note, 1) as workers:
        for word, priority in (("c", 2), ("a", 0), ("d", 2), ("b", 1)):
            workers.submit((path, word, 0), priority)
        answers = [answer for _, answer in collect_all(workers)]
    assert (answers, Path(path).read_text()) == (["A", "B", "C", "D"], "abcd")


def test_a_worker_that_dies_is_replaced_until_it_is_too_much(tmp_path):
    path = str(tmp_path / "begun")
    items = [(path, "a", 1), (path, "b", 9), (path, "c", 0)]
    with LocalWorkers(note, 2) as workers:
        for item in items:
            workers.submit(item, 0)
        answers = {item[1]: answer for item, answer in collect_all(workers)}
    assert (answers["a"], answers["c"]) == ("A", "C")
    assert isinstance(answers["b"], DeadWorkerError)
    assert str(answers["b"]).startswith("its worker died 3 times (exit code 3): it was killed, or the machine ran out")
    assert sorted(Path(path).read_text()) == list("aabbbc")


def test_workers_end_when_the_context_is_left():
    began = time.monotonic()
    with LocalWorkers(time.sleep, 2) as workers:
        workers.submit(300, 0)
        assert workers.collect(0.2) == []
        (process,) = [worker.process for worker in workers._workers]
    assert process.exitcode
    assert time.monotonic() - began < 100


def test_an_idle_worker_that_was_killed_is_replaced():
    with LocalWorkers(abs, 1) as workers:
        workers.submit(-1, 0)
        assert collect_all(workers) == [(-1, 1)]
        workers._workers[0].process.kill()
        workers._workers[0].process.join()
        workers.submit(-2, 0)
        assert collect_all(workers) == [(-2, 2)]


def test_numbers_below_one_are_named(tmp_path):
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        Plan("agents.last_frame", True, limit=0)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        evaluate(Plan("agents.last_frame", True), tmp_path, workers=0)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Execution(threads=0)
