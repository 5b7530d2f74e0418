"""A limit of memory for tests of files that claim to be large."""

import re
import resource
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20


@contextmanager
def limited_memory():
    """512 MiB beyond what the process holds: enough for every frame, but for no bomb."""
    held = resource.getrlimit(resource.RLIMIT_AS)
    size = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (size + 512 * MIB, held[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, held)
