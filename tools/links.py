"""Draw where the links of a TrajGRU look, level by level: ``python tools/links.py best.safetensors --out links.png``.

As Figure 3 of Shi et al. 2017: from each of some locations an arrow to each location that its links read, over the
newest frame that the network has seen.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(Path.cwd())]  # our `agents`, whatever else is installed under that name

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import torch  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from agents.cells import TrajGRU  # noqa: E402
from agents.checkpoint import read  # noqa: E402
from agents.models import build, check_facts, facts, load_weights  # noqa: E402
from hko7env.agent import Task  # noqa: E402
from hko7env.env import NowcastingEnv  # noqa: E402

Flow = npt.NDArray[np.float32]
COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c",
           "#fabebe", "#008080", "#e6beff", "#9a6324")  # fmt: skip
MARGIN = 18  # px above a panel, for its name


def main(arguments: list[str] | None = None) -> int:
    """Parse, draw, say where; the exit status is 0, or 1 for an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="of a TrajGRU; one a row")
    parser.add_argument("--archive", help="path or URL of an archive; default: the embedded synthetic one")
    parser.add_argument("--split", help="a split of the archive; default: test if it has one, else all frames")
    parser.add_argument("--sequence", type=int, default=-1, help="index of a sequence; default: one in the middle")
    parser.add_argument("--across", type=int, default=8, help="locations with arrows along a side; default: 8")
    parser.add_argument("--out", type=Path, default=Path("links.png"), help="a .png or .webp file; default: links.png")
    words = parser.parse_args(arguments)
    try:
        if words.across < 1:
            raise ValueError(f"--across must be at least 1, got {words.across}")
        if words.out.suffix not in (".png", ".webp"):
            raise ValueError(f"--out ends in .png or .webp, got {words.out}")
        env = gymnasium.make("HKO7-Offline-v0", archive=words.archive, split=words.split).unwrapped
        assert isinstance(env, NowcastingEnv)
        count = len(env.schedule)
        index = count // 2 if words.sequence < 0 else words.sequence
        observation, _ = env.reset(options={"start": min(index, count), "stop": count})
        rows = [
            picture(links(path, env.task, observation["frames"]), observation["frames"][-1], words.across)
            for path in words.checkpoints
        ]
        image = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
        for y, row in zip(np.cumsum([0, *(row.height for row in rows)]).tolist(), rows, strict=False):
            image.paste(row, (0, y))
        image.save(words.out)
    except (ValueError, OSError) as error:
        print(f"links: {error}", file=sys.stderr)
        return 1
    print(f"{words.out}: links after the frame of {env.issued(index)}")
    return 0


def links(path: Path, task: Task, frames: npt.NDArray[np.uint8]) -> dict[str, Flow]:
    """The flow (L, 2, H', W') px of each recurrent layer's map at the last of the J ``frames``, by the row's name.

    In the forecaster it is that of its first step. Raises ValueError for a checkpoint of no TrajGRU.
    """
    _, found = read(path)
    check_facts(found, {"model": "trajgru"}, path)
    size = str(found.get("size"))
    net = build("trajgru", size, task)
    load_weights(net, path, facts("trajgru", size, task))
    flows: dict[str, list[Flow]] = {}
    cells = [(name.split(".")[-1], cell) for name, cell in net.named_modules() if isinstance(cell, TrajGRU)]
    for name, cell in cells:
        cell.flow.register_forward_hook(_keeping(flows.setdefault(name, []), cell.links))
    with torch.no_grad():
        net.train(False)(torch.from_numpy(frames)[None] / 255)
    return {name: seen[-1 if name.startswith("e") else 0] for name, seen in flows.items()}


def _keeping(into: list[Flow], count: int) -> Any:
    def hook(_: Any, __: Any, flow: torch.Tensor) -> None:
        into.append(flow[0].unflatten(0, (count, 2)).numpy().copy())

    return hook


def arrows(flow: Flow, across: int) -> npt.NDArray[np.float64]:
    """(N, 5) of ``flow`` (L, 2, H, W): x and y of a location, x and y of where a link looks from there, the link.

    The locations are about ``across`` in each row of the map.

    All in px of the map, from the middle of its first pixel. A link looks at p - flow, see :mod:`agents.warp`.
    """
    _, _, height, width = flow.shape
    apart = max(1, width // across)
    y, x = (axis.ravel() for axis in np.mgrid[apart // 2 : height : apart, apart // 2 : width : apart])
    parts = [
        np.stack([x, y, x - one[0, y, x], y - one[1, y, x], np.full(len(x), number)], 1)
        for number, one in enumerate(flow)
    ]
    return np.concatenate(parts).astype(np.float64)


def picture(flows: dict[str, Flow], frame: npt.NDArray[np.uint8], across: int) -> Image.Image:
    """The layers side by side, each a grey ``frame`` (H, W) under its arrows."""
    height, width = frame.shape
    scale = max(1, -(-360 // max(height, width)))  # small frames are shown larger
    shown = (
        Image.fromarray(255 - frame // 2)
        .convert("RGB")
        .resize((width * scale, height * scale), Image.Resampling.NEAREST)
    )
    sheet = Image.new("RGB", (len(flows) * (shown.width + 4), shown.height + MARGIN), "white")
    for column, (name, flow) in enumerate(flows.items()):
        panel = shown.copy()
        pen = ImageDraw.Draw(panel)
        step = shown.width / flow.shape[-1]
        for x0, y0, x1, y1, link in arrows(flow, across).tolist():
            begin, end = [((x + 0.5) * step, (y + 0.5) * step) for x, y in ((x0, y0), (x1, y1))]
            _arrow(pen, begin, end, COLOURS[int(link) % len(COLOURS)])
        left = column * (shown.width + 4)
        sheet.paste(panel, (left, MARGIN))
        title = f"{name}: {flow.shape[2]} x {flow.shape[3]}, {len(flow)} links"
        ImageDraw.Draw(sheet).text((left + 2, 3), title, fill="black")
    return sheet


def _arrow(pen: ImageDraw.ImageDraw, begin: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """A line with a head of two strokes at its ``end``."""
    along = np.subtract(end, begin)
    length = float(np.hypot(*along))
    pen.line([begin, end], fill=colour, width=1)
    if length < 1:
        pen.point([end], fill=colour)
        return
    along *= min(4.0, length / 2) / length
    for turn in (0.45, -0.45):
        x, y = along
        side = (x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn))
        pen.line([end, (end[0] - side[0], end[1] - side[1])], fill=colour, width=1)


if __name__ == "__main__":
    sys.exit(main())
