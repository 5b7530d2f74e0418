"""A live run: memory over 5,000 steps, time from a frame's arrival to its forecast, and tallies after kill -9.

Frames come from ``--archive``, or the synthetic archive. Memory is measured on frames of 16 x 16 px, latency on whole
frames, and the kills on a short day of frames cut to 96 x 96 px, fed by a process of its own, which is killed as well.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive, create
from hko7env.evaluation.run_folder import RunFolder
from hko7env.live_run.agent_run import FORECASTS, folders
from hko7env.live_run.health import memory, percentiles
from hko7env.live_run.log import read_log
from hko7env.live_run.service import LiveOptions, LivePlan, serve
from hko7env.live_run.steps import STEPS
from hko7env.schedule import INPUTS
from hko7env.synthetic import default_archive

from .timing import Line

LEARNER = "agents.calibrated_flow"
AGENTS = ("agents.last_frame", "agents.rover", LEARNER)
EARLY, LATE = 500, 5000  # steps
LATENCY_STEPS, SHORT_DAY, CUT = 20, 120, 96
SHARE_OF_KILLS = (0.75, 0.9, 1.0)  # of live, the feeder and live-results


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Memory, latency of ROVER and the calibrated flow, and ``--rounds`` days with kills."""
    source = Archive((args.archive or [str(default_archive())])[0])
    with TemporaryDirectory() as folder:
        yield measure_memory(Path(folder))
        for agent in AGENTS[1:]:
            yield measure_latency(source, agent, Path(folder) / agent)
        yield from measure_kills(source, args.rounds, Path(folder))


class _Feed:
    """Appends frames whenever the live run waits, and ends the run when there are none left."""

    def __init__(self, path: Path, frames: npt.NDArray[np.uint8], cadence: int, at_once: int) -> None:
        self.archive = create(str(path), shape=frames.shape[1:], cadence=cadence)
        self.frames, self.cadence, self.at_once, self.over = frames, cadence, at_once, False
        self.count = LATE * INPUTS
        self.sleep(0)

    def sleep(self, seconds: float) -> None:
        first = len(self.archive)
        stop = min(first + self.at_once, self.count)
        self.over = first == stop
        if not self.over:
            chosen = np.arange(first, stop)
            self.archive.append(self.cadence * chosen, self.frames[chosen % len(self.frames)])
        time.sleep(seconds)


def measure_memory(folder: Path) -> Line:
    """Memory of a live run of two agents after 500 and 5,000 steps of tiny frames."""
    frames = np.random.default_rng(0).integers(0, 256, (200, 16, 16), np.uint8)
    feed = _Feed(folder / "tiny.zarr", frames, 6, 5 * INPUTS)
    held: dict[int, int] = {}

    def stopped() -> bool:
        steps = sum(1 for _ in (folder / "memory/steps.jsonl").open()) if (folder / "memory").exists() else 0
        for mark in (EARLY, LATE):
            if steps >= mark:
                held.setdefault(mark, memory())
        return feed.over

    agents: dict[str, dict[str, Any]] = {"agents.last_frame": {}, LEARNER: {}}
    plan = LivePlan(agents, str(folder / "tiny.zarr"), options=LiveOptions(formats="none", poll=0.001))
    serve(plan, folder / "memory", stopped=stopped, sleep=feed.sleep)
    ratio = held[LATE] / held[EARLY]
    return {"name": f"live/memory after {LATE} steps", "bytes": held[LATE], "early": held[EARLY], "ratio": round(ratio, 4)}


