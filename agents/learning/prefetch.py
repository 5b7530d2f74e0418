"""Batches read in advance by a background thread."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .batch import Arrays, Source, Tensors, like


@contextmanager
def prefetched(
    source: Source, start: int, stop: int, device: torch.device, ahead: int = 4
) -> Iterator[Iterator[Tensors]]:
    """Read batches in a thread while the caller learns from earlier ones.

    Args:
        source: Provides the batches.
        start: First step.
        stop: Step after the last one.
        device: Where the batches are needed.
        ahead: Batches held in advance at most.

    Yields:
        An iterator over the batches as tensors on ``device``, of the tuple type of the source. An error of the source
        is raised when its batch is due.
    """
    ready: queue.Queue[Tensors | BaseException] = queue.Queue(ahead)
    over = threading.Event()

    def put(item: Tensors | BaseException) -> None:
        while not over.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        if device.type == "cuda":
            torch.cuda.set_device(device)  # which is a setting of each thread
        try:
            for step in range(start, stop):
                if over.is_set():
                    return
                put(_pin(source.batch(step), device))
        except BaseException as error:
            put(error)

    def take() -> Iterator[Tensors]:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield like(item, [part.to(device, non_blocking=True) for part in item])

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        over.set()
        thread.join()


def _pin(batch: Arrays, device: torch.device) -> Tensors:
    """``batch`` as tensors, for a GPU in page-locked memory, from which copies are asynchronous."""
    parts = [torch.as_tensor(part) for part in batch]
    if device.type == "cuda":
        parts = [part if part.is_cuda else part.pin_memory() for part in parts]
    return like(batch, parts)
