"""``evaluate --seeds``: one run for each seed of the agents that have one, in folders as if each were given alone."""

import pytest

from hko7env.command_line import UsageError
from hko7env.commands.seeds import vary_seed

SEEDED = """
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from agents.last_frame import LastFrame

@dataclass(frozen=True)
class Config:
    seed: int = 0
    weights: str | None = None
    folder: Path = Path(".")

class Noisy(LastFrame):
    def __init__(self, task, config):
        super().__init__(task)
        self.gain = np.float32(np.random.default_rng(config.seed).random())

    def predict(self):
        return self.gain * super().predict()

def make(task, config):
    return Noisy(task, config)
"""


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    (tmp_path / "noisy_toy.py").write_text(SEEDED)
    monkeypatch.syspath_prepend(tmp_path)
    return "noisy_toy"


def rows_of(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_each_seed_has_a_run_and_the_mean_is_printed(command, noisy, small_archive, tmp_path):
    words = ("--archive", small_archive, "--env", "offline")
    alone = command("evaluate", noisy, *words)  # the agent's own seed, 0
    (before,) = (tmp_path / "results").iterdir()
    done = command("evaluate", noisy, "agents.last_frame", "--seeds", 0, 1, 2, *words)
    assert done.status == 0, done.err
    folders = set((tmp_path / "results").iterdir())
    assert before in folders, "a run that was there before keeps its name and is not repeated"
    assert len(folders) == 4
    rows = rows_of(done.out)
    assert [row[0] for row in rows[2:6]] == [
        "noisy_toy seed 0",
        "noisy_toy seed 1",
        "noisy_toy seed 2",
        "agents.last_frame",
    ]
    assert rows[2][1:] == rows_of(alone.out)[2][1:]
    assert (rows[6][0], rows[6][-1]) == ("Agent", "seeds")
    assert [row[0] for row in rows[8:]] == ["noisy_toy"]
    column = rows[0].index("B-MSE")
    values = [float(row[column]) for row in rows[2:5]]
    mean, deviation = map(float, rows[8][column].split("±"))
    assert mean == pytest.approx(sum(values) / 3, abs=1)
    assert deviation == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5, abs=1.5)
    assert deviation > 0


def test_seeds_fill_in_other_options(noisy):
    from pathlib import Path

    options = {"weights": "trajgru-{seed}.safetensors", "folder": Path("runs/{seed}")}
    assert vary_seed(noisy, options, [3, 5]) == [
        (3, {"weights": "trajgru-3.safetensors", "folder": Path("runs/3"), "seed": 3}),
        (5, {"weights": "trajgru-5.safetensors", "folder": Path("runs/5"), "seed": 5}),
    ]
    assert vary_seed(noisy, options, []) == [(None, options)]
    assert vary_seed("agents.last_frame", {}, [3, 5]) == [(None, {})]


def test_seeds_that_contradict_themselves(command, noisy, small_archive):
    with pytest.raises(UsageError, match="a seed twice: 1 2 1"):
        vary_seed(noisy, {}, [1, 2, 1])
    done = command("evaluate", noisy, "--seed", 1, "--seeds", 1, 2, "--archive", small_archive)
    assert (done.status, "give --seeds only" in done.err) == (2, True)
    done = command("evaluate", noisy, "--seeds", "one", "--archive", small_archive)
    assert (done.status, "--seeds: expects an integer, got 'one'" in done.err) == (2, True)
