"""Animate one forecast beside what happened: ``hko7env animate agents.trajgru --sequence 98 --out forecast.webp``.

The left panel shows the observed frames, the right one the five input frames and then the agent's twenty forecast
frames. The agent is run offline: it sees the input frames of this sequence and nothing before them.
"""

import io
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from hko7env.archive.format import iso
from hko7env.command_line import Parser, add_archive, add_out, add_split, integer
from hko7env.commands.agent_options import add_agents, parse_with_agents
from hko7env.contract import Task
from hko7env.files import write_atomically
from hko7env.forecast import check_forecast
from hko7env.loading import load, noting
from hko7env.rendering import COLOURS, colour
from hko7env.scores import scored
from hko7env.units import level

DEFAULT_SEQUENCE = 0
FRAME_MS, LAST_MS = 220, 1600  # display time of a frame and of the last one
SUFFIXES = (".webp", ".gif")

# Layout in px; a frame is shown with its longer side at PANEL px.
PANEL, GAP, TOP, BOTTOM, SCALE = 480, 16, 58, 40, 86
INK, FAINT, PAPER, TRACK, ACCENT = (32, 36, 44), (112, 118, 128), (255, 255, 255), (226, 229, 234), (40, 110, 205)
UNSCORED = (222, 225, 230)

Levels = npt.NDArray[np.uint8]


class Film(NamedTuple):
    """One sequence of J + K slots: its times, the observed frames, and the forecast.

    Attributes:
        times: (J + K,) int64 minutes since 1970-01-01.
        observed: J + K frames (H, W) uint8; all 0 where missing.
        present: (J + K,) bool, False where the observed frame is missing.
        forecast: (K, H, W) uint8 levels.
    """

    times: npt.NDArray[np.int64]
    observed: list[Levels]
    present: npt.NDArray[np.bool_]
    forecast: Levels


def main(arguments: list[str] | None = None) -> int:
    """Run the agent on one sequence and write the animation.

    Args:
        arguments: The words after ``hko7env animate``; None means those of the process.

    Returns:
        The exit status, 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: For an unknown agent, option, split, sequence or kind of file.
        OSError: If the archive cannot be read or the file cannot be written.
    """
    args, options = parse_with_agents(_make_parser, arguments)
    (agent,) = args.agents
    if args.out.suffix not in SUFFIXES:
        raise ValueError(f"an animation is a {' or '.join(SUFFIXES)} file, got {args.out}")
    env: Any = gymnasium.make("HKO7-Offline-v0", archive=args.archive, split=args.split).unwrapped
    film = record(env, load(agent, env.task, **options[agent]), args.sequence)
    write_atomically(args.out, encode(draw(film, env.task, agent), args.out.suffix))
    print(f"{args.out}: forecast of {agent} issued {env.issued(args.sequence)}, {args.out.stat().st_size:,} bytes")
    return 0


def _make_parser() -> Parser:
    """The command's own arguments."""
    parser = Parser("hko7env animate", __doc__ or "")
    add_agents(parser, nargs=1)
    add_archive(parser)
    add_split(parser)
    help_text = f"index of the sequence in the split; default: {DEFAULT_SEQUENCE}"
    parser.add_argument("--sequence", type=integer(0), default=DEFAULT_SEQUENCE, metavar="N", help=help_text)
    add_out(parser, "a .webp or .gif file", "forecast.webp")
    return parser


def record(env: Any, agent: Any, sequence: int) -> Film:
    """Let ``agent`` forecast one sequence of ``env`` (the unwrapped environment) and collect what was observed.

    Raises:
        ValueError: If the split has no sequence of that index.
        ForecastError: If the agent's forecast is malformed.
    """
    count = len(env.schedule)
    if not 0 <= sequence < count:
        raise ValueError(f"{env.archive.name}, split {env.split}, has sequences 0 to {count - 1}, got {sequence}")
    observation, _ = env.reset(options={"start": sequence, "stop": sequence + 1})
    with noting(f"in sequence {sequence}, issued {env.issued(sequence)}, by {type(agent).__name__}"):
        agent.store(observation)
        forecast = agent.predict()
    check_forecast(forecast, env.action_space.shape)
    times = env.schedule.slots(sequence)
    observed, present = env.view.frames_at(times)
    return Film(times, observed, present, forecast if forecast.dtype == np.uint8 else level(forecast))


