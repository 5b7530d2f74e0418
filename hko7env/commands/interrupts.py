"""Handling of signals: Ctrl-C while a command imports its libraries, and stopping a command that runs for weeks."""

import os
import signal
import threading
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


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set, so that a long-running command ends after the work in hand.

    A second SIGINT raises KeyboardInterrupt at once. On leaving, earlier handlers are restored, and if SIGINT came,
    KeyboardInterrupt is raised so that the command ends as others do after Ctrl-C. Outside the main thread nothing is
    handled and the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    received: list[int] = []

    def request(number: int, frame: Any) -> None:
        if number in received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        event.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
