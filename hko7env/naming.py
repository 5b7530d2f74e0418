"""What a misspelt name may have meant, said in one way everywhere."""

import difflib
from collections.abc import Iterable


def meant(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` if one of ``known`` is close to ``word``, else ``only`` and all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"only {', '.join(known) or 'none'}"
