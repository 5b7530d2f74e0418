"""The section of animations: chosen by the rule, from kept forecasts, beside the truth of the same archive."""

import base64
import csv
import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from hko7env.archive import Archive
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.kept_forecasts import STORE
from hko7env.evaluation.plan import Plan
from hko7env.evaluation.recording import Extras
from hko7env.report import example_frames
from hko7env.report.reading import read_comparisons
from hko7env.report.sections import examples
from hko7env.report.sections.examples import Ranked
from hko7env.scores import ERRORS

AGENTS = ("agents.last_frame", "tests.helpers.toys", "tests.helpers.toys:learner")


@pytest.fixture(scope="module")
def runs(small_archive, tmp_path_factory):
    """Three runs that keep 7 of 13 forecasts, beside a copy of their archive."""
    out = tmp_path_factory.mktemp("examples")
    archive = out / "archive.zarr"
    shutil.copytree(small_archive, archive)
    for agent in AGENTS:
        evaluate(Plan(agent, False, str(archive)), out / "results", extras=Extras(forecasts=7))
    return out


def section_of(out):
    (comparison,) = read_comparisons([out / "results"])
    return comparison, examples.make(comparison)


def test_the_best_the_middle_and_the_worst_are_chosen():
    one, two, three, four = (Ranked(i, 1.0, 1.0, i / 10) for i in range(4))
    assert examples.choose([one, two, three, four]) == [("best", one), ("middle", two), ("worst", four)]
    assert examples.choose([one, two]) == [("best", one), ("worst", two)]
    assert examples.choose([one]) == [("best", one)]
    assert examples.choose([]) == []


def test_the_section_shows_what_the_rule_says(runs):
    comparison, section = section_of(runs)
    rows = list(csv.DictReader(io.StringIO(section.tables[0][1])))
    by_name = {run.name: run for run in comparison.runs}
    reference = next(run for run in comparison.runs if run.agent == "agents.last_frame")
    observed = (reference.counts[:, 0] + reference.counts[:, 1])[:, :, 0].sum(axis=1)
    kept = np.array([0, 2, 4, 6, 8, 10, 12])
    wettest = sorted(kept[np.argsort(-observed[kept], kind="stable")[:4]].tolist())
    names = {row["run"] for row in rows}
    assert names == {run.name for run in comparison.runs} - {reference.name}
    for name in names:
        own = [row for row in rows if row["run"] == name]
        assert sorted(int(row["sequence"]) for row in own) == wettest
        errors = {
            index: [run.sums[index, ERRORS.index("balanced_squared")].mean() for run in (by_name[name], reference)]
            for index in wettest
        }
        expected = sorted(wettest, key=lambda i: (errors[i][0] - errors[i][1]) / (sum(errors[i]) or 1))
        assert [int(row["sequence"]) for row in own] == expected
        assert [row["shown as"] for row in own] == ["best", "middle", "", "worst"]
    figures = re.findall(r"<figure>.*?</figure>", section.body)
    assert len(figures) == 6
    captions = [re.search(r"<figcaption>(.*?)</figcaption>", figure)[1] for figure in figures]
    first = next(row for row in rows if row["shown as"] == "best")
    assert captions[0].startswith(f"Best: sequence {first['sequence']}, issued {first['issued'].replace('T', ' ')}.")
    for figure in figures:
        assert re.search(r'alt="(Best|Middle|Worst): .* 60 min ahead rain of at least 0\.5 mm/h covers', figure)


def test_the_pictures_are_animations_of_ten_lead_times_and_a_still(runs):
    _, section = section_of(runs)
    moving = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', section.body)
    fixed = re.findall(r'srcset="data:image/png;base64,([^"]+)"', section.body)
    assert len(moving) == len(fixed) == 6
    with Image.open(io.BytesIO(base64.b64decode(moving[0]))) as film:
        assert film.n_frames == 10
        size = film.size
    with Image.open(io.BytesIO(base64.b64decode(fixed[0]))) as picture:
        assert picture.size == size == (3 * 200 + 12, 44 + 150)
    assert len(section.body) < examples.MOST_BYTES


