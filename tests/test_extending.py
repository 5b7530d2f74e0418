"""What a new thing costs: an agent is one file, a score is one entry."""

import shutil
import subprocess
import sys
from pathlib import Path

from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.plan import Plan
from hko7env.loading import available

ROOT = Path(__file__).resolve().parent.parent

AGENT = """
import numpy as np


class Fading:
    def __init__(self, task):
        self.fade = np.linspace(1, 0.5, task.leads, dtype=np.float32)[:, None, None]

    def store(self, observation):
        self.frame = observation["frames"][-1] / np.float32(255)

    def update(self):
        pass

    def predict(self):
        return self.fade * self.frame


def make(task):
    return Fading(task)
"""


def test_a_new_agent_is_one_file(small_archive, tmp_path, monkeypatch):
    (tmp_path / "fading.py").write_text(AGENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = evaluate(Plan("fading", False, str(small_archive), limit=3), tmp_path / "results")
    assert result.tally.sequences == 3
    other = evaluate(Plan("agents.last_frame", False, str(small_archive), limit=3), tmp_path / "results")
    assert result.tally.squared[0] == other.tally.squared[0], "the first lead is not faded"
    assert result.tally.squared[-1] != other.tally.squared[-1]


def test_a_new_file_in_agents_is_found(tmp_path):
    """By its function, not by its text."""
    for folder in ("hko7env", "agents"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (tmp_path / "agents/fading.py").write_text(AGENT)
    (tmp_path / "agents/helper.py").write_text('"""Not an agent:\n\ndef make(task): ...\n"""\n')
    (tmp_path / "agents/method.py").write_text("class Factory:\n    def make(self): ...\n")
    (tmp_path / "agents/unfinished.py").write_text("def make(\n")
    code = "from hko7env.loading import available; print(*available())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - set(available()) == {"agents.fading"}


SCORE = '    Score("accuracy", "ACC", lambda t: (t.hits + t.correct_negatives) / t.pixels[:, None], digits=3),\n'
SHOW = """
import numpy as np
from hko7env.evaluation.table import Result, leads_csv, table
from hko7env.scores import Tally

tally = Tally(1, *(np.full((2, 5), n) for n in (1, 2, 3, 10)), *np.ones((4, 2)))
print(table([Result("a", "online", "Data: x.", tally, 1)]))
print(leads_csv(tally, 6))
"""


def test_a_new_score_is_one_entry(tmp_path):
    shown = {}
    for name, entry in (("without", ""), ("with", SCORE)):
        shutil.copytree(ROOT / "hko7env", tmp_path / name / "hko7env")
        scores = tmp_path / name / "hko7env/scores.py"
        text = scores.read_text()
        assert text.count("SCORES = (\n") == 1
        scores.write_text(text.replace("SCORES = (\n", "SCORES = (\n" + entry))
        done = subprocess.run(
            [sys.executable, "-c", SHOW], cwd=tmp_path / name, capture_output=True, text=True, check=True
        )
        shown[name] = done.stdout.splitlines()
    header, _, line = shown["with"][:3]
    for text in (header, line):
        assert text.count("|") == shown["without"][0].count("|") + 5
    assert header.count("ACC ≥") == 5
    assert line.count("0.688") == 5
    head, *rows = shown["with"][-4:-1]
    assert "accuracy_0.5,accuracy_2,accuracy_5,accuracy_10,accuracy_30" in head
    assert all(row.count("0.687500") == 5 for row in rows)
