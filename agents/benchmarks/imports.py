"""``import hko7env`` in a fresh interpreter, compared with importing numpy, gymnasium and zarr alone."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hko7env

from .timing import Line, compare, lines

SOURCES = Path(hko7env.__file__).resolve().parent.parent
REFERENCE = "import/numpy, gymnasium, zarr"


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds of both, the start of the interpreter included."""
    jobs = {
        REFERENCE: _importing("numpy, gymnasium, zarr"),
        "import/the same and hko7env": _importing("numpy, gymnasium, zarr, hko7env"),
    }
    yield from lines(compare(jobs, args.rounds), REFERENCE, "ms")


def _importing(names: str) -> Callable[[], Any]:
    command = [sys.executable, "-c", f"import {names}"]
    return lambda: subprocess.run(command, cwd=SOURCES, check=True)
