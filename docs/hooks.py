"""Hooks of the documentation's build."""

import re
from typing import Any

ROLE = re.compile(r":(?:class|data|func|meth|mod|attr|exc):<code>~?([\w.]+)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """Turn roles of docstrings such as ``:func:`hko7env.scores.scored``` into links, or code if there is no target."""
    return ROLE.sub(r'<autoref optional identifier="\1"><code>\1</code></autoref>', html)
