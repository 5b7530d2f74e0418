"""Watching a folder: files are appended to an archive as they arrive, for weeks."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hko7env.importers.contract import Format, RadarImportError
from hko7env.importers.formats import load_format
from hko7env.importers.watch_options import WatchOptions
from hko7env.importers.watcher import Watcher
from hko7env.importers.window import Window
from hko7env.locking import sole_writer


@contextlib.contextmanager
def watching(
    file_format: str | Format,
    folder: Path,
    destination: Path,
    options: WatchOptions,
    *,
    window: Window | None = None,
    report: Callable[[str], Any] = print,
) -> Iterator[Watcher]:
    """Hold the lock of an archive and yield the watcher that extends it.

    Args:
        file_format: The name of a format, as for :func:`hko7env.importers.load_format`, or an instance.
        folder: The folder that files are dropped into.
        destination: Path of the archive, which is extended if it exists.
        options: How to watch.
        window: The part of the grid to import; None: the whole grid.
        report: Called with a line for each file that was not imported.

    Raises:
        RadarImportError: There is no such format or folder, or the archive has another grid.
        LockedError: Another process writes to the archive; a ValueError that names the process.
    """
    reader = load_format(file_format) if isinstance(file_format, str) else file_format
    folder, destination = folder.resolve(), destination.resolve()
    if not folder.is_dir():
        raise RadarImportError(f"there is no folder {folder}: make it, or check the path")
    with sole_writer(destination):
        watcher = Watcher(reader, folder, destination, options, window, report)
        try:
            yield watcher
        except BaseException as error:
            watcher.close(error)
            raise
        watcher.close()


def watch(
    watcher: Watcher, options: WatchOptions, stop: Callable[[], bool], sleep: Callable[[float], Any] = time.sleep
) -> None:
    """Poll until ``stop()``, or with ``options.once`` until nothing is left to wait for.

    Args:
        watcher: What to poll.
        options: How to watch.
        stop: Called before each poll and each sleep.
        sleep: Called with the seconds between polls.
    """
    while not stop():
        waiting = watcher.poll()
        if options.once and not waiting:
            return
        if not stop():
            sleep(options.poll)
