"""Suggestions for misspelt names."""

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """Suggest a name for an unknown ``word``, as the end of an error message.

    Returns:
        ``did you mean 'x'?`` if one of ``known`` is close to ``word``, else ``only`` and a list of all of them, or
        ``there are none``.
    """
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    if not known:
        return "there are none"
    return f"did you mean {close[0]!r}?" if close else f"only {', '.join(known)}"
