"""Jobs of an evaluation on a dask cluster, whose scheduler starts jobs of dead workers again."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from hko7env.env import NowcastingEnv
from hko7env.evaluation.jobs import Failure, Job, attempt_job
from hko7env.evaluation.plan import open_folder
from hko7env.evaluation.run_folder import read_json
from hko7env.evaluation.workers import DeadWorkerError

_PAUSE = 0.05  # seconds


class ClusterWorkers:
    """The workers of a dask cluster, with the methods of :class:`~hko7env.evaluation.workers.LocalWorkers`.

    Every machine must see the same files. A worker goes to the folder in which the command was given, so relative paths
    and agents of the user's own are found there too.

    Args:
        client: A connected ``distributed.Client``.

    Attributes:
        size: Number of jobs that the cluster runs at once, at present.
        pending: Number of jobs whose results have not been collected.
    """

    def __init__(self, client: Any) -> None:
        from distributed import as_completed

        self.size, self.pending = max(1, sum(client.nthreads().values())), 0
        self._client = client
        self._jobs: dict[Any, Job] = {}
        self._done = as_completed(loop=client.loop)

    def __enter__(self) -> "ClusterWorkers":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.cancel(list(self._jobs))

    def submit(self, job: Job, priority: int) -> None:
        """Queue a job; those of small ``priority`` begin first."""
        future = self._client.submit(attempt_there, job, str(Path.cwd()), pure=False, priority=-priority)
        self._jobs[future] = job
        self._done.add(future)
        self.pending += 1

    def collect(self, timeout: float) -> list[tuple[Job, Any]]:
        """Wait for results, ``timeout`` seconds at most; pairs of a job and its result or DeadWorkerError."""
        until = time.monotonic() + timeout
        while not self._done.has_ready() and time.monotonic() < until:
            time.sleep(_PAUSE)
        if not self._done.has_ready():
            return []
        collected = [(self._jobs.pop(future), _result(future)) for future in self._done.next_batch(block=False)]
        self.pending -= len(collected)
        return collected


def _result(future: Any) -> Any:
    if future.cancelled():
        return DeadWorkerError("the connection to the scheduler was lost")
    error = future.exception()
    return DeadWorkerError(f"{type(error).__name__}: {error}") if error else future.result()


def attempt_there(job: Job, folder: str) -> bool | Failure:
    """Run a job on a worker of a cluster.

    Args:
        job: The job.
        folder: The folder in which the command was given.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        return Failure(f"{socket.gethostname()} has no folder {folder} ({error.strerror}): all machines need one disk")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        env = job.plan.environment()
        if different := _differences(job, env):
            return Failure(
                f"on {socket.gethostname()} it would be another run, as {', '.join(different)} differ: install the "
                "same versions there"
            )
    except (ValueError, OSError) as error:
        return Failure(f"on {socket.gethostname()}: {error}")
    return attempt_job(job, env)


def _differences(job: Job, env: NowcastingEnv) -> list[str]:
    """What of the run's identity is different here, such as its code."""
    here = open_folder(job.plan, env, job.count, job.work.folder.parent)
    if here.run == job.work.run:
        return []
    there = read_json(job.work.folder / "config.json", "run it again")["identity"]
    return sorted(name for name, value in here.identity.items() if there.get(name) != value)
