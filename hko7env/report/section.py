"""A section of the report page, and the form in which it shows figures: drawing, text alternative, numbers as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hko7env.report.html import escape, svg_figure


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes:
        id: Anchor, unique on a page of one comparison: lower-case letters, digits and hyphens.
        title: Heading, plain text.
        body: HTML.
        tables: Further numbers, shown folded below the body: pairs of a caption and CSV text.
    """

    id: str
    title: str
    body: str
    tables: tuple[tuple[str, str], ...] = ()


def numbers(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format rows as CSV; floats with six significant digits, NaN as an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{float(value):.6g}"
    return str(value)


def error_text(value: float) -> str:
    """An error for readers: whole numbers, or three digits below 100."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def folded(caption: str, text: str) -> str:
    """CSV ``text`` in an element that opens when its ``caption`` is clicked; no script is needed."""
    return f"<details><summary>{escape(caption)}</summary><pre>{escape(text)}</pre></details>"


def figure(svg: str, text: str, caption: str, csv_text: str) -> str:
    """A figure with its numbers.

    Args:
        svg: An ``<svg ...>`` element, see :func:`hko7env.report.charts.draw_chart`.
        text: What the figure shows and what follows from it, for readers who cannot see it.
        caption: Plain text below it.
        csv_text: The numbers that are drawn, see :func:`numbers`.
    """
    return f"<div>{svg_figure(svg, text, caption)}{folded('Numbers as CSV', csv_text)}</div>"
