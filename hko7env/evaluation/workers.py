"""Worker processes of an evaluation: run jobs side by side, stop all if one fails, and say why it failed."""

import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from hko7env.allocator import keep_freed_memory
from hko7env.evaluation.journal import RunError

_POLL_SECONDS = 0.1


def run_processes(jobs: Sequence[Callable[[], Any]], poll: Callable[[], None]) -> None:
    """Run each job in a process of its own until all are done.

    Args:
        jobs: Picklable functions. A job should end itself when :func:`is_orphan` becomes true.
        poll: Called about ten times a second while the jobs run, and once at the end.

    Raises:
        RunError: If a job fails; the message holds its error. The other jobs are terminated, also by any exception
            here, such as KeyboardInterrupt.
    """
    context = multiprocessing.get_context("spawn")  # fork is unsafe once torch has threads
    pipes = [context.Pipe(duplex=False) for _ in jobs]
    processes = [
        context.Process(target=_run_job, args=(job, sender), daemon=True)
        for job, (_, sender) in zip(jobs, pipes, strict=True)
    ]
    try:
        # Workers start with interrupts blocked, so that their imports are not interrupted: the parent stops them.
        resource_tracker.ensure_running()  # which unblocks interrupts itself when it starts
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for process in processes:
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        while any(process.is_alive() for process in processes):
            time.sleep(_POLL_SECONDS)
            poll()
            if any(process.exitcode for process in processes):
                break
        for process, (receiver, _) in zip(processes, pipes, strict=True):
            if process.exitcode:
                said = receiver.recv() if receiver.poll() else "killed, or its machine ran out of memory"
                raise RunError(f"a worker stopped with exit code {process.exitcode}: {said}")
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
        for receiver, sender in pipes:
            receiver.close()
            sender.close()
    poll()


def is_orphan() -> bool:
    """Whether this is a worker process whose parent has died."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _run_job(job: Callable[[], Any], errors: Connection) -> None:
    keep_freed_memory()
    try:
        job()
    except Exception as error:
        errors.send("".join(traceback.format_exception_only(error)).strip().replace("\n", ", "))  # with its notes
        raise
