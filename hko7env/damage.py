"""What counts as damage: the errors that reading a damaged file raises, and bounds on what one is believed to hold.

Decoders of pictures, HDF5 and netCDF meet bytes that nobody foresaw and raise whatever the place at hand raises. DAMAGE
lists all of it; an error outside the list, such as a missing package, is not the file's fault. Nothing is decompressed
or allocated on a file's word alone: its size is held against a bound first.
"""

import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from pathlib import Path

LOCATIONS = 1 << 26  # of a frame, 8192 x 8192; the largest composites of today have 37 million

DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_LONGEST = 300  # characters of a reason


class DamagedFile(ValueError):
    """A file that does not hold what its format promises; the message names the field."""


def reason(error: BaseException) -> str:
    """One printable line that says why a file cannot be read; the error's type unless its text was written here."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    text = "".join(c if c.isprintable() else "?" for c in text)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_bytes(path: Path, limit: int) -> bytes:
    """The bytes of a file. Raises DamagedFile, before reading, if it has more than ``limit``."""
    size = path.stat().st_size
    if size > limit:
        raise DamagedFile(f"{size} bytes, expected at most {limit}")
    return path.read_bytes()


def gunzip(data: bytes, limit: int) -> bytes:
    """What a gzip file holds, at most ``limit`` bytes. Raises DamagedFile if it is more, cut off or damaged."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            held = file.read(limit + 1)  # reading on to the end checks the CRC
    except (EOFError, OSError, zlib.error) as error:
        cut = isinstance(error, EOFError)
        raise DamagedFile("the gzip stream is cut off" if cut else f"damaged gzip stream: {error}") from error
    return _within(held, limit)


def inflate(data: bytes, limit: int) -> bytes:
    """What a zlib stream holds, at most ``limit`` bytes. Raises DamagedFile if it is more, cut off or damaged."""
    stream = zlib.decompressobj()
    try:
        held = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise DamagedFile(f"not a zlib stream ({error})") from error
    if not stream.eof and len(held) <= limit:
        raise DamagedFile("the zlib stream is cut off")
    return _within(held, limit)


def _within(held: bytes, limit: int) -> bytes:
    if len(held) > limit:
        raise DamagedFile(f"it decompresses to more than {limit} bytes")
    return held
