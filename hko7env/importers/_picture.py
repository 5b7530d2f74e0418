"""Pictures whose size is known before: nothing of another size is decoded."""

import warnings
from pathlib import Path

from PIL import Image

from hko7env.damage import DamagedFile


def read_picture(path: Path, kind: str, size: tuple[int, int]) -> Image.Image:
    """The picture of a file of ``kind``, such as "PNG", of ``size`` (W, H). Raises DamagedFile or OSError otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=(kind,)) as picture:
                if picture.size != size:
                    found, expected = (f"{width} x {height}" for width, height in (picture.size, size))
                    raise DamagedFile(f"{found} pixels, expected {expected}")
                if [tile[1] for tile in picture.tile] != [(0, 0, *size)]:
                    raise DamagedFile("its image does not cover the picture")
                picture.load()
                return picture.copy()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DamagedFile(str(error)) from error
