"""What docs/extending.md promises about the number of files: each addition is made in a temporary folder."""

import os
import re
import shutil
import subprocess
import sys

from tests.helpers.markdown import ROOT, blocks

PAGE = ROOT / "docs/extending.md"


def test_a_score_is_one_entry(tmp_path, small_archive):
    """With the page's entry in SCORES, the score is in the table and in the CSV of a run."""
    for part in ("hko7env", "agents/__init__.py", "agents/last_frame.py"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    (entry,) = [m for block in blocks(PAGE) for m in re.findall(r"^success_ratio = (Score\(.*\))$", block.text, re.M)]
    scores = tmp_path / "hko7env/scores.py"
    text = scores.read_text()
    assert text.count("\nSCORES = (\n") == 1
    scores.write_text(text.replace("\nSCORES = (\n", f"\nSCORES = (\n    {entry},\n"))

    words = ["evaluate", "agents.last_frame", "--env", "offline", "--limit", "2", "--archive", str(small_archive)]
    run = subprocess.run(
        [sys.executable, "-m", "hko7env", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "| SR ≥0.5 " in run.stdout
    (leads,) = (tmp_path / "results").glob("*/leads.csv")
    assert "success_ratio_0.5" in leads.read_text().splitlines()[0]


def test_every_addition_says_which_files_it_touches():
    text = PAGE.read_text(encoding="utf-8")
    for heading, count in (("An agent", "One file"), ("A score", "One place"), ("An importer", "One file"),
                           ("A network", "One file")):  # fmt: skip
        assert re.search(rf"## {heading}\n\n{count}", text), heading
