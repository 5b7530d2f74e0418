import asyncio
import dataclasses
import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from hko7env.archive import create
from hko7env.synthetic import EpisodeSpec, make

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def unsynced():
    """Files need not reach the disk, only the other processes of a test; a test of a full disk patches it anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def unthreaded():
    """Reading and decoding a file on zarr's event loop itself: for files so small another thread costs more."""

    async def call(function, *arguments, **options):
        return function(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "to_thread", call)
        yield


@pytest.fixture(scope="session")
def shared():
    if not SHARED.exists():
        pytest.skip(f"{SHARED} (real radar and official lists) is not here")
    return SHARED


SMALL = (
    EpisodeSpec("train", "2013-06-10T00:00", 40),
    EpisodeSpec("test", "2015-05-20T00:00", 60, missing=(7, 30, 31)),
    EpisodeSpec("test", "2015-07-09T00:00", 45),
)


@pytest.fixture(scope="session")
def make_once(tmp_path_factory):
    """Make an archive for all processes of pytest-xdist: make_once(name, **make's arguments) is its path."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def build(name, **arguments):
        path = folder / "archives" / name / f"{name}.zarr"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.with_suffix(".whole").exists():
                make(path, **arguments)
                path.with_suffix(".whole").touch()
        return path

    return build


@pytest.fixture(scope="session")
def small_archive(make_once):
    """A synthetic archive of 48 x 64 frames: two test episodes of 8 and 5 sequences, with missing frames."""
    return make_once("small", shape=(48, 64), weather=SMALL)


@pytest.fixture(scope="session")
def ninety_archive(make_once):
    """Path of an archive of 90 x 90 px synthetic rain with splits train, valid and test."""
    weather = (
        EpisodeSpec("train", "2013-06-10T00:00", 60, missing=(9, 30, 31, 32)),
        EpisodeSpec("valid", "2014-05-20T00:00", 40),
        EpisodeSpec("test", "2015-05-20T00:00", 35),
    )
    return make_once("ninety", shape=(90, 90), weather=weather)


@pytest.fixture(scope="session")
def unseen_rain(make_once):
    """Path of an archive of 240 x 240 px of a place and a year that no training has seen."""
    return make_once("unseen", shape=(240, 240), weather=(EpisodeSpec("test", "2016-06-10T00:00", 60),), seed=11)


@pytest.fixture
def new_archive(tmp_path):
    """Make an archive of given frames at given times: new_archive(times, frames, **create's arguments)."""

    def build(times, frames, name="some.zarr", **arguments):
        archive = create(str(tmp_path / name), shape=frames.shape[1:], **arguments)
        archive.append(times, frames)
        return archive

    return build


@pytest.fixture
def one_thread():
    """Torch on one thread: sums in one order, and no fight over the processor."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def narrow(monkeypatch):
    """Networks as small as can be, for laws of what agents and trainings do with them."""
    from agents.networks.paper_tables import narrow_table
    from agents.networks.registry import NETWORKS

    widths = {"conv2d": (4,), "conv3d": (2,), "convgru": (2, 2, 3, 3), "trajgru": (2, 2, 3, 3)}
    for name, spec in NETWORKS.items():
        small = narrow_table(spec.full, widths[name], links=2)
        monkeypatch.setitem(NETWORKS, name, dataclasses.replace(spec, small=small))


@contextmanager
def local_cluster(**options):
    """Address of a local dask cluster of two workers, or None where dask is not installed."""
    try:
        from distributed import LocalCluster
    except ImportError:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dask's own making
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, **options) as local:
            yield local.scheduler_address


@pytest.fixture
def cluster():
    """A dask cluster of two threads, which need little time to start; all messages are pickled and go over TCP.

    It is there for one test only: its threads draw from the module ``random``, whose state hypothesis watches.
    """
    with local_cluster(processes=False, protocol="tcp", host="127.0.0.1") as address:
        yield address


@pytest.fixture
def cluster_of_processes():
    """A dask cluster whose workers can be killed; it takes the time of two processes while it is there."""
    with local_cluster() as address:
        yield address
