"""How many workers there are by default."""

import os

import pytest

from hko7env import parallel


@pytest.mark.parametrize(
    "quota, cores", [(None, 6), ("max 100000", 6), ("250000 100000", 2), ("20000 100000", 1), ("1600000 100000", 6)]
)
def test_usable_cores_heed_affinity_and_the_quota_of_a_container(tmp_path, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(parallel, "QUOTA", tmp_path / "cpu.max")
    if quota:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert parallel.usable_cores() == cores
