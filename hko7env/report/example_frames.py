"""Animations of a sequence: observed rain, forecast and reference side by side, as images that a page can hold."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hko7env.rendering import colour
from hko7env.units import ZR

FRAME_MS, LAST_MS = 350, 1500  # display time of a frame and of the last one
_GAP = 6  # px
_FONT = 0.085  # size of the text as a part of a panel's longer side: readable on a phone too
OUTSIDE = (205, 205, 205)  # colour of what is never scored, as in hko7env.rendering
_INK, _PAPER = (32, 36, 44), (255, 255, 255)

Levels = npt.NDArray[np.uint8]


def draw_frames(
    panels: Sequence[tuple[str, Sequence[Levels | None]]],
    minutes: Sequence[int],
    scored: npt.NDArray[np.bool_],
    zr: ZR,
    size: int,
) -> list[Image.Image]:
    """Draw one picture for each lead time.

    Args:
        panels: Title and frames (H, W) uint8 of each panel, from left to right; None where a frame is missing.
        minutes: Lead time of each frame.
        scored: (H, W) bool static mask.
        zr: Relation between level and rain rate.
        size: Px of the longer side of a panel.
    """
    height, width = (round(side * size / max(scored.shape)) for side in scored.shape)
    text = max(9, round(_FONT * size))
    font, top = ImageFont.load_default(text), round(2.6 * text)
    pictures = []
    for k, minute in enumerate(minutes):
        sheet = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, top + height), _PAPER)
        pen = ImageDraw.Draw(sheet)
        pen.text((0, 0), f"+{minute} min", _INK, font)
        for i, (title, frames) in enumerate(panels):
            left, frame = i * (width + _GAP), frames[k]
            pen.text((left, top // 2 - 1), _shorten(title, width, font), _INK, font)
            if frame is None:
                pen.rectangle((left, top, left + width, top + height), OUTSIDE)
                pen.text((left + 6, top + 6), "frame missing", _INK, font)
                continue
            panel = Image.fromarray(colour(np.where(scored, frame, np.uint8(0)), scored, zr))
            sheet.paste(panel.resize((width, height), Image.Resampling.NEAREST), (left, top))
        pictures.append(sheet)
    return pictures


def animation(pictures: Sequence[Image.Image]) -> bytes:
    """Encode pictures of one size as a lossless animated WebP that repeats without end."""
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
    data = io.BytesIO()
    pictures[0].save(
        data, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, lossless=True, quality=70
    )
    return data.getvalue()


def still(picture: Image.Image) -> bytes:
    """Encode one picture as a PNG of few colours."""
    data = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
    return data.getvalue()


def url(data: bytes, kind: str) -> str:
    """The URL of an image of the given kind, such as ``webp``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _shorten(title: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a title as fits into ``width`` px."""
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(f"{title}…") > width:
        title = title[:-1]
    return f"{title}…"
