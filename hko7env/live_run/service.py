"""Running agents on a growing archive until the stream ends or the process is stopped."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from hko7env.archive.format import minutes
from hko7env.contract import Task
from hko7env.env import make_task
from hko7env.evaluation.journal import RunError, writing
from hko7env.evaluation.plan import agent_facts
from hko7env.evaluation.provenance import archive_facts
from hko7env.evaluation.run_folder import RunFolder, read_json
from hko7env.files import write_atomically
from hko7env.live.growing_archive import GrowingArchive
from hko7env.live.stream import FIRST_POLL, LiveStream, Waiting
from hko7env.live.walk import CausalWalk
from hko7env.live_run.agent_run import AgentRun
from hko7env.live_run.health import Health
from hko7env.live_run.products import FORMATS, Products
from hko7env.live_run.steps import STEPS, Steps
from hko7env.loading import load
from hko7env.locking import sole_writer
from hko7env.schedule import INPUTS, LEADS

LIVE = "live.json"
SETTING = "live"
_HEALTH_SECONDS = 10.0  # between two health.json while nothing comes

Stopped = Callable[[], bool]


@dataclass(frozen=True)
class LiveOptions:
    """How a live run waits, what agents see, and which files it writes."""

    patience: Annotated[
        float | None, "minutes after its time at which a frame counts as missing; none: when a later one is there"
    ] = None
    timeout: Annotated[float | None, "end when no frame has come for so many seconds; none: never"] = None
    poll: Annotated[float, "longest time in seconds between two looks at the archive"] = 0.5
    begin: Annotated[str | None, "ISO time in UTC of the earliest frame that a new run uses"] = None
    cleaned: Annotated[bool, "show agents masked locations and weak echo as 0"] = False
    formats: Annotated[Literal["both", "netcdf", "zarr", "none"], "formats of the forecast files"] = "both"
    keep_days: Annotated[int | None, "days for which forecast files are kept; none: for ever"] = None

    def __post_init__(self) -> None:
        Waiting(self.patience, self.timeout, self.poll)
        if self.keep_days is not None and self.keep_days < 1:
            raise ValueError(f"keep_days must be at least 1, got {self.keep_days}")
        if self.begin is not None:
            minutes(self.begin)


@dataclass(frozen=True)
class LivePlan:
    """What to run.

    Attributes:
        agents: Options of each agent by its name.
        archive: Path or URL of the archive, which need not exist yet.
        split: A split of the archive, or ``all``; None as of ``evaluate``.
        options: How to run it.
        command: The words of the command that runs this plan.
    """

    agents: Mapping[str, dict[str, Any]]
    archive: str
    split: str | None = None
    options: LiveOptions = field(default_factory=LiveOptions)
    command: tuple[str, ...] = ("hko7env", "live")


def serve(
    plan: LivePlan,
    out: Path,
    *,
    stopped: Stopped = bool,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Run agents on an archive that is growing, or go on where an earlier process was stopped or killed.

    Args:
        plan: What to run.
        out: Folder of the live run; it is created if necessary.
        stopped: Whether to stop; asked between two steps and while waiting.
        clock: Seconds since 1970-01-01.
        sleep: Waits for some seconds.

    Returns:
        ``stopped``, or ``ended`` after a timeout, when everything has been scored whose truth has come.

    Raises:
        ValueError: An unknown agent, option or split.
        ArchiveError: The archive is damaged or has been replaced by another; a ValueError.
        RunError: A file of the live run is damaged, of another run, or cannot be written.
        LockedError: Another process runs in the same folder; a ValueError.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    health = Health(out, plan.archive, clock())
    with sole_writer(out / STEPS):
        try:
            status = _serve(plan, out, health, stopped, clock, sleep)
        except Exception as error:
            health.error(clock(), "the run", f"{type(error).__name__}: {error}")
            health.write("failed", clock())
            raise
        health.write(status, clock())
    return status


def _serve(
    plan: LivePlan,
    out: Path,
    health: Health,
    stopped: Stopped,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> str:
    options = plan.options
    source = GrowingArchive(plan.archive, plan.split, clock=clock, sleep=sleep)
    if not _wait_for_archive(source, options, health, stopped, clock, sleep):
        return "stopped" if stopped() else "ended"
    assert source.archive is not None
    cadence = source.archive.cadence
    _check_live(out, source, options)
    walk = CausalWalk(cadence, None if options.begin is None else minutes(options.begin))
    waiting = Waiting(options.patience, options.timeout, options.poll)
    stream = LiveStream(source, walk, waiting, cleaned=options.cleaned, clock=clock, sleep=sleep)
    with ExitStack() as stack:
        steps = Steps(out, cadence)
        stack.callback(steps.close)
        if len(steps):
            walk.resume(steps[len(steps) - 1])
        agents = _make_agents(plan, out, stack, stream, steps, health, clock)

        def note(status: str, every: float = 0.0) -> None:
            health.steps, health.last_frame = len(steps), int(stream.view.archive.times[-1])
            health.write(status, clock(), every=every)

        note("waiting")
        for step in range(min(agent.position for agent in agents), len(steps)):
            _take(agents, step, steps)
            note("forecasting")
        while not stopped():
            segment = stream.next(stopped=stopped, idle=partial(note, "waiting", _HEALTH_SECONDS))
            if segment is None:
                break
            _take(agents, steps.append(segment), steps)
            note("forecasting")
        if stopped():
            return "stopped"
        for agent in agents:
            agent.score(stream.ended)
        note("ended")
    return "ended"


def _take(agents: list[AgentRun], step: int, steps: Steps) -> None:
    for agent in agents:
        agent.take(step, steps[step])


def _wait_for_archive(
    source: GrowingArchive,
    options: LiveOptions,
    health: Health,
    stopped: Stopped,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> bool:
    """Wait until the archive has a good frame; False after a stop or a timeout."""
    since, pause = clock(), FIRST_POLL
    while True:
        source.refresh()
        if source.view is not None:
            return True
        if stopped() or (options.timeout is not None and clock() - since >= options.timeout):
            return False
        health.write("waiting", clock(), every=_HEALTH_SECONDS)
        sleep(min(pause, options.poll))
        pause *= 2


def _check_live(out: Path, source: GrowingArchive, options: LiveOptions) -> None:
    """Compare ``live.json`` with the archive; write it in a new folder. Raises RunError for another archive."""
    assert source.archive is not None
    assert source.view is not None
    facts = {
        "archive": source.archive.fingerprint_of_first(0),
        "split": source.view.split,
        "cadence": source.archive.cadence,
        "cleaned": options.cleaned,
    }
    path = out / LIVE
    if not path.exists():
        with writing(path):
            write_atomically(path, json.dumps(facts, indent=1).encode())
        return
    found = read_json(path, "restore it, or choose another output folder")
    for name, value in facts.items():
        if found.get(name) != value:
            raise RunError(
                f"{out} belongs to a live run with another {name} ({found.get(name)}, not {value}): choose another "
                "output folder, or repeat the command that began it"
            )


def _make_agents(
    plan: LivePlan,
    out: Path,
    stack: ExitStack,
    stream: LiveStream,
    steps: Steps,
    health: Health,
    clock: Callable[[], float],
) -> list[AgentRun]:
    task = make_task(stream.view.archive, online=True)
    chosen = plan.options.formats
    formats = tuple(name for name in FORMATS if chosen in ("both", name))
    found = []
    for name, options in plan.agents.items():
        folder = open_folder(plan, name, options, stream, task, out)
        stack.enter_context(folder.held())
        products = Products(out / "forecasts" / name.replace(":", "."), formats, plan.options.keep_days)
        make = partial(load, name, task, **options)
        agent = AgentRun(
            name, make, folder, products, stream=stream, steps=steps, health=health, task=task, clock=clock
        )
        stack.callback(agent.close)
        agent.restore()
        found.append(agent)
    return found


def open_folder(
    plan: LivePlan, name: str, options: dict[str, Any], stream: LiveStream, task: Task, out: Path
) -> RunFolder:
    """The run folder of an agent; its name holds a digest of all that can change its forecasts but the frames.

    Raises:
        ValueError: If there is no such agent, or it has no such option.
    """
    identity, context = agent_facts(name, options)
    archive, split = stream.view.archive, stream.view.split
    identity |= {
        "setting": SETTING,
        "archive": archive.fingerprint_of_first(0),
        "split": split,
        "cleaned": plan.options.cleaned,
    }
    facts = archive_facts(archive)
    context |= {
        "archive": plan.archive,
        "command": list(plan.command),
        "data": {key: facts[key] for key in ("source", "licence", "shape", "cadence", "splits", "z_r")},
        "protocol": {"inputs": INPUTS, "leads": LEADS, "cadence": task.cadence},
    }
    return RunFolder(out / "agents", f"{name.replace(':', '.')}-{SETTING}-{split}", identity, context, task.leads)