def test_a_page_that_would_be_too_large_has_smaller_pictures_then_fewer(runs, monkeypatch):
    _, section = section_of(runs)
    large = len(section.body)
    monkeypatch.setattr(examples, "MOST_BYTES", large * 3 // 4)
    _, section = section_of(runs)
    assert len(section.body) < large * 3 // 4 + 2000
    assert "Left out" not in section.body
    monkeypatch.setattr(examples, "MOST_BYTES", 9_000)
    _, section = section_of(runs)
    assert "Left out, as the page would be too large: tests.helpers.toys" in section.body
    assert len(section.body) < 9_000 + 2000


def test_without_kept_forecasts_or_a_reference_there_is_no_section(runs, small_archive, tmp_path):
    for agent in AGENTS[:2]:
        evaluate(Plan(agent, False, str(small_archive)), tmp_path / "results")
    assert section_of(tmp_path)[1] is None
    (comparison,) = read_comparisons([p for p in (runs / "results").iterdir() if "toys" in p.name])
    assert examples.make(comparison) is None


def test_without_the_archive_the_section_says_so(runs, new_archive, tmp_path):
    moved = runs / "elsewhere.zarr"
    (runs / "archive.zarr").rename(moved)
    try:
        _, section = section_of(runs)
        assert "the archive of these runs is not at hand" in section.body
        assert "archive.zarr" in section.body
        assert "<figure>" not in section.body
        assert "toys" in section.tables[0][1]
        # another archive under the same name is no truth
        other = new_archive(6 * np.arange(45), np.zeros((45, 48, 64), np.uint8))
        shutil.copytree(other.name, runs / "archive.zarr")
        assert "not at hand" in section_of(runs)[1].body
        (runs / "archive.zarr/zarr.json").write_text("damaged")
        assert "not at hand" in section_of(runs)[1].body
    finally:
        shutil.rmtree(runs / "archive.zarr", ignore_errors=True)
        moved.rename(runs / "archive.zarr")
    assert "<figure>" in section_of(runs)[1].body


def test_a_damaged_forecast_is_named_with_the_remedy(runs):
    comparison, section = section_of(runs)
    rows = list(csv.DictReader(io.StringIO(section.tables[0][1])))
    worst = next(row for row in rows if row["shown as"] == "worst")
    run = next(run for run in comparison.runs if run.name == worst["run"])
    chunk = run.path / STORE / f"forecast/c/{int(worst['sequence']) // 2}/0/0/0"
    data = chunk.read_bytes()
    try:
        chunk.write_bytes(data[:-3])
        body = section_of(runs)[1].body
        assert (
            f"the kept forecast of sequence {worst['sequence']} is damaged or missing; <code>hko7env evaluate" in body
        )
        assert "--keep-forecasts 7</code> writes it again" in body
        assert body.count("<figure>") == 5
    finally:
        chunk.write_bytes(data)
    described = run.path / STORE / "zarr.json"
    text = described.read_text()
    try:
        described.write_text(text[:-40])
        with pytest.raises(RunError, match=r"forecasts.zarr is damaged .*: remove it"):
            section_of(runs)
    finally:
        described.write_text(text)


def test_a_missing_frame_is_drawn_as_missing(small_archive):
    archive = Archive(str(small_archive))
    wet = np.full(archive.shape, 200, np.uint8)
    panels = [("observed", [None, wet]), ("a name that is much too long for its panel", [wet, wet])]
    first, second = example_frames.draw_frames(panels, [6, 12], archive.scored, archive.zr, 64)
    assert first.size == second.size == (2 * 64 + 6, 23 + 48)
    row, column = map(int, np.argwhere(archive.scored)[-1])
    assert first.getpixel((column, 23 + row)) == example_frames.OUTSIDE
    assert second.getpixel((column, 23 + row)) != example_frames.OUTSIDE