def measure_latency(source: Archive, agent: str, folder: Path) -> Line:
    """Seconds from the commit of a segment's last frame to the written netCDF and zarr files of its forecast."""
    folder.mkdir(parents=True)
    frames = source.frames(0, min(len(source), LATENCY_STEPS * INPUTS))
    feed = _Feed(folder / "whole.zarr", frames, source.cadence, 1)
    feed.count = len(frames)
    plan = LivePlan({agent: {}}, str(folder / "whole.zarr"), options=LiveOptions())
    used = time.process_time()
    serve(plan, folder / "live", stopped=lambda: feed.over, sleep=feed.sleep)
    used = time.process_time() - used
    (run,) = folders(folder / "live")
    seconds = [float(row["latency"]) for row in read_log(run / FORECASTS)]
    found = percentiles(seconds[1:]) or {}  # the first one waits for libraries to be loaded
    shape = "x".join(map(str, source.shape))
    return {
        "name": f"live/{agent}, {shape}: seconds from arrival to forecast",
        **found,
        "steps": len(seconds),
        "processor_seconds_per_step": round(used / len(seconds), 3),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def measure_kills(source: Archive, repetitions: int, folder: Path) -> Iterator[Line]:
    """Days whose processes are killed at random moments, compared with a day without."""
    top, left = ((size - CUT) // 2 for size in source.shape)
    day = folder / "day.zarr"
    frames = source.frames(0, min(SHORT_DAY, len(source)))[:, max(0, top) : top + CUT, max(0, left) : left + CUT]
    create(str(day), shape=frames.shape[1:], cadence=source.cadence).append(
        source.times[: len(frames)], np.ascontiguousarray(frames), source.status[: len(frames)]
    )
    whole = folder / "unbroken"
    _finish(day, whole)
    expected = _records(whole)
    for repetition in range(repetitions):
        out = folder / f"kills{repetition}"
        kills = _broken_day(day, out, np.random.default_rng(repetition))
        same = {agent: _equal(rows, expected[agent]) for agent, rows in _records(out).items()}
        yield {
            "name": f"live/kills {repetition + 1} of {repetitions}",
            **kills,
            "scored": {agent: len(rows) for agent, rows in expected.items()},
            "tallies_equal": sorted(same) == sorted(expected) and all(same.values()),
        }


def _live(growing: Path, out: Path, timeout: float) -> list[str]:
    words = [sys.executable, "-m", "hko7env", "live", *AGENTS, "--archive", str(growing), "--out", str(out / "live")]
    return [*words, "--timeout", str(timeout), "--formats", "zarr"]


def _finish(day: Path, out: Path) -> None:
    """Run what is left of a day without any kill."""
    out.mkdir(exist_ok=True)
    subprocess.run(_feeder(day, out / "growing.zarr", 0.0), check=True)
    subprocess.run(_live(out / "growing.zarr", out, 0.0), check=True, stdout=subprocess.DEVNULL)


def _broken_day(day: Path, out: Path, rng: np.random.Generator) -> dict[str, int]:
    """A day during which live, the feeder and live-results are killed at random moments and begun again."""
    out.mkdir()
    growing = out / "growing.zarr"
    commands = {
        "live": _live(growing, out, 600.0),
        "feeder": _feeder(day, growing, 0.4),
        "live-results": [sys.executable, "-m", "hko7env", "live-results", str(out / "live"), "--out", str(out / "results")],
    }
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = {name: subprocess.Popen(words, **silent) for name, words in commands.items()}
    kills = dict.fromkeys(commands, 0)
    while running["feeder"].poll() != 0:
        time.sleep(float(rng.uniform(0.5, 12.0)))
        victim = tuple(commands)[int(np.searchsorted(SHARE_OF_KILLS, rng.random()))]
        if running[victim].poll() is None:
            running[victim].kill()
            kills[victim] += 1
        running[victim].wait()
        for name, process in running.items():
            if process.poll() not in (None, 0) or name == "live-results":
                process.wait()
                running[name] = subprocess.Popen(commands[name], **silent)
    for process in running.values():
        process.kill()
        process.wait()
    done = sum(1 for _ in read_log(out / "live" / STEPS))
    _finish(day, out)
    return {"kills": sum(kills.values()), **kills, "steps_before_the_last_kill": done}


def _feeder(day: Path, growing: Path, seconds: float) -> list[str]:
    """The words of a process that appends the frames of ``day``, one every ``seconds``, from where another stopped."""
    return [sys.executable, "-c", _FEEDER, str(day), str(growing), str(seconds)]


_FEEDER = """
import sys, time
from pathlib import Path
from hko7env.archive import Archive, create
day, growing, seconds = Archive(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if Path(growing).exists():
    out = Archive(growing, writable=True)
else:
    out = create(growing, shape=day.shape, cadence=day.cadence, mask=day.mask, zr=day.zr)
for i in range(len(out), len(day)):
    out.append(day.times[i : i + 1], day.frames(i, i + 1), day.status[i : i + 1])
    time.sleep(seconds)
"""


def _records(out: Path) -> dict[str, npt.NDArray[Any]]:
    """The records of each agent by its name, in the order of steps."""
    found = {}
    for path in folders(out / "live"):
        folder = RunFolder.open(path)
        rows = folder.records()
        found[str(folder.identity["agent"])] = rows[np.argsort(rows["index"])]
    return found


def _equal(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two runs have the same steps, none twice, with the same tallies."""
    names: Sequence[str] = ("index", "counts", "sums")
    return len(one) == len(other) and all(np.array_equal(one[name], other[name]) for name in names)
