"""Radar archives: what they are on disk, how they are read and written, their splits, clutter and statistics."""

from hko7env.archive.archive import Archive, ArchiveError, create, everywhere, is_local, pack

__all__ = ["Archive", "ArchiveError", "create", "everywhere", "is_local", "pack"]
