"""Stopping a training by a signal without losing a step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interruptible(*, once: bool = True) -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a request to stop.

    Args:
        once: Whether a second signal raises KeyboardInterrupt instead of being one more request.

    Yields:
        A function that returns whether a signal has come.
    """
    received: list[int] = []

    def stop(signum: int, _: object) -> None:
        if received and once:
            raise KeyboardInterrupt
        received.append(signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
