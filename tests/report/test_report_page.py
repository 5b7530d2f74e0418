"""The page says who wins only where that is decided, holds all numbers, and needs no other file."""

import csv
import html
import io
import re

import numpy as np
import pytest

from hko7env.report.published import OFFICIAL_SCHEDULE, OFFICIAL_SOURCE, TABLE_3, is_official, published_rows
from hko7env.report.reading import read_comparisons
from hko7env.report.report_page import make_page
from hko7env.report.sections import agreement, headline, provenance, skill, weather
from hko7env.report.verdict import excess, judge
from tests.helpers.markdown import ROOT, table_rows
from tests.helpers.report_runs import days, forecasts, observed, write_run, write_runs
from tests.report.test_archive_page import Outline

pytest.importorskip("matplotlib")

AGENTS = {"agents.last_frame": 0.3, "agents.rover": 0.5, "agents.mine": 0.8, "agents.oracle": 0.95}


def compare(*paths):
    (comparison,) = read_comparisons(paths)
    return comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    write_runs(out, AGENTS)
    return compare(out)


@pytest.fixture(scope="module")
def report(comparison):
    return make_page([comparison])


# ---------------------------------------------------------------- the whole page


def test_it_has_the_sections(report):
    headings = Outline(report).headings
    for words in ("Who wins", "By lead time", "Which weather", "Hits against false", "Skill", "agreement", "compared"):
        assert any(words in heading for heading in headings), words
    assert headings.index("Who wins") == 1


def test_it_needs_no_other_file_and_is_small(report):
    assert len(report.encode()) < 5_000_000
    links = set(re.findall(r'(?:src|href)="([^"]{5})', report))
    assert all(link == "data:" or link.startswith("#") for link in links)
    assert "url(http" not in report
    assert "@import" not in report
    assert "<script" not in report
    assert 'name="viewport" content="width=device-width' in report
    for words in ("prefers-color-scheme: dark", "@media print"):
        assert words in report
    assert not re.search(r"#0d0e0\d|#010203", report), "every colour takes that of the page"


def test_every_figure_is_described_and_has_its_numbers(report):
    figures = Outline(report).figures
    assert len(figures) > 20
    assert all(text and len(text) > 40 for text in figures)
    for block in report.split("<figure>")[1:]:
        after = block.split("</figure>")[1]
        assert after.startswith("<details><summary>Numbers as CSV")


def test_every_csv_can_be_read(report):
    texts = re.findall(r"<pre>(.*?)</pre>", report, re.S)
    assert len(texts) > 20
    for text in texts:
        header, *rows = csv.reader(io.StringIO(html.unescape(text)))
        assert rows
        assert all(len(row) == len(header) for row in rows)


def test_the_table_as_csv_holds_the_scores(comparison, report):
    text = html.unescape(report.split("Table as CSV, with intervals</summary><pre>")[1].split("</pre>")[0])
    rows = list(csv.DictReader(io.StringIO(text)))
    found = comparison.bootstrap.scores
    for i, row in enumerate(rows):
        assert row["run"] == comparison.runs[i].name
        assert float(row["csi_5"]) == pytest.approx(found["csi"].value[i, -1, 2], rel=1e-5)
        assert float(row["b_mae_high"]) == pytest.approx(found["b_mae"].high[i, -1], rel=1e-5)


@pytest.fixture
def without_figures(monkeypatch):
    """Only the sections that draw nothing, to save time."""
    monkeypatch.setattr("hko7env.report.report_page.SECTIONS", (headline.make, provenance.make))


@pytest.mark.usefixtures("without_figures")
def test_text_from_run_folders_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    data = {"source": evil, "licence": "&", "shape": [8, 8]}
    write_runs(tmp_path, {"agents.a": 0.3, "agents.b": 0.6}, data=data, options={"label": evil})
    text = make_page([compare(tmp_path)])
    assert evil not in text
    assert "&lt;script&gt;" in text


