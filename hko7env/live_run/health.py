"""``health.json`` of a live run: one small file, replaced as a whole, for monitoring."""

import json
import os
import resource
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hko7env.archive.format import iso
from hko7env.evaluation.journal import writing
from hko7env.files import write_atomically

HEALTH = "health.json"
_LATENCIES, _ERRORS = 500, 10  # newest ones that are kept


@dataclass
class AgentHealth:
    """What is known of one agent since the run began.

    Attributes:
        forecasts: Number of forecasts written.
        late: Those of them that were written when the next one was due.
        missing: Number of steps without a forecast, because the agent raised an error.
        scored: Number of forecasts scored.
        pending: Number of forecasts whose truth has not come.
        last_issue_time: ISO time of issue of the newest forecast.
        latencies: Seconds from the arrival of the last frame to the written forecast, of those not late.
    """

    forecasts: int = 0
    late: int = 0
    missing: int = 0
    scored: int = 0
    pending: int = 0
    last_issue_time: str | None = None
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("forecasts", "late", "missing", "scored", "pending", "last_issue_time")
        found = {name: getattr(self, name) for name in names}
        return found | {"latency_seconds": percentiles(list(self.latencies))}


class Health:
    """Collects the facts of ``health.json`` and writes them.

    Args:
        folder: Folder of the live run.
        archive: Name of the archive.
        started: Seconds since 1970-01-01.
    """

    def __init__(self, folder: Path, archive: str, started: float) -> None:
        self._path, self._archive, self._started = folder / HEALTH, archive, started
        self.agents: dict[str, AgentHealth] = {}
        self.steps = 0
        self.last_frame: int | None = None
        self._errors: deque[dict[str, str]] = deque(maxlen=_ERRORS)
        self._written = -np.inf

    def error(self, now: float, where: str, error: object) -> None:
        """Note an error; the newest ones are kept."""
        self._errors.append({"time": _utc(now), "where": where, "error": str(error)})

    def write(self, status: str, now: float, *, every: float = 0.0) -> None:
        """Replace the file, unless it was written less than ``every`` seconds ago.

        Args:
            status: ``waiting``, ``forecasting``, ``stopped``, ``ended`` or ``failed``.
            now: Seconds since 1970-01-01.
            every: Seconds.

        Raises:
            RunError: The file cannot be written.
        """
        if now - self._written < every:
            return
        self._written = now
        age = None if self.last_frame is None else round(now - 60 * self.last_frame, 1)
        facts = {
            "status": status,
            "written": _utc(now),
            "started": _utc(self._started),
            "process": os.getpid(),
            "archive": self._archive,
            "last_frame": None if self.last_frame is None else iso(self.last_frame),
            "last_frame_age_seconds": age,
            "steps": self.steps,
            "memory_bytes": memory(),
            "agents": {name: one.facts() for name, one in self.agents.items()},
            "errors": list(self._errors),
        }
        with writing(self._path):
            write_atomically(self._path, json.dumps(facts, indent=1).encode())


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """The 50th, 90th and 99th percentile and the maximum; None without a value."""
    if not seconds:
        return None
    found = np.percentile(seconds, (50, 90, 99, 100)).round(3).tolist()
    return dict(zip(("p50", "p90", "p99", "max"), found, strict=True))


def memory() -> int:
    """Memory of this process in bytes: what it holds now or, where that is not known, its peak."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text(encoding="ascii").partition("VmRSS:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
