"""Locks for one writer at a time, released by the operating system when their holder dies."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

WAIT_SECONDS = 5.0  # longer than a commit takes, so that short writes of two processes do not fail


class LockedError(ValueError):
    """Another process or thread is writing; the message identifies it."""


@contextmanager
def sole_writer(target: Path) -> Iterator[None]:
    """Hold the lock of a file or folder; a thread that holds it may acquire it again.

    The lock is the file ``.NAME.lock`` beside the target; while it is held, ``.NAME.writer`` describes the holder.

    Args:
        target: The file or folder, which need not exist.

    Raises:
        LockedError: If another process or thread holds the lock for longer than WAIT_SECONDS; the message has its
            process, machine and time.
    """
    from filelock import FileLock, Timeout  # readers need no lock, so importing this package does not load it

    target = target.resolve()
    holder = target.with_name(f".{target.name}.writer")
    lock = FileLock(target.with_name(f".{target.name}.lock"), is_singleton=True)
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout as error:
        raise LockedError(
            f"{target} is being written by {_read(holder)}: wait until that is done, or choose another name"
        ) from error
    outermost = lock.lock_counter == 1
    try:
        if outermost:
            now = datetime.now(UTC).isoformat(" ", "seconds")
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {now}", encoding="utf-8")
        yield
    finally:
        if outermost:
            holder.unlink(missing_ok=True)
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except FileNotFoundError:
        return "another process"
