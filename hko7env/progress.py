"""One progress bar for all long work: rate and time left on a terminal, a line now and then in a log."""

import sys
from typing import Any


def bar(total: int, what: str, unit: str, *, done: int = 0) -> Any:
    """A tqdm bar of ``total`` units on standard error, ``done`` of them finished before."""
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 20.0
    return tqdm(total=total, initial=done, desc=what, unit=unit, mininterval=interval, maxinterval=interval)
