"""Where an archive is stored: a path on this machine, a URL or a zarr store, and the lock of its writers."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from hko7env.locking import sole_writer


def is_local(store: Any) -> bool:
    """Whether ``store`` is a path on this machine, not a URL or a store object."""
    return isinstance(store, str | Path) and "://" not in str(store)


def absolute_name(path: str) -> str:
    """The name of an archive in any working folder: an absolute path, or the URL unchanged."""
    return str(Path(path).resolve()) if is_local(path) else path


def write_lock(store: Any) -> AbstractContextManager[None]:
    """Hold the lock of the writers of ``store`` while entered.

    Only folders of this machine have a lock; other stores are not locked.

    Args:
        store: A path, a URL or a zarr store.

    Raises:
        LockedError: On entering, if another process or thread holds the lock; a ValueError that names the holder.
    """
    folder = Path(store) if is_local(store) else store.root if isinstance(store, LocalStore) else None
    return nullcontext() if folder is None else sole_writer(folder)
