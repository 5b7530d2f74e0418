"""How a folder is watched."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True)
class WatchOptions:
    """How a folder is watched.

    Raises:
        ValueError: A number is out of range.
    """

    keep_days: Annotated[int | None, "remove frames older than this many days before the newest; none: keep all"] = None
    set_aside: Annotated[
        Path | None, "move files that are damaged, late, double or revised into this folder; none: leave them"
    ] = None
    poll: Annotated[float, "seconds between looks at the folder"] = 1.0
    settle: Annotated[float, "seconds without a change after which a file counts as complete"] = 2.0
    once: Annotated[bool, "stop when all files that are there have been dealt with"] = False

    def __post_init__(self) -> None:
        if self.keep_days is not None and self.keep_days < 1:
            raise ValueError(f"keep_days is at least 1, got {self.keep_days}")
        if not self.poll > 0 or not self.settle >= 0:
            raise ValueError(f"poll must be above 0 s and settle at least 0 s, got {self.poll:g} and {self.settle:g}")
