"""Reading pictures of a known size; a picture of another size is not decoded."""

import warnings
from pathlib import Path

from PIL import Image

from hko7env.damage import DamagedFile


def read_picture(path: Path, kind: str, size: tuple[int, int]) -> Image.Image:
    """Read a picture of a known size.

    Args:
        path: The file.
        kind: The picture format as Pillow names it, such as "PNG".
        size: (W, H) in pixels.

    Raises:
        DamagedFile: The picture has another size, or its image covers only a part of it.
        OSError: The file is no such picture, or is truncated.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=(kind,)) as picture:
                if picture.size != size:
                    found, expected = (f"{width} x {height}" for width, height in (picture.size, size))
                    raise DamagedFile(f"{found} pixels, expected {expected}")
                tiles = [tile[1] for tile in picture.tile]
                if tiles != [(0, 0, *size)] and kind != "WEBP":  # which has one image of the size of the picture
                    raise DamagedFile("its image does not cover the picture")
                picture.load()
                return picture.copy()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DamagedFile(str(error)) from error
