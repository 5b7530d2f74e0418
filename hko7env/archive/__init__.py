"""Radar archives: their format on disk, reading and writing, splits, clutter and statistics."""

from hko7env.archive.archive import Archive
from hko7env.archive.creation import create
from hko7env.archive.errors import ArchiveError
from hko7env.archive.packing import pack
from hko7env.archive.store import absolute_name, is_local

__all__ = ["Archive", "ArchiveError", "absolute_name", "create", "is_local", "pack"]
