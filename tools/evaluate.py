"""Evaluate agents and print the table of Shi et al. 2017: ``python tools/evaluate.py agents.last_frame``.

Interrupted and started again with the same command, a run goes on where it was.
"""

import argparse
import dataclasses
import difflib
import os
import signal
import sys
import types
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Our `agents`, whatever else is installed under that name; then the user's own modules.
sys.path[:1] = [str(ROOT), str(Path.cwd())]


def _leave(*_: object) -> None:
    os.write(2, b"\nstopped\n")
    os._exit(130)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)  # nothing can be lost during the imports, so an interrupt needs no traceback

from hko7env.evaluation.evaluate import Plan, evaluate  # noqa: E402
from hko7env.evaluation.table import table  # noqa: E402
from hko7env.loading import find  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print; the exit status is 0, 1 for an error and 130 for an interrupt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("agents", nargs="+", metavar="AGENT", help="agents.last_frame, or your own module[:function]")
    parser.add_argument("--env", choices=("online", "offline", "both"), default="both", help="default: both")
    parser.add_argument("--archive", help="path or URL of an archive; default: the embedded synthetic one")
    parser.add_argument(
        "--split", help="a split of the archive, or all; default: test, or all frames if there is no split"
    )
    parser.add_argument("--limit", type=int, help="only the first LIMIT sequences")
    parser.add_argument("--cleaned", action="store_true", help="show agents frames without noise; default: raw")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of run folders; default: results")
    parser.add_argument("--workers", type=int, default=1, help="processes for offline runs; default: 1")
    known, rest = parser.parse_known_args(arguments)
    try:
        if known.limit is not None and known.limit < 1:
            raise ValueError(f"--limit must be at least 1, got {known.limit}")
        if known.workers < 1:
            raise ValueError(f"--workers must be at least 1, got {known.workers}")
        options = agent_options(parser, known.agents, rest)  # imports the agents, and with them torch
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        settings = {"online": (True,), "offline": (False,), "both": (False, True)}[known.env]
        rows = []
        for agent in known.agents:
            for online in settings:
                plan = Plan(agent, online, known.archive, known.split, known.limit, known.cleaned, options[agent])
                rows.append(evaluate(plan, known.out, workers=known.workers))
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:  # ArchiveError and RunError are ValueErrors
        if getattr(error, "__notes__", None):  # raised inside an agent: its author needs the traceback
            raise
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    print(table(rows), end="")
    print(f"Run folders with per-lead scores: {known.out}")
    return 0


def agent_options(parser: argparse.ArgumentParser, agents: list[str], words: list[str]) -> dict[str, dict[str, Any]]:
    """The words that are left, ``--name value`` for fields of the agents' ``Config``, as options of each agent."""
    own = {option for action in parser._actions for option in action.option_strings}
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    try:
        fields = {agent: _fields(agent) for agent in agents}
    except ValueError as error:
        meant = [f"{o} may be {c}" for o in options for c in difflib.get_close_matches(o, own, 1)]
        hint = "; ".join([*meant, "options of an agent come after the agents"]) if options else ""
        raise ValueError(f"{error}{'; ' if hint else ''}{hint}") from error
    known = {name for one in fields.values() for name in one}
    clash = {f"--{name.replace('_', '-')}" for name in known} & own
    if clash:
        raise ValueError(
            f"{', '.join(sorted(clash))} of an agent is an option of this command: rename the Config's field"
        )
    chosen: dict[str, dict[str, Any]] = {agent: {} for agent in agents}
    position = 0
    while position < len(words):
        word, equals, value = words[position].partition("=")
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--") or name not in known:
            close = difflib.get_close_matches(word, [*own, *(f"--{n.replace('_', '-')}" for n in known)], 1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"the agents' options are: {', '.join(sorted(known)) or 'none'}"
            )
            raise ValueError(f"there is no option {word!r}; {hint}")
        if not equals:
            position += 1
            if position == len(words):
                raise ValueError(f"{word} needs a value")
            value = words[position]
        position += 1
        for agent, types_by_name in fields.items():
            if name in types_by_name:
                chosen[agent][name] = _convert(word, value, types_by_name[name])
    return chosen


def _fields(agent: str) -> dict[str, Any]:
    _, config = find(agent)
    return typing.get_type_hints(config) if config and dataclasses.is_dataclass(config) else {}


def _convert(word: str, text: str, hint: Any) -> Any:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    # Where a string is expected the agent gives "none" its meaning, as the networks do of --checkpoint.
    if type(None) in kinds and str not in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        if kind is bool and text.lower() in ("true", "false", "1", "0", "yes", "no"):
            return text.lower() in ("true", "1", "yes")
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        if kind in (str, Path):
            return kind(text)
    raise ValueError(f"{word} expects {getattr(hint, '__name__', hint)}, got {text!r}")


if __name__ == "__main__":
    sys.exit(main())
