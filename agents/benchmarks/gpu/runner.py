"""The benchmark of a GPU: ends in time, goes on where it stopped, and is stopped by no failure.

Items run one after another in another process. One that fails, hangs or takes the process down is recorded with what it
said, and the next one runs. The same command runs what has not been run, then what has failed.
"""

import argparse
import faulthandler
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from hko7env.files import write_atomically

from ...networks.devices import select_device
from ..timing import Line
from . import items
from .settings import Settings
from .table import RESULTS, TABLE, Found, Results, failures, format_page

LOG = "log.txt"
ENDING = 3.0  # seconds before the end of the time in which no item is begun
BROKEN = ("CUDA error", "cuDNN error", "CUBLAS", "device-side assert", "unspecified launch")  # the process is of no use


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Run what is missing in ``args.out`` for at most ``args.minutes``; a line for each item that was run.

    Raises:
        OptionError: If torch cannot use the device.
        ValueError: If the folder holds results of another device, size or torch, or no results.
    """
    end = time.monotonic() + 60 * args.minutes
    device = select_device(args.device)
    settings = Settings(str(device), args.tiny or device.type == "cpu")
    listed = items.list_items(settings)
    args.out.mkdir(parents=True, exist_ok=True)
    results = Results.open(args.out / RESULTS, _describe(settings))
    try:
        for name in _run(listed, settings, results, args.out, end):
            found = results.items[name]
            results.write()
            yield {"name": name, "state": found.state, "seconds": found.seconds, "failures": failures(found)[:3]}
    finally:  # after Ctrl-C too
        page = format_page(results, [item.name for item in listed])
        write_atomically(args.out / TABLE, page.encode())
    missing = [item.name for item in listed if item.name not in results.items]
    failed = [name for name, found in results.items.items() if found.state != "done"]
    yield {"name": "all", "done": len(results.items) - len(failed), "failed": failed, "not run": missing}


def _describe(settings: Settings) -> dict[str, Any]:
    """What results must share to be kept together."""
    name = torch.cuda.get_device_name(settings.place) if settings.cuda else "CPU"
    return {"device": name, "tiny": settings.tiny, "torch": torch.__version__}


def _run(listed: list[items.Item], settings: Settings, results: Results, out: Path, end: float) -> Iterator[str]:
    """Run what is missing, then what has failed before; yields the name of each item that has a new result."""
    fresh = [item for item in listed if item.name not in results.items]
    again = [item for item in listed if item.name in results.items and results.items[item.name].state != "done"]
    queue = [*fresh, *again]
    while queue and time.monotonic() < end - ENDING:
        with _Worker(settings, [item.name for item in queue], out / LOG) as worker:
            while queue and time.monotonic() < end - ENDING:
                item = queue[0]
                found = worker.wait(min(item.seconds, end - time.monotonic()), item.seconds)
                if found is None:  # the time is over
                    return
                queue.pop(0)
                results.items[item.name] = found
                yield item.name
                if found.ended:
                    break


class _Worker:
    """A process that runs items and sends what it finds."""

    def __init__(self, settings: Settings, names: list[str], log: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(settings, names, sender, log), daemon=False)
        self.process.start()
        sender.close()

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()
        self.receiver.close()

    def wait(self, seconds: float, bound: float) -> Found | None:
        """What the next item finds within some seconds; None if they are fewer than its ``bound`` and not enough."""
        try:
            if self.receiver.poll(seconds):
                received: Found = self.receiver.recv()
                return received
        except EOFError:
            self.process.join()
            why = f"the process ended with exit code {self.process.exitcode}: see {LOG}"
            return Found("failed", error=why, ended=True)
        if seconds < bound:
            return None
        return Found("failed", seconds=seconds, error=f"stopped after {seconds:.0f} s", ended=True)


def work(settings: Settings, names: list[str], sender: Connection, log: Path) -> None:
    """Run items and send a Found for each; what they print goes to ``log``."""
    with log.open("a", buffering=1, encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        faulthandler.enable(file)
        listed = {item.name: item for item in items.list_items(settings)}
        for name in names:
            file.write(f"--- {name}\n")
            found = run_item(listed[name], settings)
            sender.send(found)
            settings.release()
            if found.ended:
                sys.exit(1)


def run_item(item: items.Item, settings: Settings) -> Found:
    """The lines of one item, up to its error if it has one."""
    lines: list[Line] = []
    begun, error, trace = time.perf_counter(), "", ""
    try:
        for line in item.run(settings):
            lines.append(line)
    except Exception as raised:  # all that an item can raise is a result
        error, trace = f"{type(raised).__name__}: {raised}"[:2000], traceback.format_exc()[-6000:]
    found = Found("done", tuple(lines), round(time.perf_counter() - begun, 1), error, trace)
    texts = [error, *(str(line.get("failed", "")) for line in lines)]
    ended = any(word in text for word in BROKEN for text in texts)
    return found._replace(state="failed" if error or failures(found) else "done", ended=ended)