@pytest.mark.usefixtures("without_figures")
def test_runs_of_other_data_stand_apart(tmp_path):
    write_runs(tmp_path, AGENTS)
    write_runs(tmp_path, {"agents.a": 0.3, "agents.b": 0.6}, archive="b" * 64)
    text = make_page(read_comparisons([tmp_path]))
    assert text.count("<h2>Who wins</h2>") == 2
    ids = re.findall(r'<section id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_a_scored_file_is_no_reference_whatever_its_name(tmp_path):
    (own,) = write_runs(tmp_path, {"agents.rover": 0.5})
    seen = observed(len(days(12)))
    others = [
        write_run(tmp_path, name, days(12), *forecasts(seen, 0.7, 9), setting="external")
        for name in ("oracle", "rover")
    ]
    (alone,) = read_comparisons(others)
    assert skill.make(alone) is None
    (comparison,) = read_comparisons([own, *others])
    section = skill.make(comparison)
    assert "no oracle was run" in section.body
    assert section.body.count("<h3>Above") == 1


@pytest.fixture
def one_threshold(monkeypatch):
    """Figures of one threshold, to save time."""
    for section in ("curves", "performance"):
        monkeypatch.setattr(f"hko7env.report.sections.{section}.THRESHOLDS", (0.5,))


@pytest.mark.usefixtures("one_threshold")
def test_a_single_run_has_a_page(tmp_path):
    write_runs(tmp_path, {"agents.a": 0.5})
    text = make_page([compare(tmp_path)])
    assert "nothing to compare" in text
    assert "Which weather" not in text


@pytest.mark.usefixtures("one_threshold")
def test_rain_that_never_falls_is_no_error(tmp_path):
    walk = days(11)
    seen = np.zeros((len(walk), 20, 5), np.int64)
    for seed, agent in enumerate(("agents.last_frame", "agents.b", "agents.c")):
        counts, sums = forecasts(seen, 0.5, seed)
        counts[:, 3] += counts[:, 2]
        counts[:, 2] = 0
        write_run(tmp_path, agent, walk, counts, sums)
    text = make_page([compare(tmp_path)])
    assert "nan" not in re.sub(r"<[^>]+>", "", text).lower()


# ---------------------------------------------------------------- the verdict


def test_a_clear_winner_is_decided(comparison, report):
    verdict = judge(comparison)
    assert (comparison.runs[verdict.best].name, verdict.decided) == ("oracle", True)
    assert "oracle has the lowest error" in verdict.sentences[0]
    assert verdict.sentences[1].startswith("This is decided")
    assert "oracle (decided) at 0.5, 2, 5, 10 and 30 mm/h" in verdict.sentences[2]
    table = report.split('class="table-3"')[1].split("</table>")[0]
    best, *others = table.split("<tbody>")[1].split("</tr>")[:4]
    assert best.count("<b>") == 12
    assert not any("<b>" in row for row in others)


def test_by_how_much_is_the_ratio_of_the_errors(comparison):
    value = comparison.bootstrap.scores["b_mse"].value[:, -1]
    found = excess(comparison, 1, 0)
    assert found.value == pytest.approx(value[1] / value[0] - 1)
    assert found.low < found.value < found.high


def test_equal_runs_are_undecided(tmp_path):
    write_runs(tmp_path, {"agents.a": 0.5, "agents.b": 0.5})
    one = compare(tmp_path)
    verdict = judge(one)
    assert not verdict.decided
    assert "is undecided: the 95 % interval of the difference holds 0" in verdict.sentences[1]
    assert "<td><b>" not in headline.make(one).body.split('class="table-3"')[1]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_nothing_is_decided_by_few_blocks(tmp_path, count):
    write_runs(tmp_path, {"agents.a": 0.1, "agents.b": 0.9}, walk=days(count))
    one = compare(tmp_path)
    text = headline.make(one).body
    assert not judge(one).decided
    assert "The intervals cannot be trusted" in text
    assert f"{count} independent block" in text
    assert "<td><b>" not in text.split('class="table-3"')[1]


def test_ten_blocks_decide(tmp_path):
    write_runs(tmp_path, {"agents.a": 0.1, "agents.b": 0.9}, walk=days(10))
    one = compare(tmp_path)
    assert judge(one).decided
    assert "cannot be trusted" not in headline.make(one).body


def test_runs_that_tie_have_no_winner(tmp_path):
    walk = days(12)
    parts = forecasts(observed(len(walk)), 0.5, 0)
    for agent in ("agents.a", "agents.b"):
        write_run(tmp_path, agent, walk, *parts)
    verdict = judge(compare(tmp_path))
    assert verdict.best is None
    assert "the best are equal" in verdict.sentences[0]


def test_an_interrupted_run_is_shown_with_its_command(tmp_path):
    walk = days(3)
    seen = observed(len(walk))
    write_run(tmp_path, "agents.a", walk, *forecasts(seen, 0.5, 0))
    write_run(tmp_path, "agents.b", walk, *forecasts(seen, 0.5, 1), finished=False)
    text = headline.make(compare(tmp_path)).body
    assert "agents.b-offline-test" in text
    assert "Complete it: <code>hko7env evaluate agents.b" in text


# ---------------------------------------------------------------- the paper's rows


def test_the_papers_table_is_that_of_the_docs():
    printed = [row[:9] for row in table_rows(ROOT / "docs/benchmarks.md", "## Table 3 of the paper")]
    ours = [
        [row.setting, row.name, *(f"{value:.4f}" for value in row.csi), str(row.b_mse), str(row.b_mae)]
        for row in TABLE_3
    ]
    assert ours == printed


def test_the_papers_rows_are_not_beside_other_data(comparison, report):
    assert not is_official(comparison)
    assert published_rows(comparison) == []
    assert "The paper's own rows are not shown" in report
    assert 'class="paper"' not in report


def test_the_papers_rows_are_beside_official_data(tmp_path, monkeypatch):
    data = {"source": OFFICIAL_SOURCE, "shape": [480, 480], "cadence": 6}
    walk = days(12)
    monkeypatch.setattr("hko7env.report.published.OFFICIAL_SCHEDULE", walk.sha256)
    write_runs(tmp_path, AGENTS, walk=walk, data=data)
    one = compare(tmp_path)
    assert [row.name for row in published_rows(one)] == ["Last frame", "ROVER + Non-linear"]
    assert "<td>0.4022</td>" in headline.make(one).body
    assert 'class="paper"' in headline.make(one).body
    assert "B-MSE in the paper" in agreement.make(one).body
    write_runs(tmp_path / "cleaned", AGENTS, walk=walk, data=data, cleaned=True)
    assert published_rows(compare(tmp_path / "cleaned")) == []
    assert len(OFFICIAL_SCHEDULE) == 64


# ---------------------------------------------------------------- weather


def test_thirds_by_observed_rain():
    share = np.array([0.5, 0.1, 0.0, 0.0, 0.3, 0.2, 0.9])
    found = weather.rain_classes(share)
    assert [share[found == n].max() for n in (0, 1)] < [share[found == n].min() for n in (1, 2)]
    assert np.bincount(found).tolist() == [3, 2, 2]


def test_observed_rain_does_not_depend_on_the_forecast(comparison):
    first = comparison.runs[0].counts
    seen = (first[:, 0, :, 0] + first[:, 1, :, 0]).sum(axis=1) / first[..., 0].sum(axis=(1, 2))
    assert np.allclose(weather.observed_share(comparison), seen)
