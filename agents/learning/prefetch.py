"""Batches read, or made, in advance by a background thread; on a GPU in a stream of its own.

So a source that computes on the GPU, or waits for a copy to it, waits for its own work and not for the training's.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from .batch import Arrays, Source, Tensors, like


class Ready(NamedTuple):
    """A batch on its device, and the event after which it is there; None for the CPU."""

    parts: Tensors
    event: Any


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
    ready: queue.Queue[Ready | BaseException] = queue.Queue(ahead)
    over = threading.Event()
    stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None
    if stream:
        stream.wait_stream(torch.cuda.current_stream(device))  # in which the source was made

    def put(item: Ready | BaseException) -> None:
        while not over.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            with torch.cuda.stream(stream) if stream else nullcontext():  # also makes its device the thread's own
                for step in range(start, stop):
                    if over.is_set():
                        return
                    put(_send(source.batch(step), device))
        except BaseException as error:
            put(error)

    def take() -> Iterator[Tensors]:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield _receive(item, device)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        over.set()
        thread.join()


def _send(batch: Arrays, device: torch.device) -> Ready:
    """``batch`` on its way to the device, for a GPU from page-locked memory, from which copies are asynchronous."""
    parts = [torch.as_tensor(part) for part in batch]
    if device.type != "cuda":
        return Ready(like(batch, parts), None)
    parts = [part if part.is_cuda else part.pin_memory().to(device, non_blocking=True) for part in parts]
    event = torch.cuda.Event()
    event.record()
    return Ready(like(batch, parts), event)


def _receive(ready: Ready, device: torch.device) -> Tensors:
    """The batch, for the caller's stream, which waits for it on the GPU; the caller itself does not wait."""
    if ready.event is not None:
        stream = torch.cuda.current_stream(device)
        stream.wait_event(ready.event)
        for part in ready.parts:
            part.record_stream(stream)  # its memory is not used again before this stream is done with it
    return ready.parts
