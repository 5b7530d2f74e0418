"""What Ctrl-C does before a command has begun: importing torch takes seconds, and a traceback of it helps nobody."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def importing(command: str) -> Iterator[None]:
    """Inside, SIGINT ends the process with a line on stderr and the exit status 130; nothing is to be saved yet.

    From the signal handler itself: a library that is half imported may turn a KeyboardInterrupt into another error.
    """

    def leave(*_: Any) -> None:
        os.write(2, f"\n{command}: stopped before it began\n".encode())
        os._exit(130)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as of a job in the background, or somebody else's
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
