import os
import time
from functools import partial

import pytest

from hko7env.evaluation.evaluate import Plan, evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.workers import run_processes


def test_a_job_that_fails_is_named_and_ends_the_others(capfd):
    began = time.monotonic()
    with pytest.raises(RunError, match="a worker stopped with exit code 1: ValueError: could not convert string"):
        run_processes([partial(time.sleep, 300), partial(float, "many")], lambda: None)
    assert time.monotonic() - began < 100
    assert "Traceback" in capfd.readouterr().err


def test_a_worker_that_dies_without_a_word_is_named():
    with pytest.raises(RunError, match="a worker stopped with exit code 3: killed"):
        run_processes([partial(os._exit, 3)], lambda: None)


def test_numbers_below_one_are_named(tmp_path):
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        Plan("agents.last_frame", True, limit=0)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        evaluate(Plan("agents.last_frame", True), tmp_path, workers=0)
