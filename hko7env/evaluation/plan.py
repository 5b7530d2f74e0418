"""What to evaluate, the name of its run, and the run folder that belongs to it."""

import hashlib
import importlib.metadata
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium

import hko7env
from hko7env.contract import is_memoryless
from hko7env.env import NowcastingEnv
from hko7env.evaluation.code_digest import code_digest
from hko7env.evaluation.provenance import archive_facts, evaluate_command
from hko7env.evaluation.run_folder import RunFolder
from hko7env.loading import check_options, find
from hko7env.split_view import SplitView


@dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
        agent: Name of the agent, ``module`` or ``module:function``.
        online: Whether the agent sees episodes and may learn.
        archive: Path or URL of an archive; None means the default synthetic one.
        split: A split of the archive, or ``all``; None means ``test``, or all frames of an archive without splits.
        limit: Number of sequences to run, the first ones of the split; None means all.
        cleaned: Whether the agent sees masked locations and small echo as 0.
        options: Fields of the agent's ``Config``.

    Raises:
        ValueError: If ``limit`` is below 1.
    """

    agent: str
    online: bool
    archive: str | None = None
    split: str | None = None
    limit: int | None = None
    cleaned: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")

    def environment(self) -> NowcastingEnv:
        """Make the environment."""
        name = "HKO7-Online-v0" if self.online else "HKO7-Offline-v0"
        env = gymnasium.make(name, archive=self.archive, split=self.split, cleaned=self.cleaned).unwrapped
        assert isinstance(env, NowcastingEnv)
        return env

    @property
    def setting(self) -> str:
        """``online`` or ``offline``."""
        return "online" if self.online else "offline"

    @property
    def label(self) -> str:
        """Agent and setting, as progress and errors name the run."""
        return f"{self.agent} {self.setting}"

    def words(self, out: Path) -> list[str]:
        """The words of the command that runs this plan into the folder ``out`` of run folders."""
        return evaluate_command(
            self.agent,
            self.setting,
            archive=self.archive,
            split=self.split,
            limit=self.limit,
            cleaned=self.cleaned,
            options=self.options,
            out=out,
        )


def settings_of(agent: str) -> tuple[bool, ...]:
    """The values of ``online`` to evaluate an agent with: offline alone if it is memoryless, as online is the same.

    Args:
        agent: Its name.

    Raises:
        ValueError: If there is no such agent.
    """
    return (False,) if is_memoryless(find(agent)[0]) else (False, True)


def describe(view: SplitView, count: int) -> str:
    """Describe the data of a table in one line: source, split, the first ``count`` sequences, fingerprint."""
    source = view.archive.attributes.get("source") or "source unknown"
    caution = (
        "; synthetic rain ranks implementations, it does not prove skill on real rain" if "synthetic" in source else ""
    )
    part = "" if count == len(view.schedule) else f" (first {count} of {len(view.schedule)} sequences)"
    split = f"split {view.split}" if view.split in view.archive.splits else "all frames"
    return f"Data: {source}, {split}{part}, fingerprint {view.archive.fingerprint[:10]}{caution}."


def open_folder(plan: Plan, env: NowcastingEnv, count: int, out: Path) -> RunFolder:
    """The run folder of ``plan`` under ``out``; its name holds a digest of everything that can change a score.

    Args:
        plan: What to evaluate.
        env: The environment of the plan.
        count: Number of sequences to run.
        out: Folder of run folders.

    Raises:
        ValueError: If there is no such agent, or it has no such option.
    """
    identity, context = agent_facts(plan.agent, plan.options)
    identity |= {
        "setting": plan.setting,
        "archive": env.archive.fingerprint,
        "split": env.split,
        "cleaned": plan.cleaned,
        "schedule": env.schedule.sha256,
        "sequences": count,
    }
    context |= {
        "archive": str(plan.archive or "default"),
        "command": plan.words(out),
        "data": archive_facts(env.archive),
        "protocol": {"inputs": env.task.inputs, "leads": env.task.leads, "cadence": env.task.cadence},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    name = f"{plan.agent.replace(':', '.')}-{plan.setting}-{env.split}"
    return RunFolder(out, name, identity, context, env.task.leads)


def agent_facts(agent: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What identifies an agent, and what readers of its run want to know of it, as JSON values.

    Args:
        agent: Name of the agent.
        options: Fields of its ``Config``.

    Returns:
        ``agent``, ``options``, ``code`` and ``versions`` for a run's identity; ``options`` and ``versions`` for its
        context.

    Raises:
        ValueError: If there is no such agent, or it has no such option.
    """
    _, config = find(agent)
    check_options(agent, config, options)
    complete = asdict(config(**options)) if config else {}  # with defaults: they may name a file, or change
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "zarr", "gymnasium", "torch")}
    identity = {
        "agent": agent,
        "options": {name: _content(value) for name, value in complete.items()},
        "code": code_digest(agent),
        "versions": {"hko7env": hko7env.__version__, **{name: versions[name] for name in ("numpy", "torch")}},
    }
    context = {
        "options": {name: value if _is_plain(value) else str(value) for name, value in complete.items()},
        "versions": {"python": platform.python_version(), **versions},
    }
    return identity, context


def _is_plain(value: Any) -> bool:
    """Whether JSON can represent ``value`` without confusing it with another one, as None with the string "none"."""
    return value is None or isinstance(value, bool | int | float | str)


def _content(value: Any) -> Any:
    """The value of an option in the identity: the digest of a file's content if it names one, else the value itself."""
    if isinstance(value, str | Path):
        try:
            return hashlib.sha256(Path(value).read_bytes()).hexdigest()
        except (OSError, ValueError):  # not a file, or not a legal name
            return str(value)
    return value
