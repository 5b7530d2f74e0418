"""How the C library handles freed memory, which costs networks on a CPU up to a third of their time."""

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_SETTINGS = {_M_MMAP_THRESHOLD: 1 << 30, _M_TRIM_THRESHOLD: (1 << 31) - 1, _M_TOP_PAD: 1 << 28}  # bytes


def keep_freed_memory() -> bool:
    """Make this process keep freed blocks below 1 GiB for its next allocations.

    By default glibc returns them to the kernel, which clears every page again when the next block is taken. A network
    takes and frees hundreds of megabytes in each step. The process then stays as large as its largest step was; no
    result depends on it.

    Returns:
        Whether the C library takes these settings: glibc does, others are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    taken = [mallopt(name, value) == 1 for name, value in _SETTINGS.items()]
    return all(taken)
