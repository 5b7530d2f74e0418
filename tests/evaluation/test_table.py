import json

import numpy as np
import pytest

from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.table import UNDEFINED, Result, seed_table, table
from hko7env.scores import Tally
from tests.helpers.runs import folder_of, plan


def test_the_table_shows_what_is_undefined():
    dry = Tally.zero(20)
    text = table([Result("a", "online", "Data: x.", dry, 0)])
    assert f"| a     | online  |        {UNDEFINED} |" in text
    assert "≥30 mm/h: undefined CSI at 20, HSS at 20, bias at 20 of 20 leads" in text
    assert "per lead 0 to 0 events observed" in text
    false_alarms = Tally(1, *(np.full((2, 5), n) for n in (0, 0, 16, 9)), *np.ones((4, 2)))
    text = table([Result("a", "online", "Data: x.", false_alarms, 1)])
    assert "undefined bias at 2 of 2 leads, so no mean; per lead 0 to 0 events observed, 16 to 16 observed or" in text


@pytest.mark.parametrize("limit, episodes", [(None, 2), (9, 2), (8, 1), (1, 1)])
def test_the_table_counts_episodes(small_archive, tmp_path, limit, episodes):
    for online in (True, False):
        row = evaluate(Plan("agents.last_frame", online, str(small_archive), limit=limit), tmp_path)
        assert (row.tally.sequences, row.episodes) == (limit or 13, episodes)
        assert table([row]).splitlines()[2].split("|")[-2].strip() == str(episodes)


def test_the_table_says_which_frames_were_taken(new_archive, tmp_path):
    frames = np.full((30, 8, 8), 150, np.uint8)
    for name, splits, split, said in (
        ("a.zarr", {}, None, "all frames"),
        ("b.zarr", {"test": [("1970-01-01", "1971-01-01")]}, "all", "all frames"),
        ("c.zarr", {"all": [("1970-01-01", "1971-01-01")]}, "all", "split all"),
    ):
        archive = new_archive(6 * np.arange(30), frames, name, splits=splits)
        row = evaluate(Plan("agents.last_frame", True, archive.name, split), tmp_path / name[0])
        assert f"Data: source unknown, {said}, fingerprint" in table([row])
        assert json.loads((folder_of(tmp_path / name[0]) / "config.json").read_text())["identity"]["split"] == "all"


def test_the_table_has_the_papers_columns(new_archive, tmp_path):
    rng = np.random.default_rng(0)
    levels = rng.integers(60, 256, (45, 8, 8), np.uint8)
    archive = new_archive(
        6 * np.arange(45), levels, splits={"test": [("1970-01-01", "1971-01-01")]}, source="synthetic"
    )
    row = evaluate(plan(archive.name, "agents.last_frame"), tmp_path / "out")
    header, _, line = table([row]).splitlines()[:3]
    columns = [c.strip() for c in header.strip("|").split("|")]
    events = ["≥0.5", "≥2", "≥5", "≥10", "≥30"]
    assert columns == [
        "Agent", "Setting", *(f"CSI {e}" for e in events), *(f"HSS {e}" for e in events), "B-MSE", "B-MAE",
        *(f"bias {e}" for e in events), "sequences", "episodes",
    ]  # fmt: skip
    cells = [c.strip() for c in line.strip("|").split("|")]
    csi = row.tally.hits / (row.tally.hits + row.tally.misses + row.tally.false_alarms)
    assert cells[2] == f"{csi[:, 0].mean():.4f}"
    assert cells[12] == f"{(row.tally.balanced_squared / 5).mean():.0f}"
    assert cells[-2:] == ["5", "1"]
    assert "split test" in table([row])
    assert "does not prove skill on real rain" in table([row])


def events(hits):
    """A tally of two leads with ``hits`` of 100 events, no false alarm, and errors of as much."""
    counts = (hits, 100 - hits, 0, 900)
    return Tally(1, *(np.full((2, 5), n) for n in counts), *np.full((4, 2), float(hits)))


def test_mean_and_standard_deviation_over_seeds():
    one = [Result("a", "online", "Data: x.", events(hits), 1) for hits in (40, 50, 60)]
    dry = [Result("b", "offline", "Data: x.", Tally.zero(2), 0) for _ in range(2)]
    title, _, header, _, first, second = seed_table([one, dry, one[:1]]).splitlines()[:6]
    assert title == "Mean and standard deviation over seeds:"
    cells = dict(zip(*([c.strip() for c in line.strip("|").split("|")] for line in (header, first)), strict=True))
    assert cells["CSI ≥0.5"] == "0.5000 ± 0.1000"
    assert cells["B-MSE"] == "50 ± 10"
    assert (cells["Agent"], cells["Setting"], cells["seeds"]) == ("a", "online", "3")
    assert UNDEFINED in second
    assert "±" not in second
    assert seed_table([one[:1]]) == ""
