"""HTML of pages that need no other file: text, tables, figures and one style sheet for any width, light and dark."""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --good: #00694c;
  --run-0: #0072b2; --run-1: #d55e00; --run-2: #009e73; --run-3: #b8578f; --run-4: #b07900; --run-5: #2c96c9;
  --run-6: #6b6b6b; --run-7: #7b52ab }
@media (prefers-color-scheme: dark) { :root { --good: #4fd1a5;
  --run-0: #56a8e8; --run-1: #ff8a3d; --run-2: #34c99a; --run-3: #e894c4; --run-4: #f0b93a; --run-5: #8fd0f5;
  --run-6: #b5b5b5; --run-7: #b697e6 } }
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
details { margin: .3rem 0 1rem; font-size: .85rem } summary { cursor: pointer }
pre { overflow-x: auto; background: var(--soft); padding: .5rem; font-size: .75rem; max-height: 20rem }
code { overflow-wrap: anywhere } dd { margin: 0 0 .6rem }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem }
.sample { width: 36px; height: 12px; vertical-align: -1px; overflow: visible }
.note { border-left: 4px solid var(--run-1); padding: .3rem .8rem; background: var(--soft) }
nav { font-size: .85rem } @media print { nav, summary { display: none } }
.verdict { font-size: 1.35rem; line-height: 1.35; margin: .5rem 0 }
.ranking table { width: 100% } .ranking th, .ranking td { white-space: normal } .ranking td:first-child { width: 60% }
.bar { display: block; height: .7em; border-radius: 2px; margin: .15rem 0; print-color-adjust: exact }
.ranking td { line-height: 1.25 } .ranking small { white-space: nowrap }
.table-3 { font-size: .85rem; line-height: 1.3 } .table-3 th, .table-3 td { padding-right: .45rem }
.table-3 small { font-size: .68rem } .table-3 th { font-weight: 500 }
.table-3 th.group { text-align: center } .table-3 b { color: var(--good) }
.table-3 tbody th { position: sticky; left: 0; background: Canvas } small { opacity: .8 }
.facts { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .1rem 1rem; font-size: .85rem }
.facts dd { margin: 0; overflow-wrap: anywhere } .facts dt { opacity: .8 } h4 { margin: 1rem 0 .2rem }
.paper { font-style: italic }
.wide { overflow-x: auto } .wide svg { min-width: 34rem }
@media (max-width: 40rem) { th, td { padding-right: .5rem } th { white-space: normal }
  .ranking td:first-child { width: 45% } .ranking small { font-size: .68rem } .ranking .sample { display: none } }
@media print { .table-3 { font-size: 8px } .table-3 small { font-size: 6.5px } .wide svg { min-width: 0 }
  .table-3 th, .table-3 td { padding-right: 3px }
  body { max-width: none; font-size: 11px } figure, tr, .note { break-inside: avoid }
  h2, h3 { break-after: avoid }
  .scroll, pre { overflow: visible; max-height: none } pre { white-space: pre-wrap } td, th { padding-right: .4rem } }
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
    return rich_table([escape(cell) for cell in header], ([escape(cell) for cell in row] for row in rows))


def rich_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as of :func:`table` whose cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
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
