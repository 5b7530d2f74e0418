"""HTML of pages that need no other file: text, tables, figures and one style sheet for any width, light and dark."""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --line: #8886 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 0 1rem 2rem }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } h2 { font-size: 1.2rem; margin-top: 2rem }
.scroll { overflow-x: auto; margin-bottom: 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--least)), 1fr)) }
figure { margin: 0; min-width: 0 }
figure img, figure svg { display: block; width: 100%; max-width: 100%; height: auto }
figure img { image-rendering: pixelated }
figcaption { font-size: .85rem; overflow-wrap: anywhere }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -.1em; margin-right: .3em }
.keys span { margin-right: 1em; white-space: nowrap }
"""


def escape(text: str) -> str:
    """``text`` for HTML, in elements and in quoted attributes."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def page(title: str, body: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: Plain text, also the heading.
        body: HTML of its parts.
    """
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    content = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n'
        f"<body><h1>{escape(title)}</h1>\n{content}\n</body></html>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text, which scrolls sideways where it is wider than the window."""
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def grid(figures: Iterable[str], least: str) -> str:
    """Figures in as many columns as fit, each at least ``least`` wide (a CSS length) or as wide as the window."""
    return f'<div class="grid" style="--least: {least}">{"".join(figures)}</div>'


def svg_figure(svg: str, text: str, caption: str = "") -> str:
    """A figure of an ``<svg ...>`` element; ``text`` describes it for screen readers."""
    described = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(text)}" ', 1)
    return f"<figure>{described}{_caption(caption)}</figure>"


def image_figure(picture: npt.NDArray[np.uint8], text: str, caption: str = "") -> str:
    """A figure of a picture (H, W, 3) uint8; ``text`` describes it for screen readers."""
    return f'<figure><img src="{data_url(picture)}" alt="{escape(text)}">{_caption(caption)}</figure>'


def data_url(picture: npt.NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) uint8 as the URL of a PNG."""
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def colour_key(entries: Iterable[tuple[Sequence[int], str]]) -> str:
    """A key of colours, from pairs of (red, green, blue), 0..255, and the meaning as plain text."""
    spans = (
        f'<span><i class="key" style="background: rgb({red}, {green}, {blue})"></i>{escape(text)}</span>'
        for (red, green, blue), text in entries
    )
    return f'<p class="keys">{"".join(spans)}</p>'


def _caption(caption: str) -> str:
    return f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
