"""One way to spread additive work: in this process, over processes, or over a dask cluster."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # as map: results in the order of the items


@contextmanager
def spreading(workers: int = 1, scheduler: str | None = None) -> Iterator[Spread]:
    """A ``map`` over ``workers`` processes, or over the dask cluster whose ``scheduler`` has this address.

    Functions and items must be picklable, and every machine must see the same files. Raises ValueError for fewer than
    one worker and if dask is not installed, OSError if the scheduler does not answer.
    """
    if workers < 1:
        raise ValueError(f"at least one worker is needed, got {workers}")
    if scheduler is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ValueError("a --scheduler needs dask: pip install 'hko7env[dask]'") from error
        with Client(scheduler, timeout="10s") as client, client.get_executor(pure=False) as executor:
            yield executor.map
    elif workers > 1:
        context = multiprocessing.get_context("spawn")  # fork is unsafe once a library has threads
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as executor:
            yield executor.map
    else:
        yield map


def shares(items: list[Item], count: int) -> list[list[Item]]:
    """``items`` in at most ``count`` unbroken parts of nearly equal length, none of them empty."""
    size = -(-len(items) // max(count, 1))
    return [items[i : i + size] for i in range(0, len(items), max(size, 1))]
