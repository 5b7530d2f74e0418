"""Calling one of several commands by its name, with help, suggestions, and errors as one line."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from hko7env.command_line import UsageError
from hko7env.commands.interrupts import importing
from hko7env.loading import find_module
from hko7env.naming import suggest

EXPECTED = (ValueError, OSError, MemoryError, FloatingPointError)  # errors whose message is enough for a user


@dataclass(frozen=True)
class Command:
    """One command of a program.

    Attributes:
        module: Module with ``main(arguments: list[str]) -> int``; ``agents.x`` is looked for in the working tree and
            then in the installed package. It is imported when the command is called.
        about: One line for the overview.
        stopped: What to say after Ctrl-C.
    """

    module: str
    about: str
    stopped: str = "stopped"


def dispatch(program: str, description: str, commands: Mapping[str, Command], arguments: list[str]) -> int:
    """Call the command that the first of ``arguments`` names, with the rest.

    Args:
        program: The words that call this program, such as ``hko7env archive``.
        description: Printed above the list of commands.
        commands: The commands by name, in the order of the overview.
        arguments: The words after ``program``.

    Returns:
        The exit status: that of the command, 1 for an error, 2 for a wrong command line, 130 for an interrupt.

    Raises:
        Exception: An error raised by the user's agent (it has notes), or one that is a defect, with its traceback.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(program, description, commands), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in commands:
        print(f"{program}: there is no command {name!r}, {suggest(name, commands)}", file=sys.stderr)
        return 2
    return _call(f"{program} {name}", commands[name], rest)


def _call(program: str, command: Command, arguments: list[str]) -> int:
    try:
        with importing(program):
            module = find_module(command.module)
            if module is None:
                raise ValueError(f"this copy of hko7env lacks {command.module}: install it again")
            run = importlib.import_module(module).main
        status: int = run(arguments)
    except KeyboardInterrupt:
        print(f"\n{program}: {command.stopped}", file=sys.stderr)
        return 130
    except UsageError as error:
        print(f"{program}: {error}\nHelp: {program} --help", file=sys.stderr)
        return 2
    except EXPECTED as error:
        if getattr(error, "__notes__", None):  # raised inside an agent: its author needs the traceback
            raise
        print(f"{program}: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    return status


def overview(program: str, description: str, commands: Mapping[str, Command]) -> str:
    """The help text: usage, description, and one line for each command."""
    width = max(map(len, commands))
    rows = [f"  {name:<{width}}  {command.about}" for name, command in commands.items()]
    end = f"Options of a command: {program} COMMAND --help"
    return "\n".join([f"usage: {program} COMMAND ...", "", description, "", "commands:", *rows, "", end])
