"""Evaluate agents and print the table of Shi et al. 2017: ``hko7env evaluate agents.last_frame``.

Each agent runs offline, where sequences are independent, and online, where it sees the stream in order and may learn.
A run that is interrupted continues when the same command is given again. The fields of an agent's ``Config`` are
options too: ``hko7env evaluate agents.rover --help`` lists those of ROVER. Agents come first, then their options.
"""

import argparse
import difflib
import sys
from typing import Any

from hko7env.command_line import Parser, UsageError, add_archive, add_out, add_workers, integer
from hko7env.commands.interrupts import importing
from hko7env.evaluation.evaluate import Plan, evaluate
from hko7env.evaluation.table import table
from hko7env.loading import find
from hko7env.options import add_options, given, options_of

PROGRAM = "hko7env evaluate"
SETTINGS = {"online": (True,), "offline": (False,), "both": (False, True)}


def main(arguments: list[str] | None = None) -> int:
    """Evaluate the agents that ``arguments`` name and print their table.

    Returns:
        The exit status 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If an archive, a split or a run folder cannot be used.
        OSError: If a file cannot be read or written.
    """
    args, options = parse(sys.argv[1:] if arguments is None else arguments)
    rows = []
    for agent in args.agents:
        for online in SETTINGS[args.env]:
            plan = Plan(agent, online, args.archive, args.split, args.limit, args.cleaned, options[agent])
            rows.append(evaluate(plan, args.out, workers=args.workers))
    print(table(rows), end="")
    print(f"Run folders with per-lead scores: {args.out}")
    return 0


def parse(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, dict[str, Any]]]:
    """Read a command line in two passes: first the agents, then all options, those of the agents included.

    Returns:
        The values of the command's own arguments, and for each agent the options that were given and that it has.

    Raises:
        UsageError: If an argument is wrong.
        ValueError: If there is no agent of a given name.
    """
    agents, unknown = _named_agents(arguments)
    with importing(PROGRAM):  # imports the agents, and with them torch
        configs = _configs(agents, unknown)
    args = _parser(configs, agents).parse_args(arguments)
    options = {}
    for agent, config in configs.items():
        # An option that several agents have is read by the type of each: its own fields come first.
        parsed = _parser(configs, [agent, *agents]).parse_args(arguments)
        options[agent] = given(parsed, config) if config else {}
    return args, options


def _own_parser() -> Parser:
    parser = Parser(PROGRAM, __doc__ or "")
    add = parser.add_argument
    add("agents", nargs="+", metavar="AGENT", help="agents.last_frame, or module[:function] of your own")
    help_text = "online, offline or both: the environments HKO7-Online-v0 and HKO7-Offline-v0; default: both"
    add("--env", choices=tuple(SETTINGS), default="both", help=help_text)
    add_archive(parser)
    add("--split", help="a split of the archive, or all; default: test, or all if the archive has no splits")
    add("--limit", type=integer(1), metavar="N", help="evaluate the first N sequences only; default: all")
    help_text = "show the agents frames without noise; default: frames as recorded"
    add("--cleaned", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    add_out(parser, "folder in which each run has a folder", "results")
    add_workers(parser, "the sequences of an offline run")
    return parser


def _named_agents(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The agents and the words that are no argument of the command itself; no agents if only help is asked for."""
    words = [word for word in arguments if word not in ("-h", "--help")]
    try:
        args, unknown = _own_parser().parse_known_args(words)
    except UsageError:
        if len(words) < len(arguments):
            return [], []
        raise
    return args.agents, unknown


def _configs(agents: list[str], unknown: list[str]) -> dict[str, Any]:
    """The ``Config`` of each agent, or None. Raises ValueError if it cannot be read from a command line."""
    parser = _own_parser()
    try:
        configs = {agent: find(agent)[1] for agent in agents}
    except ValueError as error:
        if getattr(error, "__notes__", None):  # raised while the agent's module was imported
            raise
        flags = [word.partition("=")[0] for word in unknown if word.startswith("--")]
        meant = {flag: difflib.get_close_matches(flag, parser.flags, 1) for flag in flags}
        hints = [f"is {flag} meant to be {close[0]}?" for flag, close in meant.items() if close]
        hints += ["options of an agent come after the agents"] if flags else []
        raise ValueError("; ".join([str(error), *hints])) from error
    for agent, config in configs.items():
        try:
            names = {option.name for option in options_of(config)} if config else set()
        except TypeError as error:
            raise ValueError(f"{agent}: {error}; a field with init=False is no option") from error
        if clash := sorted(names & parser.names):
            raise ValueError(f"{agent} has an option {clash[0]!r}, as {PROGRAM} has: rename the field of its Config")
    return configs


def _parser(configs: dict[str, Any], agents: list[str]) -> Parser:
    """The parser of the whole command line; an option that several agents have is that of the first of them."""
    parser = _own_parser()
    added: set[str] = set()
    for agent in agents:
        names = {option.name for option in options_of(configs[agent])} if configs[agent] else set()
        if names - added:
            add_options(parser.add_argument_group(f"options of {agent}"), configs[agent], skip=tuple(added))
            added |= names
    return parser
