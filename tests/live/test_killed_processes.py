"""``hko7env live`` as a process of its own: kill -9 at random moments, SIGTERM, and a second process in its folder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hko7env.archive import create
from tests.helpers.growing import levels
from tests.helpers.processes import wait_for
from tests.helpers.runs import heed_interrupts
from tests.live.test_serve import AGENTS, LAST, MINUTES, assert_same, finished, health, run, unbroken  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent.parent


def process(archive, out, agents, *more):
    words = [sys.executable, "-m", "hko7env", "live", *agents, "--archive", str(archive), "--out", str(out)]
    here = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*words, "--formats", "none", *more], cwd=ROOT, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=heed_interrupts,  # noqa: PLW1509 - no thread is running
    )  # fmt: skip


def steps_of(out):
    path = out / "steps.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def test_killed_processes_end_with_the_tallies_of_an_unbroken_run(tmp_path, unbroken):  # noqa: F811
    """Each process is killed at a random moment after it has begun a step."""
    rng, archive, out = np.random.default_rng(3), tmp_path / "growing.zarr", tmp_path / "live"
    grown = create(archive, shape=(4, 8))
    for part in np.array_split(MINUTES, 4):
        one = process(archive, out, AGENTS)
        before = steps_of(out)
        grown.append(part, levels(part))
        wait_for(lambda before=before: steps_of(out) > before, one)
        time.sleep(rng.uniform(0, 0.3))
        one.kill()
        one.communicate()
        assert one.returncode == -signal.SIGKILL
    assert run(archive, out) == "ended"
    assert_same(out, unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_step(tmp_path, number):
    archive, out = tmp_path / "growing.zarr", tmp_path / "live"
    create(archive, shape=(4, 8)).append(MINUTES[:40], levels(MINUTES[:40]))
    one = process(archive, out, {LAST: {}})
    wait_for(lambda: steps_of(out) > 0, one)
    one.send_signal(number)
    printed, complaint = one.communicate(timeout=400)
    assert one.returncode == (0 if number == signal.SIGTERM else 130)
    assert ("the same command continues" in complaint) == (number == signal.SIGINT)
    assert printed == f"{out}: stopped; the same command continues\n"
    assert health(out)["status"] == "stopped"
    assert health(out)["agents"][LAST]["forecasts"] == steps_of(out)


def test_two_processes_in_one_folder_and_wrong_words_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("hko7env.locking.WAIT_SECONDS", 0.1)
    archive, out = tmp_path / "growing.zarr", tmp_path / "live"
    create(archive, shape=(4, 8)).append(MINUTES[:10], levels(MINUTES[:10]))
    one = process(archive, out, {LAST: {}})
    wait_for((out / "health.json").exists, one)
    with pytest.raises(ValueError, match=f"is being written by process {one.pid}"):
        run(archive, out, {LAST: {}})
    one.terminate()
    one.communicate(timeout=400)
    assert json.loads((out / "health.json").read_text())["status"] in ("stopped", "failed")
