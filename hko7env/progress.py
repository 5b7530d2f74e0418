"""Progress bars of long work: rate and remaining time on a terminal, a line every 20 s in a log."""

import sys
from typing import Any


def bar(total: int, what: str, unit: str, *, done: int = 0) -> Any:
    """Make a tqdm bar on standard error.

    Args:
        total: Number of units of work.
        what: Description.
        unit: Name of a unit.
        done: Units finished before.
    """
    from tqdm import tqdm

    interval = 0.2 if sys.stderr.isatty() else 20.0
    return tqdm(total=total, initial=done, desc=what, unit=unit, mininterval=interval, maxinterval=interval)


def write(text: str) -> None:
    """Write lines on standard error, above a bar that is shown."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)
