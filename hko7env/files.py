"""Files that are replaced as a whole."""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` as a whole: whatever stops the writer, the file is the old one or the new one.

    Raises OSError, which names ``path`` whatever failed.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as of write and fsync on a full disk
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
