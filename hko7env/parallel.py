"""One way to spread additive work: in this process, over processes, or over a dask cluster."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar


class Addable(Protocol):
    """A value that adds to its like."""

    def __add__(self, other: Any) -> Any:
        """The sum of both."""


Item = TypeVar("Item")
Sum = TypeVar("Sum", bound=Addable)
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


def add_up(
    function: Callable[[list[Any]], Sum],
    parts: list[list[Any]],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    step: Callable[[int], Any] | None = None,
) -> Sum:
    """The sum of ``function`` over ``parts``, in their order; ``step`` is told the size of each part that is in.

    Raises ValueError if there is no part.
    """
    if not parts:
        raise ValueError("there are no frames to read")
    total: Sum | None = None
    with spreading(workers, scheduler) as spread:
        for part, one in zip(parts, spread(function, parts), strict=True):
            total = one if total is None else total + one
            if step:
                step(len(part))
    assert total is not None
    return total


def shares(items: list[Item], count: int) -> list[list[Item]]:
    """``items`` in at most ``count`` unbroken parts of nearly equal length, none of them empty."""
    size = -(-len(items) // max(count, 1))
    return [items[i : i + size] for i in range(0, len(items), max(size, 1))]
