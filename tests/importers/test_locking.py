"""The archive is locked for the whole of an import."""

import os
import threading
from contextlib import contextmanager

import pytest

from hko7env.archive import Archive
from hko7env.importers import import_radar
from hko7env.importers.formats.fmi import FORMAT, FinnishComposite
from hko7env.locking import LockedError, sole_writer


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    monkeypatch.setattr("hko7env.locking.WAIT_SECONDS", 0.05)


@contextmanager
def another_writer(archive):
    """Hold the lock of ``archive`` in another thread."""
    held, done = threading.Event(), threading.Event()

    def hold():
        with sole_writer(archive):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_second_import_is_told_who_writes_before_it_reads_anything(finland, tmp_path, monkeypatch):
    monkeypatch.setattr(FinnishComposite, "time_of", lambda *_: pytest.fail("a file was looked at"))
    with (
        another_writer(tmp_path / "a.zarr"),
        pytest.raises(LockedError, match=rf"a\.zarr is being written by process {os.getpid()} on .* since 2"),
    ):
        import_radar("fmi", finland, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_nobody_else_can_write_until_an_import_ends(finland, tmp_path):
    """Each step of an import is tried: looking for files, the grid, decoding, and the masks after the last frame."""
    refused = []

    def attempt(step):
        def other():
            try:
                with sole_writer(tmp_path / "a.zarr"):
                    pass
            except LockedError:
                refused.append(step)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    class Watched(FinnishComposite):
        def sources(self, source):
            attempt("sources")
            return super().sources(source)

        def grid(self, path):
            attempt("grid")
            return super().grid(path)

        def read(self, path):
            attempt("read")
            return super().read(path)

        def union_of_masks(self, source, report):
            attempt("masks")

    archive, _ = import_radar(Watched(), finland, tmp_path / "a.zarr")
    assert refused == ["sources", "grid", "read", "read", "masks"]
    with another_writer(tmp_path / "a.zarr"):
        assert len(Archive(archive.name)) == 2, "the lock is released, and reading needs none"


def test_an_import_that_fails_releases_the_lock(finland, tmp_path):
    next(finland.iterdir()).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        import_radar(FORMAT, finland, tmp_path / "a.zarr")
    with another_writer(tmp_path / "a.zarr"):
        pass


def test_lock_files_beside_the_archive_are_not_imported(finland):
    for _ in range(2):
        archive, problems = import_radar("fmi", finland, finland / "a.zarr")
    assert (problems, len(archive)) == ([], 2)
