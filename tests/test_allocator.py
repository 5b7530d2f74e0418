"""Freed memory is kept: counted in page faults, not in time."""

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
from hko7env.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"x" * 40_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
assert keep_freed_memory()
faults()  # takes the memory that it then keeps
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes the settings")
def test_blocks_are_cleared_by_the_kernel_only_once():
    run = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    before, after = map(int, run.stdout.split())
    assert before > 1000
    assert after < before / 20


def test_other_c_libraries_are_left_alone(monkeypatch):
    from hko7env import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
