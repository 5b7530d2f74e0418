"""Handling of Ctrl-C while a command imports its libraries, which takes seconds where torch is among them."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def importing(program: str) -> Iterator[None]:
    """While entered, SIGINT ends the process at once with one line on stderr and exit status 130.

    The signal handler itself ends the process, because a library that is half imported may turn a KeyboardInterrupt
    into another error. Nothing is lost: no work has begun. If SIGINT is ignored, as in a background job, or has
    another handler, nothing is changed; the same holds outside the main thread.

    Args:
        program: The words that call the command; they begin the line.
    """

    def leave(*_: Any) -> None:
        os.write(2, f"\n{program}: stopped before it started\n".encode())
        os._exit(130)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
