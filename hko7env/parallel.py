"""Running a function on parts of the data, in this process, several ones or a dask cluster, and adding the results."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Addable(Protocol):
    """A value that can be added to others of its type."""

    def __add__(self, other: Any) -> Any:
        """The sum of both."""


Item = TypeVar("Item")
Sum = TypeVar("Sum", bound=Addable)
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of control groups, version 2
# Like ``map`` over one iterable: results in the order of the items
WorkerMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


@contextmanager
def worker_map(workers: int = 1, scheduler: str | None = None) -> Iterator[WorkerMap]:
    """Open a ``map`` that runs on several workers.

    Functions and items must be picklable, and every machine must see the same files.

    Args:
        workers: Number of processes; 1 means this process.
        scheduler: Address of a dask scheduler, whose workers are used instead.

    Yields:
        A function that is called like ``map`` with one iterable and keeps its order.

    Raises:
        ValueError: For fewer than one worker, or if dask is not installed.
        OSError: If the scheduler does not answer.
    """
    if workers < 1:
        raise ValueError(f"at least one worker is needed, got {workers}")
    if scheduler is not None:
        with connect(scheduler) as client, client.get_executor(pure=False) as executor:
            yield executor.map
    elif workers > 1:
        context = multiprocessing.get_context("spawn")  # fork is unsafe once a library has threads
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as executor:
            yield executor.map
    else:
        yield map


@contextmanager
def connect(scheduler: str) -> Iterator[Any]:
    """Open a ``distributed.Client`` of the dask scheduler at an address.

    Raises:
        ValueError: If dask is not installed.
        OSError: If the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("a scheduler needs dask: pip install 'hko7env[dask]'") from error
    with Client(scheduler, timeout="10s") as client:
        yield client


def usable_cores() -> int:
    """Number of processor cores that this process may use, by its affinity and the quota of a Linux container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not QUOTA.is_file():
        return cores
    quota, period = QUOTA.read_text().split()  # microseconds of processor time in each period, or max
    return cores if quota == "max" else max(1, min(cores, round(int(quota) / int(period))))


def sum_over(
    function: Callable[[list[Any]], Sum],
    parts: list[list[Any]],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    step: Callable[[int], Any] | None = None,
) -> Sum:
    """Add up ``function(part)`` over ``parts``, in their order.

    Args:
        function: Computes the value of one part.
        parts: Lists of items, see :func:`parts_of`.
        workers: As of :func:`worker_map`.
        scheduler: As of :func:`worker_map`.
        step: Called after each part with its number of items.

    Raises:
        ValueError: If there is no part.
    """
    if not parts:
        raise ValueError("there are no frames to read")
    total: Sum | None = None
    with worker_map(workers, scheduler) as mapped:
        for part, one in zip(parts, mapped(function, parts), strict=True):
            total = one if total is None else total + one
            if step:
                step(len(part))
    assert total is not None
    return total


def parts_of(items: list[Item], size: int) -> list[list[Item]]:
    """Cut ``items`` into as few consecutive parts of at most ``size`` items as possible, of nearly equal length."""
    return chunked(items, -(-len(items) // size))


def chunked(items: list[Item], count: int) -> list[list[Item]]:
    """Cut ``items`` into at most ``count`` consecutive chunks of nearly equal length, none of them empty."""
    size = -(-len(items) // max(count, 1))
    return [items[i : i + size] for i in range(0, len(items), max(size, 1))]
