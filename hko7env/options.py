"""Options as fields of a frozen dataclass: one definition for the parser, the defaults, the help and the docs.

A field is ``name: Annotated[type, "what it does, with its unit"] = default``. The type is bool, int, float, str, Path,
a Literal of strings, or one of these or None. The flag of ``some_name`` is ``--some-name``, for a bool also
``--no-some-name``. The word ``none`` is read as None if the type allows None and is not ``str | None``.
"""

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option: name of the field, flag, type, whether None is allowed, allowed strings, default and help."""

    name: str
    flag: str
    kind: type
    optional: bool
    choices: tuple[str, ...]
    default: Any
    help: str

    def value(self, word: str) -> Any:
        """Convert a word of the command line. Raises ValueError if the option does not accept it."""
        if self.optional and self.kind is not str and word.lower() == "none":
            return None
        if self.choices and word not in self.choices:
            raise ValueError(f"{self.flag} is one of {', '.join(self.choices)}, got {word!r}")
        try:
            return self.kind(word)
        except ValueError as error:
            raise ValueError(f"{self.flag} expects {self.kind.__name__}, got {word!r}") from error


def options_of(config: Any) -> list[Option]:
    """List the options of the dataclass ``config``. Raises TypeError for a field whose type no flag can express."""
    hints = typing.get_type_hints(config, include_extras=True)
    return [_option(field, hints[field.name]) for field in dataclasses.fields(config) if field.init]


def add_options(parser: Any, config: Any, *, skip: tuple[str, ...] = ()) -> None:
    """Add a flag for each field of a dataclass to a parser.

    Options that are not given are absent from the parsed namespace, so that the dataclass supplies the defaults.

    Args:
        parser: An argparse parser or group.
        config: The dataclass.
        skip: Names of fields that get no flag.
    """
    for option in options_of(config):
        if option.name in skip:
            continue
        shown = "" if option.default is dataclasses.MISSING else f"; default: {_text(option.default)}"
        about = {"help": (option.help + shown).replace("%", "%%"), "default": argparse.SUPPRESS, "dest": option.name}
        if option.kind is bool:
            parser.add_argument(option.flag, action=argparse.BooleanOptionalAction, **about)
        else:
            metavar = "|".join(option.choices) or option.kind.__name__.upper()
            parser.add_argument(option.flag, type=_reader(option), metavar=metavar, **about)


def given(args: argparse.Namespace, config: Any) -> dict[str, Any]:
    """Select from parsed arguments the fields of ``config`` that were given on the command line, by name."""
    return {option.name: getattr(args, option.name) for option in options_of(config) if option.name in args}


def _option(field: Any, hint: Any) -> Option:
    about = ""
    if typing.get_origin(hint) is typing.Annotated:
        hint, about = typing.get_args(hint)[:2]
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (typing.get_args(hint) if union else (hint,)) if kind is not type(None)]
    optional, kind = union and type(None) in typing.get_args(hint), kinds[0]
    choices: tuple[str, ...] = ()
    if typing.get_origin(kind) is typing.Literal:
        choices, kind = typing.get_args(kind), str
    if len(kinds) > 1 or kind not in (bool, int, float, str, Path):
        raise TypeError(f"{field.name} has a type that no flag can have: {hint}")
    return Option(field.name, f"--{field.name.replace('_', '-')}", kind, optional, choices, field.default, about)


def _reader(option: Option) -> Callable[[str], Any]:
    def read(word: str) -> Any:
        try:
            return option.value(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def _text(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default is None or default == "" else str(default)
