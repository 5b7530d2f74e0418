"""The report: one self-contained HTML page that compares the runs of one or more comparisons."""

from collections.abc import Iterator, Sequence

from hko7env.report.comparison import Comparison
from hko7env.report.html import escape, page
from hko7env.report.section import Section, folded
from hko7env.report.sections import SECTIONS


def make_page(comparisons: Sequence[Comparison]) -> str:
    """Make the page.

    Args:
        comparisons: At least one, see :func:`hko7env.report.reading.read_comparisons`.

    Returns:
        HTML that needs no other file.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    parts: list[str] = []
    for number, comparison in enumerate(comparisons, 1):
        if len(comparisons) > 1:
            source = comparison.data.get("source", f"archive {comparison.fingerprint[:10]}")
            parts.append(f"<h1>Data {number} of {len(comparisons)}: {escape(source)}, {escape(comparison.split)}</h1>")
        sections = [section for make in SECTIONS if (section := make(comparison)) is not None]
        links = (f'<a href="#{_anchor(section, number)}">{escape(section.title)}</a>' for section in sections)
        parts.append(f"<nav>{' · '.join(links)}</nav>")
        parts += [text for section in sections for text in _html(section, number)]
    return page("Comparison of precipitation nowcasts", parts)


def _anchor(section: Section, number: int) -> str:
    return f"data-{number}-{section.id}"


def _html(section: Section, number: int) -> Iterator[str]:
    yield f'<section id="{_anchor(section, number)}"><h2>{escape(section.title)}</h2>{section.body}'
    for caption, text in section.tables:
        yield folded(caption, text)
    yield "</section>"
