"""Counting levels by location for the denoising of an archive, compared with numpy's scatter add."""

import argparse
from collections.abc import Iterator

import numpy as np

from hko7env.archive import Archive
from hko7env.archive.clutter import find_outliers, histogram
from hko7env.archive.format import OUT_OF_RANGE
from hko7env.synthetic import full_size_archive

from .timing import Line, compare, line, lines

REFERENCE = "denoise/np.add.at"
FRAMES, FEW = 250, 10  # counted by hko7env, and by the slow reference


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """The histogram of a frame, then the outliers among all locations."""
    rounds = max(args.rounds // 5, 1)
    archive = Archive(str(full_size_archive()))
    frames = archive.frames(0, FRAMES)
    rows, columns = np.indices(archive.shape)
    counts = np.zeros((*archive.shape, 256), np.uint32)

    def scatter() -> None:
        for frame in frames[:FEW]:
            np.add.at(counts, (rows, columns, frame), 1)

    seconds = compare({"plain": scatter, "hko7env": lambda: histogram(archive.shape, [frames])}, rounds)
    medians = {REFERENCE: seconds["plain"] / FEW, "denoise/hko7env histogram": seconds["hko7env"] / FRAMES}
    yield from lines(medians, REFERENCE, "ms/frame", size=frames[0].nbytes)
    counted, in_range = histogram(archive.shape, [frames]), archive.mask != OUT_OF_RANGE
    seconds = compare({"outliers": lambda: find_outliers(counted, in_range)}, rounds)
    yield line(f"denoise/outliers of {int(in_range.sum())} locations", seconds["outliers"], "ms", 1)
