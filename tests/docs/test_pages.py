"""What the pages say about themselves and each other."""

import importlib
import re

import pytest
from PIL import Image
from scipy.stats import kendalltau

import hko7env
from tests.helpers.markdown import PAGES, ROOT, table_rows

README, BENCHMARKS = ROOT / "README.md", ROOT / "docs/benchmarks.md"


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 180


def test_the_animation_is_small_and_shows_every_slot():
    path = ROOT / "docs/images/forecast.webp"
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as picture:
        assert picture.n_frames == 25
        assert picture.info["loop"] == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_tables_of_the_readme_are_those_of_the_benchmarks():
    ours = [row[:9] for row in table_rows(README, "## Results")]
    assert ours == [row[:9] for row in table_rows(BENCHMARKS, "## Baselines on the default archive")]


def test_the_ranks_of_table_3_are_those_of_the_paper():
    rows = [[float(cell) for cell in row[2:]] for row in table_rows(BENCHMARKS, "## Table 3 of the paper")]
    columns = list(zip(*rows, strict=True))
    tau = [round(kendalltau(columns[5], columns[i]).statistic, 2) for i in range(5)]
    assert tau == [-0.79, -0.70, -0.73, -0.94, -0.85]


def test_api_pages_name_modules_that_exist():
    named = re.findall(r"^::: (\S+)", "\n".join(p.read_text() for p in (ROOT / "docs/api").glob("*.md")), re.M)
    assert len(named) == len(set(named)) >= 20
    for name in named:
        parent, _, last = name.rpartition(".")
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError:
            found = getattr(importlib.import_module(parent), last)
        assert found.__doc__, name


def test_the_citation_names_this_version():
    assert f"\nversion: {hko7env.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    """Paths in inline code, such as `tests/test_scores.py`."""
    for path in re.findall(r"`((?:hko7env|agents|tools|tests|docs)/[\w/.-]+)`", page.read_text()):
        assert (ROOT / path).exists(), path
