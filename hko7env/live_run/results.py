"""Run folders for reports from a live run, whether it is still going on or not.

Which sequences count is decided with hindsight by the rule of the official walk: those whose window has no run of more
than ``MAX_MISSING`` missing slots. So the live run of frames on one grid has the sequences and, agent by agent, the
tallies of ``hko7env evaluate --env online`` on the finished archive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.evaluation.journal import Journal, RunError, sum_records
from hko7env.evaluation.missing import write_missing
from hko7env.evaluation.provenance import archive_facts
from hko7env.evaluation.run_folder import RunFolder, read_json
from hko7env.evaluation.table import Result
from hko7env.forecast_files import Missing
from hko7env.live.walk import Segment
from hko7env.live_run.agent_run import FORECASTS, folders
from hko7env.live_run.log import read_log
from hko7env.live_run.service import LIVE, SETTING
from hko7env.live_run.steps import read_steps
from hko7env.schedule import INPUTS, LEADS, MAX_MISSING, Schedule


@dataclass(frozen=True, eq=False)
class _Scored:
    """One agent of a live run: its run folder, its records by step, and why steps have no forecast."""

    folder: RunFolder
    records: dict[int, Any]
    failures: dict[int, str]


def write_results(live: Path, out: Path, archive: str | None = None) -> list[Result]:
    """Write what a live run has scored so far as complete run folders, one for each agent, with the same sequences.

    Args:
        live: Folder of the live run; nothing in it is changed.
        out: Folder of run folders; it is created if necessary.
        archive: Path or URL of the archive; None: where the live run found it.

    Returns:
        The results of the agents.

    Raises:
        RunError: ``live`` is no live run or damaged, nothing has been scored yet, or a file cannot be written.
        FileNotFoundError: There is no archive.
        ArchiveError: The archive is damaged; a ValueError.
    """
    if not (live / LIVE).exists():
        raise RunError(f"{live} holds no live run (it has no {LIVE}): name the folder that `hko7env live` writes")
    facts = read_json(live / LIVE, "restore it, or begin anew with another output folder")
    cadence = int(facts.get("cadence", 0))
    if cadence < 1:
        raise RunError(f"{live / LIVE} is damaged (its cadence): restore it")
    steps = read_steps(live, cadence)
    agents = [_read(path) for path in folders(live)]
    common = _common(agents, len(steps))
    if not common:
        raise RunError(
            f"{live} has no sequence that all of its {len(agents)} agents have been scored on: wait until 20 frames "
            "have followed a forecast, or move the folder of an agent that no longer runs elsewhere"
        )
    chosen = _valid(steps[: common[-1] + 1], agents)
    if not set(chosen) & set(common):
        raise RunError(f"{live} has no scored sequence without a longer gap yet: wait for more frames")
    opened = Archive(archive or str(agents[0].folder.context.get("archive")))
    schedule = _schedule([steps[step] for step in chosen], cadence)
    return [_write(agent, chosen, set(common), schedule, opened, out) for agent in agents]


def _read(path: Path) -> _Scored:
    folder = RunFolder.open(path)
    records = {int(record["index"]): record for record in folder.records()}
    failures = {int(row["step"]): str(row["missing"]) for row in read_log(path / FORECASTS) if "missing" in row}
    return _Scored(folder, records, failures)


def _common(agents: Sequence[_Scored], count: int) -> list[int]:
    """The steps that all agents have been scored on, increasing."""
    return [step for step in range(count) if agents and all(step in agent.records for agent in agents)]


def _valid(steps: Sequence[Segment], agents: Sequence[_Scored]) -> list[int]:
    """The steps whose window holds no longer run of missing slots, by the frames that were seen or scored against."""
    there: set[int] = set()
    for step, segment in enumerate(steps):
        there.update(segment.slots[np.array(segment.present)].tolist())
        for agent in agents:
            if step in agent.records:
                scored = agent.records[step]["counts"].sum(axis=0)[:, 0] > 0  # locations, by lead time
                there.update(segment.targets[scored].tolist())
    return [step for step, segment in enumerate(steps) if _longest_gap(segment, there) <= MAX_MISSING]


def _longest_gap(segment: Segment, there: set[int]) -> int:
    run = longest = 0
    for slot in (*segment.slots.tolist(), *segment.targets.tolist()):
        run = 0 if slot in there else run + 1
        longest = max(longest, run)
    return longest


def _schedule(segments: Sequence[Segment], cadence: int) -> Schedule:
    starts: npt.NDArray[np.int64] = np.array([segment.start for segment in segments], np.int64)
    flags = np.array([segment.new_episode for segment in segments])
    continued = np.diff(starts, prepend=starts[0] - 1) == INPUTS * cadence
    return Schedule(starts, flags | ~continued, INPUTS, LEADS, cadence)


def _write(
    agent: _Scored, chosen: Sequence[int], common: set[int], schedule: Schedule, archive: Archive, out: Path
) -> Result:
    """Write the run folder of one agent; sequences are numbered anew, without those that do not count."""
    live = agent.folder
    identity = live.identity | {
        "archive": archive.fingerprint, "schedule": schedule.sha256, "sequences": len(schedule), "live": live.run,
    }  # fmt: skip
    context = live.context | {"data": archive_facts(archive)}
    name, split = str(live.identity["agent"]), str(live.identity["split"])
    folder = RunFolder(out, f"{name.replace(':', '.')}-{SETTING}-{split}", identity, context, live.leads)
    data = (
        f"Data: {archive.attributes.get('source') or 'source unknown'}, live, {len(schedule)} sequences, fingerprint "
        f"{archive.fingerprint[:10]}."
    )
    episodes = len(schedule.episode_starts)
    with folder.held():
        finished = folder.finished()
        if finished is not None:
            return Result(name, SETTING, data, finished, episodes)
        folder.add_sequences(schedule)
        done = set(folder.records()["index"].tolist())
        journal = Journal(folder.new_journal(), folder.leads, folder.run)
        for index, step in enumerate(chosen):
            if step in common and index not in done:
                journal.add(index, sum_records(agent.records[step][None], folder.leads))
        journal.close()
        missing = dict(_missing(agent, chosen, common))
        if missing:
            write_missing(folder, schedule, missing)
        result = Result(name, SETTING, data, folder.tally(), episodes)
        folder.finish(result, schedule.cadence)
    return result


def _missing(agent: _Scored, chosen: Sequence[int], common: set[int]) -> Iterator[tuple[int, Missing]]:
    """The sequences that are not counted, and why."""
    for index, step in enumerate(chosen):
        if step in common:
            continue
        if step in agent.failures:
            yield index, Missing("the agent failed", agent.failures[step])
        elif step in agent.records:
            yield index, Missing("another agent of the live run has no forecast")
        else:
            yield index, Missing("no forecast was kept until its truth came")
