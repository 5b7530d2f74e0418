"""Damaged files: the errors that reading one can raise, and limits on the sizes that a file states.

Decoders of pictures, HDF5 and netCDF raise many kinds of errors for damaged bytes. DAMAGE lists them; an error outside
the list, such as a missing package, has another cause. Sizes that a file states are compared with a limit before
anything of that size is decompressed or allocated.
"""

import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from pathlib import Path

MAX_FRAME_VALUES = 1 << 26  # 8192 x 8192; the largest composites today have 37 million values

DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_MAX_REASON = 300  # characters


class DamagedFile(ValueError):
    """A file that does not follow its format; the message says what is wrong."""


def reason(error: BaseException) -> str:
    """Describe in one printable line why a file cannot be read.

    Args:
        error: What reading the file raised.

    Returns:
        The message of a ValueError or OSError; for any other error its type and message. At most 300 characters.
    """
    text = re.sub(r"\s+", " ", str(error)).strip()
    text = "".join(c if c.isprintable() else "?" for c in text)
    text = text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file of at most ``limit`` bytes.

    Raises:
        DamagedFile: The file is larger; it is not read.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    if size > limit:
        raise DamagedFile(f"{size} bytes, expected at most {limit}")
    return path.read_bytes()


def gunzip(data: bytes, limit: int) -> bytes:
    """Decompress a gzip file of at most ``limit`` bytes when decompressed.

    Raises:
        DamagedFile: The data are longer, truncated or damaged.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(limit + 1)  # reading to the end checks the CRC
    except (EOFError, OSError, zlib.error) as error:
        truncated = isinstance(error, EOFError)
        raise DamagedFile("the gzip stream is truncated" if truncated else f"damaged gzip stream: {error}") from error
    return _check_length(content, limit)


def inflate(data: bytes, limit: int) -> bytes:
    """Decompress a zlib stream of at most ``limit`` bytes when decompressed.

    Raises:
        DamagedFile: The data are longer, truncated or damaged.
    """
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise DamagedFile(f"not a zlib stream ({error})") from error
    if not stream.eof and len(content) <= limit:
        raise DamagedFile("the zlib stream is truncated")
    return _check_length(content, limit)


def _check_length(content: bytes, limit: int) -> bytes:
    if len(content) > limit:
        raise DamagedFile(f"it decompresses to more than {limit} bytes")
    return content
