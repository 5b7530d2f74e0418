"""One agent of a live run: its forecasts, its state after every step, and its scores.

A step is done once its line is in ``forecasts.jsonl``, which is written last. A process that was killed before does the
step again from the state before it; what it had written of it is replaced.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import iso
from hko7env.contract import Agent, Learner, Task
from hko7env.evaluation.checkpoints import restore_checkpoint, save_checkpoint
from hko7env.evaluation.journal import Journal, RunError
from hko7env.evaluation.run_folder import RunFolder
from hko7env.forecast import check_forecast, check_range
from hko7env.live.stream import LiveStream
from hko7env.live.walk import Segment
from hko7env.live_run.health import AgentHealth, Health
from hko7env.live_run.log import Log, read_log
from hko7env.live_run.pending import PendingForecasts
from hko7env.live_run.products import Products
from hko7env.live_run.steps import Steps

FORECASTS, PENDING = "forecasts.jsonl", "pending"
REPEATED = 48  # the most steps that an agent which cannot save its state is shown again after a restart


class AgentRun:
    """One agent in its run folder; :meth:`restore` comes before the first step.

    Args:
        name: Name of the agent.
        make: Makes it.
        folder: Its run folder, held by this process.
        products: Its forecast files.
        stream: The archive.
        steps: The steps of the live run.
        health: Where errors are noted.
        task: What the agent is made for.
        clock: Seconds since 1970-01-01.

    Raises:
        RunError: A file of the run folder is damaged or cannot be written.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Agent],
        folder: RunFolder,
        products: Products,
        *,
        stream: LiveStream,
        steps: Steps,
        health: Health,
        task: Task,
        clock: Callable[[], float],
    ) -> None:
        self.name, self._make, self._folder, self._products = name, make, folder, products
        self._stream, self._steps, self._noted, self._task, self._clock = stream, steps, health, task, clock
        self.health = health.agents.setdefault(name, AgentHealth())
        self._failed: set[int] = set()
        first, self.position = -1, 0
        for row in read_log(folder.path / FORECASTS):
            if "first_step" in row:
                first = self.position = int(row["first_step"])
            else:
                self._note(row)
        self._log = Log(folder.path / FORECASTS)
        if first < 0:  # a new agent: older steps are not its own
            first = self.position = len(steps)
            self._log.append({"first_step": first})  # before any step, which it might not finish
        self._first = first
        self._pending = PendingForecasts(folder.path / PENDING)
        recorded = set(folder.records()["index"].tolist())
        self.health.scored = len(recorded)
        for step in self._pending.steps():
            if step in recorded or step >= self.position:
                self._pending.remove(step)
        self._unscored = self._pending.steps()
        self.health.pending = len(self._unscored)
        self._journal = Journal(folder.new_journal(), task.leads, folder.run)
        self._agent: Agent | None = None

    def restore(self) -> None:
        """Make the agent, and bring it into the state after the last step that it has done.

        Raises:
            Exception: Whatever making it raises.
        """
        self._agent = self._make()
        begin, ready = max(self._first, self.position - REPEATED), False
        if isinstance(self._agent, Learner):
            found = restore_checkpoint(self._agent, self._folder.path, self._folder.run, self.position)
            begin, ready = (found, True) if found else (begin, False)
            if not found and begin > self._first:
                self._note_error("restoring the agent", "no sound checkpoint: it begins to learn anew")
        else:
            fresh = [s for s in range(begin, self.position) if self._begins(s)]
            begin = fresh[-1] if fresh else begin
        for step in range(begin, self.position):
            if step not in self._failed:
                self._repeat(step, None if ready or step > begin else True)

    def take(self, step: int, segment: Segment) -> None:
        """Forecast one step, keep everything, and score what the step's clock has reached; nothing if it is done.

        Raises:
            RunError: A file cannot be written.
        """
        if step < self.position:
            return
        started = time.perf_counter()
        try:
            forecast = self._forecast(step)
        except Exception as error:  # whatever an agent raises, the others go on
            self._fail(step, segment, error)
        else:
            self._keep(step, segment, forecast, time.perf_counter() - started)
        self.score(lambda targets: int(targets[-1]) <= segment.issue_time)

    def score(self, due: Callable[[npt.NDArray[np.int64]], bool]) -> None:
        """Score the pending forecasts whose valid times are ``due``. Raises RunError if a file cannot be written."""
        found = [step for step in self._unscored if due(self._steps[step].targets)]
        for step in found:
            forecast = self._pending.read(step)
            if forecast is None:
                self._note_error(f"step {step}", "its pending forecast is damaged and will not be scored")
                continue
            self._journal.add(step, self._stream.score(self._steps[step].targets, forecast))
            self.health.scored += 1
        if found:
            self._journal.sync()  # before what it was made from is removed
        for step in found:
            self._pending.remove(step)
            self._unscored.remove(step)
        self.health.pending = len(self._unscored)

    def close(self) -> None:
        """Close all files. Raises RunError if that fails."""
        try:
            self._journal.close()
        finally:
            self._log.close()

    def _forecast(self, step: int) -> npt.NDArray[np.float32]:
        """Algorithm 1 for one step. Raises whatever the agent raises, or ForecastError for what it returns."""
        if self._agent is None:
            self._agent = self._make()
        self._agent.store(self._stream.observe(self._steps[step], self._begins(step)))
        self._agent.update()
        forecast = self._agent.predict()
        check_forecast(forecast, (self._task.leads, self._task.height, self._task.width), ("float32",))
        for lead, frame in enumerate(forecast):
            check_range(np.ascontiguousarray(frame).reshape(-1), lead)
        return forecast

    def _begins(self, step: int) -> bool:
        """Whether a step begins an episode for this agent: also if it has not seen the step before."""
        return self._steps[step].new_episode or step == self._first or step - 1 in self._failed

    def _keep(self, step: int, segment: Segment, forecast: npt.NDArray[np.float32], seconds: float) -> None:
        """Write the forecast for users and for scoring, the agent's state, and last the line that says so."""
        attributes = {
            "source": f"{self.name} of hko7env",
            "history": f"{_utc(self._clock())} forecast in {seconds:.3f} s",
            "seconds_to_forecast": f"{seconds:.3f}",
        }
        self._products.add(segment.issue_time, forecast, self._stream.view.archive, attributes)
        written = self._clock()
        self._pending.add(step, forecast)
        if isinstance(self._agent, Learner):
            self._save(step)
        row = {"step": step, "issue_time": iso(segment.issue_time), "seconds": round(seconds, 3)}
        row |= {
            "latency": round(max(0.0, written - self._stream.source.changed_at), 3),
            "late": self._stream.is_late(segment),
            "written": _utc(written),
        }
        self._log.append(row)
        self._unscored.append(step)
        self._note(row)

    def _save(self, step: int) -> None:
        assert isinstance(self._agent, Learner)
        try:
            save_checkpoint(self._agent, self._folder.path, self._folder.run, step + 1, first_missing=step)
        except RunError:  # the disk
            raise
        except Exception as error:  # the forecast is made, and an older state is there
            self._note_error(f"saving the state after step {step}", error)

    def _fail(self, step: int, segment: Segment, error: Exception) -> None:
        """Count a step as missing; the agent is made anew in its last saved state."""
        text = f"{type(error).__name__}: {error}"
        self._note_error(f"step {step}, issued {iso(segment.issue_time)}", text)
        row = {"step": step, "issue_time": iso(segment.issue_time), "missing": text}
        self._log.append(row)
        self._note(row)
        try:
            self._agent = self._make()
            if isinstance(self._agent, Learner):
                restore_checkpoint(self._agent, self._folder.path, self._folder.run, self.position)
        except Exception as again:  # it is tried again with the next step
            self._agent = None
            self._note_error("making the agent anew", again)

    def _repeat(self, step: int, new_episode: bool | None) -> None:
        """Show the agent a step that is done, without keeping anything."""
        try:
            if self._agent is None:
                self._agent, new_episode = self._make(), True
            self._agent.store(self._stream.observe(self._steps[step], new_episode or self._begins(step)))
            self._agent.update()
            self._agent.predict()
        except Exception as error:  # as in the step itself
            self._agent = None
            self._note_error(f"repeating step {step}", error)

    def _note(self, row: dict[str, Any]) -> None:
        """Take over a line of the log."""
        step = int(row["step"])
        self.position = step + 1
        if "missing" in row:
            self._failed.add(step)
            self.health.missing += 1
            return
        self.health.forecasts += 1
        self.health.late += bool(row["late"])
        self.health.last_issue_time = str(row["issue_time"])
        if not row["late"]:
            self.health.latencies.append(float(row["latency"]))

    def _note_error(self, where: str, error: object) -> None:
        self._noted.error(self._clock(), f"{self.name}, {where}", error)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def folders(live: Path) -> list[Path]:
    """The run folders of the agents of a live run, by name."""
    return sorted(path.parent for path in (live / "agents").glob("*/config.json"))
