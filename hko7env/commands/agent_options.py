"""Command lines that name agents: the fields of an agent's ``Config`` are options of the command."""

import argparse
import difflib
import sys
from collections.abc import Callable
from typing import Any

from hko7env.command_line import Parser, UsageError
from hko7env.commands.interrupts import importing
from hko7env.loading import available, find
from hko7env.options import add_options, given, options_of

AgentOptions = dict[str, dict[str, Any]]


def add_agents(parser: Parser, *, nargs: int | str) -> None:
    """Add ``AGENT``, of which ``nargs`` are given, to a parser; their names are the argument ``agents``."""
    help_text = f"{', '.join(available())}, or module[:function] of your own"
    parser.add_argument("agents", nargs=nargs, metavar="AGENT", help=help_text)


def parse_with_agents(
    make_parser: Callable[[], Parser], arguments: list[str] | None
) -> tuple[argparse.Namespace, AgentOptions]:
    """Read a command line in two passes: first the agents, then all options, those of the agents included.

    Args:
        make_parser: Makes the parser of the command's own arguments; its argument ``agents`` is a list of names.
        arguments: The words after the command. None: those of the process.

    Returns:
        The values of the command's own arguments, and for each agent the options that were given and that it has.

    Raises:
        UsageError: If an argument is wrong.
        ValueError: If there is no agent of a given name, or its options cannot be options of the command.
    """
    words = sys.argv[1:] if arguments is None else arguments
    own = make_parser()
    agents, unknown = _named_agents(own, words)
    with importing(own.prog):  # imports the agents, and with them torch
        configs = _configs(own, agents, unknown)
    args = _add_agents(make_parser(), configs, agents).parse_args(words)
    options = {}
    for agent, config in configs.items():
        # Each agent reads the command line by its own types, in case several have an option of the same name.
        parsed = _add_agents(make_parser(), configs, [agent, *agents]).parse_args(words)
        options[agent] = given(parsed, config) if config else {}
    return args, options


def _named_agents(own: Parser, words: list[str]) -> tuple[list[str], list[str]]:
    """The agents and the words that are no argument of the command itself; no agents if only help is asked for."""
    without_help = [word for word in words if word not in ("-h", "--help")]
    try:
        args, unknown = own.parse_known_args(without_help)
    except UsageError:
        if len(without_help) < len(words):
            return [], []
        raise
    return args.agents, unknown


def _configs(own: Parser, agents: list[str], unknown: list[str]) -> dict[str, Any]:
    """The ``Config`` of each agent, or None. Raises ValueError if its fields cannot be options of the command."""
    try:
        configs = {agent: find(agent)[1] for agent in agents}
    except ValueError as error:
        if getattr(error, "__notes__", None):  # raised while the agent's module was imported
            raise
        raise ValueError("; ".join([str(error), *_hints(own, unknown)])) from error
    for agent, config in configs.items():
        try:
            names = {option.name for option in options_of(config)} if config else set()
        except TypeError as error:
            raise ValueError(f"{agent}: {error}; a field with init=False is no option") from error
        if clash := sorted(names & own.names):
            raise ValueError(f"{agent} has an option {clash[0]!r}, as {own.prog} has: rename the field of its Config")
    return configs


def _hints(own: Parser, unknown: list[str]) -> list[str]:
    """Remedies for a word that was read as an agent and is none: the flag before it may be misspelt."""
    flags = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    close = {flag: difflib.get_close_matches(flag, own.flags, 1) for flag in flags}
    hints = [f"is {flag} meant to be {found[0]}?" for flag, found in close.items() if found]
    return [*hints, "options of an agent come after the agents"] if flags else []


def _add_agents(parser: Parser, configs: dict[str, Any], agents: list[str]) -> Parser:
    """Add the options of ``agents``; an option that several have is that of the first of them."""
    added: set[str] = set()
    for agent in agents:
        names = {option.name for option in options_of(configs[agent])} if configs[agent] else set()
        if names - added:
            add_options(parser.add_argument_group(f"options of {agent}"), configs[agent], skip=tuple(added))
            added |= names
    return parser
