"""The file formats, one module each, found by the module's name.

A module defines ``FORMAT``, an instance. If it reads several kinds of files, it defines instead ``Config``, a dataclass
of options, and ``make(variant, config)``: ``pysteps:fmi_pgm`` is the variant ``fmi_pgm`` of the module ``pysteps``.
"""

import dataclasses
import importlib
import pkgutil
from types import ModuleType
from typing import Any

from hko7env.importers.contract import Format, RadarImportError
from hko7env.naming import suggest


def available_formats() -> list[str]:
    """Names of the formats of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_format(name: str, **options: Any) -> Format:
    """Load a format by name.

    Args:
        name: A module of this package, such as ``fmi``, or any importable module with a dot in its name, such as
            ``my_package.my_format``; after a colon the variant, such as ``pysteps:fmi_pgm``.
        **options: Fields of the module's ``Config``.

    Raises:
        RadarImportError: There is no such module, it defines no format, needs a variant or has none, or an option is
            not valid.
    """
    module, variant, config = _find(name)
    known = [field.name for field in dataclasses.fields(config)] if config else []
    for option in options:
        if option not in known:
            raise RadarImportError(f"the import format {name} has no option {option!r}, {suggest(option, known)}")
    if config is None:
        found = getattr(module, "FORMAT", None)
    else:
        if not variant:
            raise RadarImportError(f"{name} reads several kinds of files: name one, as in {_example(module, name)}")
        found = module.make(variant, config(**options))
    if not isinstance(found, Format):
        raise RadarImportError(f"{module.__name__} defines no FORMAT, an instance of hko7env.importers.Format")
    return found


def format_options(name: str) -> Any:
    """The dataclass of the options of a format, or None if it has none.

    Args:
        name: As for :func:`load_format`.

    Raises:
        RadarImportError: There is no such module.
    """
    return _find(name)[2]


def _find(name: str) -> tuple[ModuleType, str, Any]:
    """The module, the variant and the dataclass of options of a format; the last two may be "" and None."""
    name, colon, variant = name.partition(":")
    known = available_formats()
    module = _import(name) if "." in name else None
    if name in known:
        module = importlib.import_module(f"{__name__}.{name}")
    if module is None:
        raise RadarImportError(f"there is no import format {name!r}, {suggest(name, known)}")
    config = getattr(module, "Config", None) if hasattr(module, "make") else None
    if colon and config is None:
        raise RadarImportError(f"the import format {name} has no variants, got {name}:{variant}")
    return module, variant, config


def _example(module: ModuleType, name: str) -> str:
    return f"{name}:{getattr(module, 'EXAMPLE', 'NAME')}"


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
