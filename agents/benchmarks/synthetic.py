"""Making synthetic archives of 480 x 480 px, compared with the least work of any generator of advected rain."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy import fft, ndimage

import hko7env
from hko7env.synthetic.rain import domain

from .timing import Line, compare, line

SOURCES = Path(hko7env.__file__).resolve().parent.parent
MAKE = (
    "import resource, sys, time; from hko7env.synthetic import EpisodeSpec, make;"
    "n = int(sys.argv[1]); start = time.perf_counter();"
    "make(sys.argv[2], weather=[EpisodeSpec('test', f'2015-06-0{d}', n) for d in (1, 4)]);"
    "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """A short archive and one four times as long, each in a process of its own, to see whether memory grows."""
    plain = _time_least_work(args.rounds)
    memory = []
    for frames in (60, 240):
        with TemporaryDirectory() as folder:
            command = [sys.executable, "-c", MAKE, str(frames), str(Path(folder) / "a.zarr")]
            printed = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, check=True).stdout.split()
        seconds, peak = float(printed[0]) / (2 * frames), 1024 * int(printed[1])
        memory.append(peak)
        growth = {"peak memory to that of the short one": round(peak / memory[0], 3)}
        name = f"synthetic/{2 * frames} frames, a thread a core"
        yield line(name, seconds, "ms/frame", seconds / plain, peak, **growth)
    yield line("synthetic/one interpolation, one transform each way", plain, "ms/frame", 1)


def _time_least_work(rounds: int) -> float:
    """Median seconds of one cubic interpolation and one Fourier transform each way of a periodic field."""
    size = domain((480, 480))
    field = np.random.default_rng(0).standard_normal(size, dtype=np.float32)
    where = np.indices(size, dtype=np.float32) + np.float32(0.3)

    def work() -> None:
        moved = ndimage.map_coordinates(field, where, order=3, mode="grid-wrap", prefilter=False)
        fft.irfft2(fft.rfft2(moved), size)

    return compare({"work": work}, rounds)["work"]
