"""The compiled twin of :class:`hko7env.counting.NumpyCounter`, for the extra ``fast``: the same arrays, sooner.

Its float32 operations are those of the numpy code, element by element, without any reordering. No float is summed here,
so that no score depends on whether numba is installed or on the instructions that a compiler chooses.
"""

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from hko7env.block_counter import MOST_SELECTED, WORD, Block, BlockCounter, Errors
from hko7env.forecast import check_range
from hko7env.units import ZR


class CompiledCounter:
    """Counts blocks of locations as :class:`~hko7env.block_counter.BlockCounter` says.

    Args:
        size: The largest number of locations of a block.
        steps: (5,) uint8 increments of the weight at each threshold.
        other: Counts the blocks that are not whole words.
    """

    def __init__(self, size: int, steps: npt.NDArray[np.uint8], other: BlockCounter) -> None:
        self._steps, self._other = steps, other
        self._words = np.empty(size // WORD, np.uint64)
        self._flags, *self._bytes = (np.empty(size, np.uint8) for _ in range(5))
        self._error, *self._floats = (np.empty(size, np.float32) for _ in range(4))

    def count(self, counts: npt.NDArray[np.int64], block: Block, lead: int, zr: ZR) -> Errors:
        """Count one block; see :class:`~hko7env.block_counter.BlockCounter`."""
        if len(block[0]) % WORD:
            return self._other.count(counts, block, lead, zr)
        select_echo, count_events = compiled_passes()
        t, m, f = block[0], block[1].view(np.uint8), block[2]
        (t2, t3, m2, m3), (f2, f3, at_events) = self._bytes, self._floats
        n = select_echo(t, m, f, self._words, self._flags, t2, m2, f2)
        if n < 0:
            check_range(f, lead)
        if n < len(t):
            t, m, f = t2[:n], m2[:n], f2[:n]
        limits = zr.threshold_levels, zr.threshold_pixels.astype(np.float32), self._steps
        events = count_events(t, m, f, *limits, counts, self._words, self._flags, t3, m3, f3, self._error, at_events)
        return self._error[:n], at_events[:events], f3[:events]


@functools.cache
def compiled_passes() -> tuple[Any, Any]:
    """Compile both passes, two to three seconds' work, or load what an earlier process has compiled."""
    bytes_read, floats_read, levels = (
        _array(kind, readonly=True) for kind in (numba.uint8, numba.float32, numba.int64)
    )
    words, flags, floats = (_array(kind) for kind in (numba.uint64, numba.uint8, numba.float32))
    block = (bytes_read, bytes_read, floats_read)
    select_echo = numba.int64(*block, words, flags, flags, flags, floats)
    counts = (levels, floats_read, bytes_read, numba.types.Array(numba.int64, 2, "C"), words)
    count_events = numba.int64(*block, *counts, flags, flags, flags, floats, floats, floats)
    return _compiled(_select_echo, select_echo), _compiled(_count_events, count_events)


def _array(kind: Any, readonly: bool = False) -> Any:
    return numba.types.Array(kind, 1, "C", readonly=readonly)


def _compiled(function: Any, signature: Any) -> Any:
    try:
        return numba.njit(signature, cache=True, nogil=True)(function)
    except RuntimeError:  # numba finds no writable folder to keep it in: the next process compiles again
        return numba.njit(signature, nogil=True)(function)


@numba.njit(inline="always")
def _select(flags: Any, n: int, words: Any) -> int:
    """Write the indices of the words of ``flags[:n]`` with a flag to ``words``, or all if that is most of them."""
    groups, found = flags.view(np.uint64), 0
    for word in range(n // WORD):
        words[found] = word
        found += groups[word] != 0
    if found * WORD > MOST_SELECTED * n:
        found = n // WORD
        for word in range(found):
            words[word] = word
    return found


@numba.njit
def _take_bytes(words: Any, found: int, source: Any, taken: Any) -> None:
    """Copy the selected words of eight bytes."""
    a, b = source.view(np.uint64), taken.view(np.uint64)
    for j in range(np.uint64(found)):
        b[j] = a[words[j]]


@numba.njit
def _take_floats(words: Any, found: int, source: Any, taken: Any) -> None:
    """Copy the float32 values of the selected words, two at a time."""
    a, b = source.view(np.uint64), taken.view(np.uint64)
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    for j in range(np.uint64(found)):
        there, here = words[j] * four, j * four
        b[here], b[here + one] = a[there], a[there + one]
        b[here + two], b[here + three] = a[there + two], a[there + three]


@numba.njit
def _count_threshold(t: Any, f: Any, extra: Any, below: Any, edge: Any, step: Any) -> Any:
    """Count hits, observed and expected events, and add the step of the weight where one is observed."""
    hits, observed, expected = np.int32(0), np.int32(0), np.int32(0)
    for i in range(extra.size):
        o, e = t[i] > below, f[i] >= edge
        hits = np.int32(hits + np.int32(o & e))  # 32 bits, of which vector instructions hold twice as many
        observed = np.int32(observed + np.int32(o))
        expected = np.int32(expected + np.int32(e))
    for i in range(extra.size):
        extra[i] = np.uint8(extra[i] + np.uint8(t[i] > below) * step)
    return np.int64(hits), np.int64(observed), np.int64(expected)


def _select_echo(t: Any, m: Any, f: Any, words: Any, flags: Any, t2: Any, m2: Any, f2: Any) -> Any:
    """Copy the words with an echo of truth, mask and forecast, unless all are selected.

    Returns:
        The number of locations selected, or -1 if the forecast includes NaN or a value outside [0, 1].
    """
    invalid = np.int32(0)
    for i in range(t.size):
        invalid = np.int32(invalid + np.int32(not ((f[i] >= np.float32(0)) & (f[i] <= np.float32(1)))))
        flags[i] = np.uint8(t[i] != 0) | np.uint8(f[i] != 0)
    if invalid:
        return -1
    found = _select(flags, t.size, words)
    if found * WORD < t.size:
        _take_bytes(words, found, t, t2)
        _take_bytes(words, found, m, m2)
        _take_floats(words, found, f, f2)
    return found * WORD


def _count_events(
    t: Any,
    m: Any,
    f: Any,
    levels: Any,
    edges: Any,
    steps: Any,
    counts: Any,
    words: Any,
    flags: Any,
    t2: Any,
    m2: Any,
    f2: Any,
    error: Any,
    at_events: Any,
) -> Any:
    """Count one block in small loops of few arrays each, which compilers turn into vector instructions."""
    for i in range(t.size):
        error[i] = (f[i] - np.float32(t[i]) / np.float32(255)) * np.float32(m[i])
    lowest, edge = np.int32(levels[0]), edges[0]
    for i in range(t.size):
        flags[i] = np.uint8(np.int32(t[i]) >= lowest) | np.uint8(f[i] >= edge)
    found = _select(flags, t.size, words)
    _take_bytes(words, found, t, t2)
    _take_bytes(words, found, m, m2)
    _take_floats(words, found, f, f2)
    _take_floats(words, found, error, at_events)
    events = WORD * found
    extra = flags[:events]
    for i in range(events):
        f2[i] = f2[i] if m2[i] else np.float32(0)
    for i in range(events):
        t2[i] = t2[i] if m2[i] else np.uint8(0)
    for i in range(events):
        extra[i] = 0
    for j in range(levels.size):
        hits, observed, expected = _count_threshold(t2, f2, extra, np.uint8(levels[j] - 1), edges[j], steps[j])
        counts[0, j] += hits
        counts[1, j] += observed - hits
        counts[2, j] += expected - hits
    for i in range(events):
        f2[i] = np.float32(extra[i]) * at_events[i]
    return events
