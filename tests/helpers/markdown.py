"""Code blocks and tables of markdown pages."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "agents/weights/README.md",
    *(ROOT / "docs").rglob("*.md"),
]


class Block(NamedTuple):
    """A fenced code block: its language, the file that its title names (or ""), and its text."""

    language: str
    title: str
    text: str


def blocks(page):
    """All fenced code blocks of a page, in order."""
    found = re.findall(r"^```(\w*)(?: title=\"([^\"]*)\")?\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [Block(*parts) for parts in found]


def command_lines(page):
    """The words of each command line in the page's shell blocks, comments left out and continuations joined."""
    lines = []
    for block in blocks(page):
        if block.language in ("bash", ""):
            for line in block.text.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    if words := shlex.split(part, comments=True):
                        lines.append(words)
    return lines


def table_rows(page, heading):
    """The cells of the rows of the first table after the text ``heading``, without its header."""
    text = page.read_text(encoding="utf-8").split(heading, 1)[1]
    rows = re.search(r"(?:^\|.*\n)+", text, re.M)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
