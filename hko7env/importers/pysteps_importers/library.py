"""Calling pysteps: its importers by name, without what it prints and without its changes to the process."""

import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from hko7env.damage import MAX_FRAME_VALUES, DamagedFile, reason
from hko7env.importers.contract import RadarImportError

Importer = Callable[..., Any]
Values = npt.NDArray[np.float64]
Metadata = dict[str, Any]


def find_importer(name: str) -> Importer:
    """The importer that pysteps or one of its plug-ins has under a name, such as ``fmi_pgm``.

    Raises:
        RadarImportError: pysteps is not installed or cannot be imported, or has no such importer.
    """
    try:
        with _quiet():
            from pysteps.io import get_method
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "pysteps":
            raise RadarImportError(f"pysteps cannot be imported: {reason(error)}") from error
        raise RadarImportError(f"pysteps:{name} needs pysteps: pip install 'hko7env[pysteps]'") from error
    except Exception as error:  # it reads a configuration file of the working folder, and loads plug-ins
        raise RadarImportError(
            f"pysteps cannot be imported: {reason(error)}; check pystepsrc in this folder and its plug-ins"
        ) from error
    try:
        found: Importer = get_method(name, "importer")
    except ValueError as error:
        raise RadarImportError(f"there is no importer pysteps:{name}: {reason(error)}") from error
    return found


def check_arguments(name: str, importer: Importer, arguments: Mapping[str, Any]) -> None:
    """Check the names of arguments, because pysteps' importers ignore those that they do not know.

    Raises:
        RadarImportError: The importer has no such argument.
    """
    known = list(parameters(importer))
    for argument in arguments:
        if argument not in known:
            raise RadarImportError(
                f"pysteps:{name} has no argument {argument!r}, only {', '.join(known) or 'the file'}"
            )


def parameters(importer: Importer) -> dict[str, inspect.Parameter]:
    """The named parameters of an importer after the file, by name."""
    _, *rest = inspect.signature(importer).parameters.values()
    return {parameter.name: parameter for parameter in rest if parameter.kind is not parameter.VAR_KEYWORD}


def call(name: str, importer: Importer, path: Path, arguments: Mapping[str, Any]) -> tuple[Values, Metadata]:
    """Read a file with an importer.

    Returns:
        (H, W) float64 values in the units and order of the metadata, NaN where there are no data; and the metadata.

    Raises:
        DamagedFile: The importer failed, or did not return a frame.
        RadarImportError: A package that the importer needs is not installed, or an argument is missing.
    """
    try:
        with _quiet(), np.errstate(all="ignore"):
            values, _, metadata = importer(str(path), **arguments)
    except Exception as error:  # pysteps documents none; its own and those of the libraries below it all mean damage
        if isinstance(error, ImportError) or type(error).__name__ == "MissingOptionalDependency":
            raise RadarImportError(f"pysteps:{name} lacks a package: {reason(error)}") from error
        raise DamagedFile(f"pysteps:{name} failed: {reason(error)}") from error
    if not isinstance(metadata, Mapping):
        raise DamagedFile(f"pysteps:{name} gave no metadata, but {type(metadata).__name__}")
    if getattr(values, "ndim", 0) != 2 or values.dtype.kind not in "iuf" or not 0 < values.size <= MAX_FRAME_VALUES:
        raise DamagedFile(f"pysteps:{name} gave no frame of numbers, but {_describe(values)}")
    return np.ma.filled(np.ma.asarray(values, np.float64), np.nan), dict(metadata)


def _describe(values: Any) -> str:
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide output and warnings, and restore the warning filters, of which pysteps switches off RuntimeWarning."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
