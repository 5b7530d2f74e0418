"""Timing of competing functions, and the lines of output that all benchmarks share."""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

Line = dict[str, Any]
Jobs = dict[str, Callable[[], Any]]


def compare(
    jobs: Mapping[str, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Time functions in alternating rounds, so that a busy spell of the machine meets all of them.

    Args:
        jobs: The functions by name.
        rounds: Number of timed rounds, after one to warm up.
        clock: What tells the time; ``time.process_time`` counts this process's processor time only.

    Returns:
        Median seconds of each.
    """
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for timed in range(rounds + 1):
        for name, job in jobs.items():
            start = clock()
            job()
            if timed:
                times[name].append(clock() - start)
    return {name: median(each) for name, each in times.items()}


def line(name: str, seconds: float, unit: str, ratio: float, size: int = 0, **more: Any) -> Line:
    """One line of output: milliseconds, their unit, the ratio to the reference, bytes (0: not measured), and more."""
    return {
        "name": name,
        "median": float(f"{1e3 * seconds:.4g}"),
        "unit": unit,
        "ratio": float(f"{ratio:.3g}"),
        "bytes": size,
        **more,
    }


def lines(medians: Mapping[str, float], reference: str, unit: str, *, per: float = 1, size: int = 0) -> Iterator[Line]:
    """One line a competitor.

    Args:
        medians: Seconds of each competitor by name.
        reference: Name of the one that ratios are taken to.
        unit: Unit of the printed milliseconds, such as "ms/frame".
        per: Number of units that a competitor's seconds were spent on.
        size: Bytes that each competitor handles in a unit; 0 if they are not counted.
    """
    for name, seconds in medians.items():
        yield line(name, seconds / per, unit, seconds / medians[reference], size)


def peak_memory(process: int | str = "self") -> int:
    """Peak memory in bytes of this process or, on Linux, of another one that is running, given by its number."""
    status = Path(f"/proc/{process}/status")
    if status.exists():  # Linux; unlike ru_maxrss, it inherits nothing from the parent process
        return 1024 * int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])
    if process != "self":
        raise OSError(f"the memory of process {process} is not known: it has ended, or this is not Linux")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
