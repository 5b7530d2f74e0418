"""One pass of the last-frame agent over a test split of HKO-7's size, compared with PNG frames and plain numpy."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from hko7env import progress
from hko7env.archive import Archive, create
from hko7env.archive.format import minutes
from hko7env.loading import load
from hko7env.runner import run
from hko7env.schedule import schedule
from hko7env.synthetic import cache_folder
from hko7env.synthetic import full_size_archive as source_archive

from .scores import plain_scores
from .stream import PlainFiles
from .timing import Line, compare, line, peak_memory


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """6053 sequences over 31,350 frames; the archive is made once, in the cache folder."""
    env: Any = gymnasium.make("HKO7-Online-v0", archive=str(full_size_archive())).unwrapped
    count = len(env.schedule)
    memory = []

    def watch(index: int) -> None:
        if index % (count // 4) == count // 8:
            memory.append(peak_memory())
        bar.update()

    agent = load("agents.last_frame", env.task)
    start = time.perf_counter()
    with progress.bar(count, "pass", "seq") as bar:
        total = run(env, agent, after=watch)
    seconds = (time.perf_counter() - start) / total.sequences
    plain = _time_plain_pass(env, args.rounds)
    name = f"pass/last frame, {total.sequences} sequences, {len(env.archive)} frames"
    growth = {"peak memory late to early": round(memory[-1] / memory[0], 3)}
    yield line(name, seconds, "ms/sequence", seconds / plain, memory[-1], **growth)
    yield line("pass/PNG and plain numpy", plain, "ms/sequence", 1)


def _time_plain_pass(env: Any, rounds: int) -> float:
    """Median seconds a sequence of the reference: 25 PNG frames and 20 masks read, then scored by plain numpy."""
    with TemporaryDirectory() as folder:
        files = PlainFiles(Path(folder), env.archive.frames(0, 25), env.task.scored)

        def step() -> None:
            frames = np.stack([files.frame(i) for i in range(25)])
            masks = np.stack([files.mask(i) for i in range(5, 25)])
            forecast = np.repeat((frames[4:5] / np.float32(255)).astype(np.float32), 20, axis=0)
            plain_scores(frames[5:], masks, forecast)

        return compare({"step": step}, rounds)["step"]


def full_size_archive() -> Path:
    """Path of an archive with the times of HKO-7's test split, made on first use from frames of the preset two-days."""
    path = cache_folder() / "benchmark-31350.zarr"
    source = Archive(str(source_archive()))
    times = pass_times()
    if not path.exists():
        create(str(path), shape=source.shape, mask=source.mask, source="frames of the preset two-days, repeated")
    archive = Archive(str(path), writable=True)
    with progress.bar(len(times), "making the archive", "frame", done=len(archive)) as bar:
        while len(archive) < len(times):
            start = len(archive)
            n = min(240, len(times) - start)
            begin = start % (len(source) - 240)
            archive.append(times[start : start + n], source.frames(begin, begin + n))
            bar.update(n)
    return path


def pass_times() -> npt.NDArray[np.int64]:
    """(31350,) minutes in the pattern of HKO-7's test list: 131 days in 53 runs, three outages, single missing frames.

    Their schedule has 6053 sequences in 56 episodes, as that of HKO-7's list.
    """
    runs = [3] * 25 + [2] * 28
    starts = np.cumsum([0, *(length + 2 for length in runs[:-1])])
    days = np.concatenate([start + np.arange(length) for start, length in zip(starts, runs, strict=True)])
    times = minutes("2015-01-01T00:00") + (1440 * days[:, None] + 6 * np.arange(240)).reshape(-1)
    outages = [np.arange(5) + 3815, np.arange(7) + 12119, np.arange(45) + 20069]
    single = np.arange(33) * 900 + 700
    kept = np.delete(times, np.concatenate([*outages, single]))
    walk = schedule(kept)
    assert (len(kept), len(walk), len(walk.episode_starts)) == (31_350, 6053, 56)
    return kept
