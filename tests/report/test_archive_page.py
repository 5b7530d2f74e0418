"""The page of an archive holds its tables and figures, fits any window, and needs no other file."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hko7env.archive import Archive
from hko7env.report.archive_page import count_steps, make_page
from hko7env.report.html import escape, table

pytest.importorskip("matplotlib")


class Outline(HTMLParser):
    """Headings, images and graphics of a page; every element that is opened must be closed."""

    VOID = ("meta", "img", "image", "path", "use", "rect", "line", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.headings, self.figures, self.tables = [], [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img" or (tag == "svg" and "figure" in self.open):
            self.figures.append(attributes.get("alt") or attributes.get("aria-label"))
        if tag == "table":
            self.tables.append("scroll" in attributes.get("class", "") or self.open[-1] == "div")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture(scope="module")
def synthetic_page(small_archive):
    archive, steps = Archive(str(small_archive)), []
    page = make_page(archive, step=steps.append)
    assert sum(steps) == count_steps(archive)
    return page


def test_it_holds_tables_and_figures(synthetic_page):
    outline = Outline(synthetic_page)
    assert outline.headings[0].startswith("hko7env synthetic rain")
    for words in ("Frames", "True rain and its motion", "Rain rates", "Splits", "Static mask", "Spectrum"):
        assert any(words in heading for heading in outline.headings), words
    assert len(outline.figures) == 6 + 6 + 2 + 2 + 2 + 1
    for cell in ("<td>0.5 to 2</td>", "<td>90.25%</td>", "<td>test</td><td>2</td><td>102</td>"):
        assert cell in synthetic_page
    assert "142 frames of 48 x 64 px, every 6 min" in synthetic_page


def test_every_figure_is_described(synthetic_page):
    figures = Outline(synthetic_page).figures
    assert all(text and len(text) > 20 for text in figures)
    assert synthetic_page.count("<figure>") == len(figures)


def test_it_fits_the_window_and_needs_no_other_file(synthetic_page):
    assert 'name="viewport" content="width=device-width' in synthetic_page
    assert "max-width: 100%" in synthetic_page
    assert synthetic_page.count('<div class="scroll"><table>') == synthetic_page.count("<table>") == 2
    assert "color-scheme: light dark" in synthetic_page
    assert "#010203" not in synthetic_page, "ink takes the colour of the text"
    assert "currentColor" in synthetic_page
    assert "<script" not in synthetic_page
    links = set(re.findall(r'(?:src|href)="([^"]{5})', synthetic_page))
    assert all(link == "data:" or link.startswith("#") for link in links)


def test_an_archive_without_truth_has_no_true_rain(new_archive):
    archive = new_archive(24_000_000 + 6 * np.arange(40), np.full((40, 24, 24), 90, np.uint8), source="<b>")
    page = make_page(archive)
    headings = Outline(page).headings
    assert headings[0] == "<b>"
    assert "True rain and its motion" not in page
    assert "Spectrum" not in page
    assert "Splits" not in page, "there are none"
    assert "Static mask" in page


def test_workers_make_the_same_page(small_archive, synthetic_page):
    assert make_page(Archive(str(small_archive)), workers=2) == synthetic_page


def test_text_is_escaped():
    assert escape('<a href="x">&') == "&lt;a href=&quot;x&quot;&gt;&amp;"
    assert table(("<i>",), [("&",)]).endswith("<tr><th>&lt;i&gt;</th></tr><tr><td>&amp;</td></tr></table></div>")
