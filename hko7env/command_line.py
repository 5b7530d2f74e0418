"""Parsing of command lines: one kind of parser and one form of the arguments that several commands share."""

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hko7env.naming import suggest

YES_OR_NO = ("true", "false", "yes", "no", "on", "off")


class UsageError(ValueError):
    """A command line that cannot be read; the message names the argument and the remedy."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, accepts no abbreviations and suggests what was meant."""

    def __init__(self, program: str, description: str, *, renamed: Mapping[str, str] | None = None) -> None:
        """Make a parser without arguments.

        Args:
            program: The words that call the command, such as ``hko7env archive pack``.
            description: Printed above the arguments, line by line, without the double backticks of docstrings.
            renamed: What to suggest for flags of earlier versions, by flag.
        """
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(program, description=description.replace("``", ""), formatter_class=style, allow_abbrev=False)
        self.renamed = dict(renamed or {})

    @property
    def flags(self) -> list[str]:
        """All flags of this parser, such as ``--archive``."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]

    @property
    def names(self) -> set[str]:
        """Names of the values that this parser reads."""
        return {action.dest for action in self._actions}

    def error(self, message: str) -> NoReturn:
        """Raise UsageError(message)."""
        raise UsageError(message)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The values of the arguments. Raises UsageError, with a suggestion for a misspelt flag."""
        words = sys.argv[1:] if args is None else list(args)
        for flag in (word.partition("=")[0] for word in words):
            if flag in self.renamed:
                self.error(f"there is no option {flag!r}, use {self.renamed[flag]}")
        found, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self.error(self._explain(unknown))
        return found

    def _explain(self, unknown: Sequence[str]) -> str:
        for word in unknown:
            if word.startswith("-"):
                flag = word.partition("=")[0]
                return f"there is no option {flag!r}, {suggest(flag, self.flags)}"
        if unknown[0].lower() in YES_OR_NO:
            return f"unexpected {unknown[0]!r}: an option that is true or false is given as --name or --no-name"
        return f"unexpected {unknown[0]!r}: it belongs to no option"


def integer(at_least: int) -> Callable[[str], int]:
    """Reader of an integer argument of at least ``at_least``."""

    def read(word: str) -> int:
        try:
            value = int(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expects an integer, got {word!r}") from error
        if value < at_least:
            raise argparse.ArgumentTypeError(f"must be at least {at_least}, got {value}")
        return value

    return read


def add_archive(parser: Any, *, required: bool = False) -> None:
    """Add ``--archive PATH`` to a parser or group."""
    default = "" if required else "; default: the synthetic archive, made on first use"
    parser.add_argument("--archive", metavar="PATH", required=required, help=f"path or URL of an archive{default}")


def add_archive_positional(parser: Any) -> None:
    """Add ``ARCHIVE``, the archive that the command is about."""
    parser.add_argument("archive", metavar="ARCHIVE", help="path or URL of the archive")


def weighted_archive(word: str) -> tuple[str, float]:
    """The name and weight of ``name=weight``; a weight that is not given is 1. Raises ArgumentTypeError."""
    name, equals, text = word.rpartition("=")
    if not equals:
        return word, 1.0
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not name or not 0 < weight < math.inf:
        raise argparse.ArgumentTypeError(f"expects ARCHIVE or ARCHIVE=WEIGHT with a weight above 0, got {word!r}")
    return name, weight


def add_split(parser: Any) -> None:
    """Add ``--split NAME`` to a parser or group."""
    help_text = "a split of the archive, or all; default: test, or all if the archive has no splits"
    parser.add_argument("--split", metavar="NAME", help=help_text)


def add_workers(parser: Any, purpose: str = "the work", *, default: str | None = None) -> None:
    """Add ``--workers N`` to a parser or group.

    Args:
        parser: The parser or group.
        purpose: What they share, for the help text.
        default: What happens without the option, for the help text; the value is None then. None: one process.
    """
    help_text = f"number of processes that share {purpose}; default: {default or 1}"
    parser.add_argument("--workers", type=integer(1), default=None if default else 1, metavar="N", help=help_text)


def add_scheduler(parser: Any) -> None:
    """Add ``--scheduler ADDRESS`` to a parser or group."""
    help_text = "address of a dask cluster, such as tcp://host:8786; default: none, work in local processes"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=help_text)


def add_out(parser: Any, what: str, default: str | None = None, *, kind: type = Path) -> None:
    """Add ``--out PATH`` to a parser or group; it is required unless there is a default.

    Args:
        parser: The parser or group.
        what: What is written there, for the help text.
        default: The path that is taken without the option.
        kind: Path, or str if a URL is possible.
    """
    text = what if default is None else f"{what}; default: {default}"
    path = None if default is None else kind(default)
    parser.add_argument("--out", type=kind, metavar="PATH", default=path, required=default is None, help=text)
