"""The file formats, one module each; a module that defines ``FORMAT`` here is found by its name."""

import importlib
import pkgutil
from types import ModuleType

from hko7env.importers.contract import Format, RadarImportError
from hko7env.naming import suggest


def available_formats() -> list[str]:
    """Names of the formats of this package."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_format(name: str) -> Format:
    """Load a format by name.

    Args:
        name: A module of this package, such as ``fmi``, or any importable module with a dot in its name, such as
            ``my_package.my_format``.

    Raises:
        RadarImportError: There is no such module, or it defines no ``FORMAT``.
    """
    known = available_formats()
    module = _import(name) if "." in name else None
    if name in known:
        module = importlib.import_module(f"{__name__}.{name}")
    if module is None:
        raise RadarImportError(f"there is no import format {name!r}, {suggest(name, known)}")
    found = getattr(module, "FORMAT", None)
    if not isinstance(found, Format):
        raise RadarImportError(f"{module.__name__} defines no FORMAT, an instance of hko7env.importers.Format")
    return found


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
