"""The report: one self-contained HTML page that compares the runs of one or more comparisons."""

from collections.abc import Iterator, Sequence

from hko7env.report.comparison import Comparison
from hko7env.report.html import escape, page
from hko7env.report.section import Section, folded
from hko7env.report.sections import SECTIONS


def make_page(comparisons: Sequence[Comparison]) -> str:
    """Make the page.

    Args:
        comparisons: At least one, see :func:`hko7env.report.comparison.read_comparisons`.

    Returns:
        HTML that needs no other file.

    Raises:
        ValueError: If matplotlib is not installed.
    """
    parts: list[str] = []
    for number, comparison in enumerate(comparisons, 1):
        if len(comparisons) > 1:
            parts.append(
                f"<h1>Data {number}: {escape(comparison.data.get('source', comparison.fingerprint[:10]))}</h1>"
            )
        for make in SECTIONS:
            section = make(comparison)
            if section is not None:
                parts += _html(section, number)
    return page("Comparison of precipitation nowcasts", parts)


def _html(section: Section, number: int) -> Iterator[str]:
    yield f'<section id="data-{number}-{section.id}"><h2>{escape(section.title)}</h2>{section.body}'
    for caption, text in section.tables:
        yield folded(caption, text)
    yield "</section>"
