"""Pictures of frames: a colour per rain rate, and panels side by side with a colour scale."""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hko7env.archive.format import iso
from hko7env.contract import Observation, Task
from hko7env.units import HKO7, NOISE_LEVEL, ZR, level, pixel

Picture = npt.NDArray[np.uint8]

# (mm/h, colour): from light blue to violet; the paper's thresholds are among the edges
COLOURS = (
    (0.15, (198, 224, 248)), (0.5, (116, 178, 235)), (2.0, (40, 110, 205)), (5.0, (38, 160, 80)),
    (10.0, (250, 215, 60)), (20.0, (245, 140, 30)), (30.0, (225, 40, 35)), (50.0, (165, 15, 60)),
    (100.0, (150, 50, 190)),
)  # fmt: skip
_DRY, _OUTSIDE, _PAPER, _INK = (244, 244, 241), (205, 205, 205), (255, 255, 255), (40, 40, 40)
_MARGIN, _TITLE, _SCALE = 8, 20, 110


@cache
def palette(zr: ZR = HKO7) -> Picture:
    """(256, 3) uint8 RGB colour of each level; echo below 0.15 mm/h or below level 71 is drawn as dry."""
    table = np.full((256, 3), _DRY, np.uint8)
    for rate, colour in COLOURS:
        table[max(int(level(pixel(zr.dbz(rate)))), 1) :] = colour
    table[:NOISE_LEVEL][table[:NOISE_LEVEL, 0] != _DRY[0]] = COLOURS[0][1]
    table.setflags(write=False)
    return table


def colour(levels: npt.NDArray[np.uint8], scored: npt.NDArray[np.bool_] | None = None, zr: ZR = HKO7) -> Picture:
    """Colour a frame.

    Args:
        levels: (H, W) uint8.
        scored: (H, W) bool static mask; where it is False and the level is 0, the picture is grey.
        zr: Relation between level and rain rate.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    picture: Picture = palette(zr)[levels]
    if scored is not None:
        picture[~scored & (levels == 0)] = _OUTSIDE
    return picture


def side_by_side(
    observation: Observation, issued: int | None, forecast: npt.NDArray[np.float32] | None, *, task: Task
) -> Picture:
    """Draw the newest frame, the forecast at half the longest lead time, and the colour scale in mm/h and dBZ.

    Args:
        observation: The newest observation.
        issued: Time of issue of the forecast, minutes since 1970-01-01, or None.
        forecast: (K, H, W) float32 pixels in [0, 1], or None.
        task: The task of the environment.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    lead = task.leads // 2
    frame = observation["frames"][-1]
    ahead = level(forecast[lead - 1]) if forecast is not None else np.zeros_like(frame)
    now = int(observation["time"][-1])
    shown = "observed" if observation["present"][-1] else "missing"
    ahead_title = "no forecast yet"
    if issued is not None:
        ahead_title = f"forecast for {iso(issued + lead * task.cadence)}, issued {iso(issued)[-5:]}"
    titles = (f"{iso(now)} {shown}", ahead_title)
    height, width = max(task.height, 200), max(task.width, 160)  # room for the scale's labels
    canvas = Image.new("RGB", (3 * _MARGIN + 2 * width + _SCALE, _TITLE + height + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (levels, title) in enumerate(zip((frame, ahead), titles, strict=True)):
        left = _MARGIN + i * (width + _MARGIN)
        panel = Image.fromarray(colour(levels, task.scored, task.zr))
        canvas.paste(panel.resize((width, height), Image.Resampling.NEAREST), (left, _TITLE))
        draw.text((left, 4), title, _INK)
    _draw_scale(draw, 3 * _MARGIN + 2 * width, height, task.zr)
    return np.asarray(canvas)


def _draw_scale(draw: ImageDraw.ImageDraw, left: int, height: int, zr: ZR) -> None:
    font = ImageFont.load_default(10)
    draw.text((left, 4), "mm/h", _INK, font)
    draw.text((left + 62, 4), "dBZ", _INK, font)
    step = height / len(COLOURS)
    for i, (rate, rgb) in enumerate(reversed(COLOURS)):
        top = _TITLE + i * step
        draw.rectangle((left + 30, top, left + 52, top + step), fill=rgb)
        draw.text((left, top + step - 12), f"{rate:g}", _INK, font)
        draw.text((left + 62, top + step - 12), f"{float(zr.dbz(rate)):.0f}", _INK, font)
