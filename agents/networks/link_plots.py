"""The links of a TrajGRU: where each looks, read from a network at work, and arrows that show it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from .recurrent import TrajGRU

Flow = npt.NDArray[np.float32]
COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c",
           "#fabebe", "#008080", "#e6beff", "#9a6324")  # fmt: skip


def watched(net: torch.nn.Module, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, Flow]]:
    """What ``net`` makes of ``frames`` (B, J, H, W), and where its links looked meanwhile.

    That is the flow (S, B, L, 2, H', W') px of each TrajGRU layer's map in each of its S steps, by the row's name.
    """
    found: dict[str, list[Flow]] = {}
    hooks = []
    for name, cell in net.named_modules():
        if isinstance(cell, TrajGRU):
            into = found.setdefault(name.split(".")[-1], [])
            hooks.append(cell.flow.register_forward_hook(_keeping(into, cell.links)))
    with torch.no_grad():
        forecast: torch.Tensor = net(frames)
    for hook in hooks:
        hook.remove()
    return forecast, {name: np.stack(seen) for name, seen in found.items()}


def _keeping(into: list[Flow], count: int) -> Any:
    def hook(_: Any, __: Any, flow: torch.Tensor) -> None:
        into.append(flow.unflatten(1, (count, 2)).float().cpu().numpy().copy())

    return hook


def arrows(flow: Flow, across: int) -> npt.NDArray[np.float64]:
    """(N, 5) of ``flow`` (L, 2, H, W): x and y of a location, x and y of where a link looks from there, the link.

    The locations are about ``across`` in each row of the map.

    All in px of the map, from the middle of its first pixel. A link looks at p - flow, see :mod:`agents.networks.warp`.
    """
    _, _, height, width = flow.shape
    apart = max(1, width // across)
    y, x = (axis.ravel() for axis in np.mgrid[apart // 2 : height : apart, apart // 2 : width : apart])
    parts = [
        np.stack([x, y, x - one[0, y, x], y - one[1, y, x], np.full(len(x), number)], 1)
        for number, one in enumerate(flow)
    ]
    return np.concatenate(parts).astype(np.float64)


def lost(flow: Flow) -> float:
    """The share of the links of ``flow`` (L, 2, H, W) that look a pixel or more outside the map, where all is 0.

    They see nothing and have no gradient: such a link comes back only by what other locations teach its generator.
    """
    here = np.indices(flow.shape[2:])[::-1]  # x, y
    size = np.array(flow.shape[:1:-1])[:, None, None]  # W, H
    outside = np.abs(here - flow - (size - 1) / 2) >= (size + 1) / 2
    return float(outside.any(axis=1).mean())


def drawn(panel: Image.Image, flow: Flow, across: int) -> Image.Image:
    """``panel``, a picture of all of the map, under the arrows of ``flow`` (L, 2, H, W)."""
    picture = panel.copy()
    pen = ImageDraw.Draw(picture)
    step = panel.width / flow.shape[-1]
    for x0, y0, x1, y1, link in arrows(flow, across).tolist():
        begin, end = [((x + 0.5) * step, (y + 0.5) * step) for x, y in ((x0, y0), (x1, y1))]
        _arrow(pen, begin, end, COLOURS[int(link) % len(COLOURS)])
    return picture


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
