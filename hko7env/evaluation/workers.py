"""Worker processes of an evaluation: they take jobs from a queue, and one that dies is replaced."""

import heapq
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from hko7env.allocator import keep_freed_memory

ATTEMPTS = 3  # a job whose worker dies as often has failed

Item = TypeVar("Item")


class DeadWorkerError(RuntimeError):
    """The workers of a job died, again and again."""


@dataclass(order=True)
class _Entry(Generic[Item]):
    """A job in the queue: those of small ``priority`` first, then in the order of submission."""

    priority: int
    number: int
    item: Item = field(compare=False)
    deaths: int = field(default=0, compare=False)


@dataclass(eq=False)
class _Worker(Generic[Item]):
    """A process, this end of its pipe, and what it works at."""

    process: Any
    pipe: Connection
    entry: _Entry[Item] | None = None


class LocalWorkers(Generic[Item]):
    """Processes of this machine that call a function with items.

    They are started when there is something to do, import what they need once, and are stopped when the context is
    left, whatever they do then.

    Args:
        function: A picklable function that raises nothing. It should end itself when :func:`is_orphan` becomes true.
        size: Number of processes.

    Attributes:
        size: Number of processes.
        pending: Number of items whose results have not been collected.
    """

    def __init__(self, function: Callable[[Item], Any], size: int) -> None:
        self.size, self.pending = size, 0
        self._function = function
        self._numbers = itertools.count()
        self._waiting: list[_Entry[Item]] = []
        self._workers: list[_Worker[Item]] = []
        self._context = multiprocessing.get_context("spawn")  # fork is unsafe once torch has threads

    def __enter__(self) -> "LocalWorkers[Item]":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def submit(self, item: Item, priority: int) -> None:
        """Queue an item; those of small ``priority`` begin first."""
        heapq.heappush(self._waiting, _Entry(priority, next(self._numbers), item))
        self.pending += 1

    def collect(self, timeout: float) -> list[tuple[Item, Any]]:
        """Wait for results.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Pairs of an item and what the function returned, or DeadWorkerError if its worker died
            :data:`ATTEMPTS` times.
        """
        self._assign()
        busy = {worker.pipe: worker for worker in self._workers if worker.entry}
        collected = []
        for pipe in connection.wait(list(busy), timeout):
            worker = busy[pipe]  # type: ignore[index]
            entry = worker.entry
            assert entry is not None
            try:
                result = worker.pipe.recv()
                worker.entry = None
            except (EOFError, OSError):
                result = self._bury(worker, entry)
            if result is not None:
                collected.append((entry.item, result))
        self.pending -= len(collected)
        return collected

    def _assign(self) -> None:
        """Give jobs to idle workers, and start those that are lacking."""
        while self._waiting:
            idle = next((worker for worker in self._workers if worker.entry is None), None)
            if idle is None:
                if len(self._workers) == self.size:
                    return
                idle = self._start()
            entry = heapq.heappop(self._waiting)
            try:
                idle.pipe.send(entry.item)
                idle.entry = entry
            except OSError:  # it died while it had nothing to do
                heapq.heappush(self._waiting, entry)
                self._remove(idle)

    def _start(self) -> _Worker[Item]:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, self._function), daemon=True)
        with _interrupts_blocked():
            process.start()
        there.close()  # so that the death of the worker closes the pipe
        worker: _Worker[Item] = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def _bury(self, worker: _Worker[Item], entry: _Entry[Item]) -> DeadWorkerError | None:
        """Remove a dead worker and queue its job again, unless workers have died of it too often."""
        self._remove(worker)
        entry.deaths += 1
        if entry.deaths < ATTEMPTS:
            heapq.heappush(self._waiting, entry)
            return None
        return DeadWorkerError(
            f"its worker died {ATTEMPTS} times (exit code {worker.process.exitcode}): it was killed, or the machine "
            "ran out of memory, then use fewer workers"
        )

    def _remove(self, worker: _Worker[Item]) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start workers with interrupts blocked, so that their imports are not interrupted: the parent stops them."""
    resource_tracker.ensure_running()  # which unblocks interrupts itself when it starts
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)


def is_orphan() -> bool:
    """Whether this is a worker process whose parent has died."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Call the function with each item that comes, until the parent ends."""
    keep_freed_memory()
    while True:
        try:
            item = pipe.recv()
        except EOFError:
            return
        pipe.send(function(item))
