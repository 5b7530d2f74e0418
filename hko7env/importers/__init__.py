"""Import of radar files into an archive: one loop, and one module for each format in ``formats``."""

from hko7env.importers.contract import (
    DecodedFrame,
    Format,
    FrameSource,
    Grid,
    OneFrameFormat,
    RadarImportError,
    parse_timestamp,
    reading,
)
from hko7env.importers.formats import available_formats, format_options, load_format
from hko7env.importers.importing import import_radar
from hko7env.importers.window import Window

__all__ = [
    "DecodedFrame",
    "Format",
    "FrameSource",
    "Grid",
    "OneFrameFormat",
    "RadarImportError",
    "Window",
    "available_formats",
    "format_options",
    "import_radar",
    "load_format",
    "parse_timestamp",
    "reading",
]
