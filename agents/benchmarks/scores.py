"""Scoring one step, 20 forecast frames of 480 x 480 px, compared with vectorised numpy, in processor time."""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import minutes
from hko7env.counting import NumpyCounter, block_counter, count_frame
from hko7env.scores import scored, tally
from hko7env.synthetic import full_size_archive
from hko7env.units import HKO7

from .timing import Jobs, Line, compare, lines

REFERENCE = "scores/plain numpy, dense"


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """All scores of a dense forecast, such as a network's, and of the last frame; with the extra ``fast`` too."""
    archive = Archive(str(full_size_archive()))
    first = int(np.searchsorted(archive.times, minutes("2015-05-20T10:24")))
    frames = archive.frames(first, first + 25)
    truth = frames[5:]
    mask = scored(truth, archive.scored)
    last = np.ascontiguousarray(np.broadcast_to(frames[4] / np.float32(255), truth.shape))
    dense = np.clip(last + np.float32(0.01), 0, 1)
    jobs: Jobs = {
        REFERENCE: lambda: plain_scores(truth, mask, dense),
        "scores/hko7env, dense": lambda: in_numpy(truth, mask, dense),
        "scores/hko7env, last frame": lambda: in_numpy(truth, mask, last),
        "scores/read every byte once": lambda: (dense.max(), truth.max(), mask.max()),
    }
    if not isinstance(block_counter(), NumpyCounter):
        jobs["scores/hko7env[fast], dense"] = lambda: tally(truth, mask, dense)
        jobs["scores/hko7env[fast], last frame"] = lambda: tally(truth, mask, last)
    size = dense.nbytes + truth.nbytes + mask.nbytes
    yield from lines(compare(jobs, args.rounds, time.process_time), REFERENCE, "ms/step", size=size)


def in_numpy(truth: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], forecast: npt.NDArray[np.float32]) -> Any:
    """The counts and sums of :func:`hko7env.scores.tally`, without what the extra ``fast`` compiles."""
    counter = NumpyCounter()
    return [count_frame(truth[k], mask[k], forecast[k], k, HKO7, counter) for k in range(len(truth))]


def plain_scores(
    truth: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], forecast: npt.NDArray[np.float32]
) -> tuple[Any, ...]:
    """The reference: the sums of :func:`hko7env.scores.tally`, vectorised over the step in the straightforward way.

    Args:
        truth: (K, H, W) uint8 levels.
        mask: (K, H, W) bool, True = scored.
        forecast: (K, H, W) float32 pixels.

    Returns:
        Counts (hits, misses, false alarms, correct negatives), each (K,), of each threshold, then four error sums (K,).
    """
    pixel = truth.astype(np.float32) / 255
    counts = []
    for threshold in HKO7.threshold_pixels.astype(np.float32):
        observed, expected = (pixel >= threshold) & mask, (forecast >= threshold) & mask
        hits = np.count_nonzero(observed & expected, axis=(1, 2))
        misses = np.count_nonzero(observed, axis=(1, 2)) - hits
        false_alarms = np.count_nonzero(expected, axis=(1, 2)) - hits
        counts.append((hits, misses, false_alarms, np.count_nonzero(mask, axis=(1, 2)) - hits - misses - false_alarms))
    error = (forecast - pixel) * mask
    weight = HKO7.weights[truth]
    squared, absolute = error**2, np.abs(error)
    sums = [s.sum(axis=(1, 2), dtype=np.float64) for s in (squared, absolute, weight * squared, weight * absolute)]
    return (*counts, *sums)
