"""Atomic replacement of files."""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the content of ``path`` by ``data``; if interrupted at any point, the file is the old or the new one.

    Raises:
        OSError: If that fails; its ``filename`` is set.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # write and fsync on a full disk do not set it
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
