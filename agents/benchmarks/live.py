"""A live run: memory over 5,000 steps, time from a frame's arrival to its forecast, and tallies after kill -9.

Frames come from ``--archive``, or the synthetic archive. Memory is measured on frames of 16 x 16 px, latency on whole
frames, and the kills on a short day of frames cut to 96 x 96 px, fed by a process of its own, which is killed as well.
"""

import argparse
import os
import shutil
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
from hko7env.synthetic import full_size_archive

from .timing import Line

LEARNER = "agents.calibrated_flow"
AGENTS = ("agents.last_frame", "agents.rover", LEARNER)
EARLY, LATE = 500, 5000  # steps
LATENCY_STEPS, SHORT_DAY = 20, 120  # steps, files
WINDOW = ("192", "192", "96", "96")
SPEED = "900"  # a frame every 0.4 s if they are 6 min apart
SHARE_OF_KILLS = (0.6, 0.2, 0.1, 0.1)  # of live, watch, replay and live-results


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Memory, latency of ROVER and the calibrated flow and, with ``--files``, ``--rounds`` days with kills."""
    source = Archive((args.archive or [str(full_size_archive())])[0])
    with TemporaryDirectory() as folder:
        yield measure_memory(Path(folder))
        for agent in AGENTS[1:]:
            yield measure_latency(source, agent, Path(folder) / agent)
        if args.files:
            yield from measure_kills(args.files[0], Path(args.files[1]), args.rounds, Path(folder))


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
    log = folder / "memory" / STEPS

    def stopped() -> bool:
        steps = log.read_bytes().count(b"\n") if log.exists() else 0
        for mark in (EARLY, LATE):
            if steps >= mark:
                held.setdefault(mark, memory())
        return feed.over

    agents: dict[str, dict[str, Any]] = {"agents.last_frame": {}, LEARNER: {}}
    plan = LivePlan(agents, str(folder / "tiny.zarr"), options=LiveOptions(formats="none", poll=0.001))
    serve(plan, folder / "memory", stopped=stopped, sleep=feed.sleep)
    ratio = held[LATE] / held[EARLY]
    return {
        "name": f"live/memory after {LATE} steps",
        "bytes": held[LATE],
        "early": held[EARLY],
        "ratio": round(ratio, 4),
    }


def measure_latency(source: Archive, agent: str, folder: Path) -> Line:
    """Seconds from the commit of a segment's last frame to the written netCDF and zarr files of its forecast."""
    folder.mkdir(parents=True)
    frames = source.frames(0, min(len(source), LATENCY_STEPS * INPUTS))
    feed = _Feed(folder / "whole.zarr", frames, source.cadence, 1)
    feed.count = len(frames)
    plan = LivePlan({agent: {}}, str(folder / "whole.zarr"), options=LiveOptions())
    begun: list[float] = []

    def stopped() -> bool:
        if len(feed.archive) > INPUTS and not begun:  # libraries are loaded, and the first forecast is written
            begun.append(time.process_time())
        return feed.over

    serve(plan, folder / "live", stopped=stopped, sleep=feed.sleep)
    used = time.process_time() - begun[0]
    (run,) = folders(folder / "live")
    seconds = [float(row["latency"]) for row in read_log(run / FORECASTS) if "latency" in row]
    found = percentiles(seconds[1:]) or {}  # the first one waits for libraries to be loaded
    shape = "x".join(map(str, source.shape))
    return {
        "name": f"live/{agent}, {shape}: seconds from arrival to forecast",
        **found,
        "steps": len(seconds),
        "processor_seconds_per_step": round(used / (len(seconds) - 1), 3),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def measure_kills(form: str, files: Path, repetitions: int, folder: Path) -> Iterator[Line]:
    """Days whose processes are killed at random moments, compared with a day without kills."""
    day = folder / "day"
    for file in sorted(file for file in files.rglob("*") if file.is_file())[:SHORT_DAY]:
        copy = day / file.relative_to(files)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    whole = _Day(form, day, folder / "unbroken")
    shutil.copytree(day, whole.drop)
    whole.finish()
    expected = whole.records()
    for repetition in range(repetitions):
        broken = _Day(form, day, folder / f"kills{repetition}")
        kills = broken.run_with_kills(np.random.default_rng(repetition))
        broken.finish()
        found = broken.records()
        same = {agent: _equal(rows, expected[agent]) for agent, rows in found.items()}
        yield {
            "name": f"live/kills {repetition + 1} of {repetitions}",
            **kills,
            "scored": {agent: len(rows) for agent, rows in found.items()},
            "tallies_equal": sorted(same) == sorted(expected) and all(same.values()),
        }
        shutil.rmtree(broken.out)


class _Day:
    """A day of files that are replayed, watched, forecast and reported, each in a process of its own."""

    def __init__(self, form: str, day: Path, out: Path) -> None:
        self.out, self.drop, growing = out, out / "drop", str(out / "growing.zarr")
        out.mkdir()
        live = ["live", *AGENTS, "--archive", growing, "--out", str(out / "live"), "--formats", "zarr", "--timeout"]
        self.watch = ["archive", "watch", form, str(self.drop), "--out", growing, "--window", *WINDOW, "--settle", "0"]
        self.live, self.last = [*live, "600"], [*live, "0"]
        self.replay = ["archive", "replay", form, str(day), "--out", str(self.drop), "--speed", SPEED]
        self.results = ["live-results", str(out / "live"), "--out", str(out / "results")]

    def run_with_kills(self, rng: np.random.Generator) -> dict[str, int]:
        """Kill one process after another, at random moments, and begin it again, until all files are dropped.

        Returns:
            Number of kills of each command, and of steps done before the last one.
        """
        self.drop.mkdir()
        commands = {"live": self.live, "watch": self.watch, "replay": self.replay, "live-results": self.results}
        running = {name: _begin(words) for name, words in commands.items()}
        kills = dict.fromkeys(commands, 0)
        while running["replay"].poll() != 0:
            time.sleep(float(rng.uniform(0.5, 12.0)))
            victim = str(rng.choice(tuple(commands), p=SHARE_OF_KILLS))
            if running[victim].poll() is None:
                running[victim].kill()
                kills[victim] += 1
                running[victim].wait()
            for name, process in running.items():
                if process.poll() is not None and (process.returncode or name == "live-results"):
                    running[name] = _begin(commands[name])
        for process in running.values():
            process.kill()
            process.wait()
        done = sum(1 for _ in read_log(self.out / "live" / STEPS))
        return {"kills": sum(kills.values()), **kills, "steps_before_the_last_kill": done}

    def finish(self) -> None:
        """Do what is left of the day without any kill."""
        for words in ([*self.watch, "--once"], self.last, self.results):
            subprocess.run(_command(words), check=True, stdout=subprocess.DEVNULL)

    def records(self) -> dict[str, npt.NDArray[Any]]:
        """The records of each agent by its name, in the order of steps."""
        found = {}
        for path in folders(self.out / "live"):
            folder = RunFolder.open(path)
            rows = folder.records()
            found[str(folder.identity["agent"])] = rows[np.argsort(rows["index"])]
        return found


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "hko7env", *words]


def _begin(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(_command(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _equal(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two runs have the same steps, none twice, with the same tallies."""
    names: Sequence[str] = ("index", "counts", "sums")
    return len(one) == len(other) and all(np.array_equal(one[name], other[name]) for name in names)