def draw(film: Film, task: Task, name: str) -> list[Image.Image]:
    """One picture for each of the J + K slots: observed frame, forecast frame, lead time and colour scale."""
    issued = int(film.times[task.inputs - 1])
    pictures = []
    for slot in range(task.inputs + task.leads):
        lead = slot + 1 - task.inputs
        minutes = lead * task.cadence
        right = film.forecast[lead - 1] if lead > 0 else film.observed[slot]
        subtitle = f"lead time {minutes} min" if lead > 0 else "input frame"
        sheet, pen = _sheet(task)
        width = _panel_size(task)[0]
        _panel(sheet, film.observed[slot], task, GAP)
        _panel(sheet, right, task, 2 * GAP + width)
        _title(pen, GAP, "Observed", f"{iso(int(film.times[slot])).replace('T', ' ')}")
        if not film.present[slot]:
            pen.text((GAP + 12, TOP + 10), "frame missing", INK, _font(15))
        _title(pen, 2 * GAP + width, f"Forecast by {name}", subtitle)
        _progress(pen, sheet.size, slot, task, issued)
        _scale(pen, 3 * GAP + 2 * width, _panel_size(task)[1])
        pictures.append(sheet)
    return pictures


def encode(pictures: list[Image.Image], suffix: str) -> bytes:
    """Encode the pictures as an animated image that repeats without end and shows the last one longer.

    Args:
        pictures: RGB images of one size.
        suffix: ".webp" (lossless) or ".gif" (256 colours).
    """
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
    settings: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "duration": durations, "loop": 0}
    if suffix == ".webp":
        settings |= {"lossless": True, "quality": 80, "method": 4}
    data = io.BytesIO()
    pictures[0].save(data, suffix[1:].upper(), **settings)
    return data.getvalue()


def _panel_size(task: Task) -> tuple[int, int]:
    scale = PANEL / max(task.height, task.width)
    return round(task.width * scale), round(task.height * scale)


def _sheet(task: Task) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    width, height = _panel_size(task)
    sheet = Image.new("RGB", (3 * GAP + 2 * width + SCALE, TOP + max(height, 300) + BOTTOM), PAPER)
    return sheet, ImageDraw.Draw(sheet)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _panel(sheet: Image.Image, levels: Levels, task: Task, left: int) -> None:
    """Paste a frame; small-echo noise looks dry, and locations that are never scored are grey."""
    picture = colour(np.where(scored(levels, task.scored), levels, np.uint8(0)), zr=task.zr)
    picture[~task.scored] = UNSCORED
    sheet.paste(Image.fromarray(picture).resize(_panel_size(task), Image.Resampling.NEAREST), (left, TOP))


def _title(pen: ImageDraw.ImageDraw, left: int, title: str, subtitle: str) -> None:
    pen.text((left, 8), title, INK, _font(20))
    pen.text((left, 33), subtitle, FAINT, _font(15))


def _progress(pen: ImageDraw.ImageDraw, size: tuple[int, int], slot: int, task: Task, issued: int) -> None:
    """A time line under the panels: grey for the inputs, blue up to the lead time that is shown."""
    slots = task.inputs + task.leads
    left, right, middle = GAP, size[0] - SCALE - GAP, size[1] - BOTTOM + 14
    step = (right - left) / slots
    now = left + task.inputs * step
    reached = left + (slot + 1) * step
    pen.rounded_rectangle((left, middle, right, middle + 5), 2, TRACK)
    pen.rounded_rectangle((left, middle, min(reached, now), middle + 5), 2, FAINT)
    if reached > now:
        pen.rectangle((now, middle, reached, middle + 5), ACCENT)
    pen.line((now, middle - 4, now, middle + 9), INK, 2)
    for lead in range(0, task.leads + 1, 5):
        label = f"issued {iso(issued)[-5:]}" if lead == 0 else f"+{lead * task.cadence} min"
        anchor = "ra" if lead == task.leads else "ma"
        pen.text((now + lead * step, middle + 10), label, FAINT, _font(12), anchor=anchor)


def _scale(pen: ImageDraw.ImageDraw, left: int, height: int) -> None:
    """The colours with their lower bounds in mm/h, the heaviest rain on top."""
    pen.text((left, 33), "mm/h", FAINT, _font(15))
    step = max(height, 300) / len(COLOURS)
    for i, (rate, rgb) in enumerate(reversed(COLOURS)):
        top = TOP + i * step
        pen.rectangle((left, top, left + 20, top + step - 1), fill=rgb)
        pen.text(
            (left + 28, top + step - 1), f"{rate:g}", INK, _font(14), anchor="lm" if i < len(COLOURS) - 1 else "lb"
        )
