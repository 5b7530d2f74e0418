"""The links of a TrajGRU, recorded from a network that forecasts, and arrows that show them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from .recurrent import TrajGRU

Flow = npt.NDArray[np.float32]
COLOURS = ("#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c",
           "#fabebe", "#008080", "#e6beff", "#9a6324")  # fmt: skip
MARGIN, GAP = 18, 4  # px above a panel, for its title, and beside it


def record_links(net: torch.nn.Module, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, Flow]]:
    """Forecast, and record the links of each step.

    Args:
        net: A network; without TrajGRU layers it has no links.
        frames: (B, J, H, W) pixels.

    Returns:
        The forecast (B, K, H, W), and for each TrajGRU layer, by the name of its row, the flow (S, B, L, 2, H', W') in
        px of the layer's map for each of its S steps.
    """
    found: dict[str, list[Flow]] = {}
    hooks = []
    for name, cell in net.named_modules():
        if isinstance(cell, TrajGRU):
            into = found.setdefault(name.split(".")[-1], [])
            hooks.append(cell.flow.register_forward_hook(_make_hook(into, cell.links)))
    with torch.no_grad():
        forecast: torch.Tensor = net(frames)
    for hook in hooks:
        hook.remove()
    return forecast, {name: np.stack(steps) for name, steps in found.items()}


def _make_hook(into: list[Flow], links: int) -> Any:
    def hook(_: Any, __: Any, flow: torch.Tensor) -> None:
        into.append(flow.unflatten(1, (links, 2)).float().cpu().numpy().copy())

    return hook


def list_arrows(flow: Flow, across: int) -> npt.NDArray[np.float64]:
    """Arrows from some locations to the points that their links read, p - flow(p); see :mod:`agents.networks.warp`.

    Args:
        flow: (L, 2, H, W) px.
        across: Approximate number of locations per row of the map.

    Returns:
        (N, 5): x and y of the location, x and y of the point, number of the link. Coordinates are in px of the map,
        from the centre of its first pixel.
    """
    _, _, height, width = flow.shape
    apart = max(1, width // across)
    y, x = (axis.ravel() for axis in np.mgrid[apart // 2 : height : apart, apart // 2 : width : apart])
    parts = [
        np.stack([x, y, x - one[0, y, x], y - one[1, y, x], np.full(len(x), number)], 1)
        for number, one in enumerate(flow)
    ]
    return np.concatenate(parts).astype(np.float64)


def share_outside(flow: Flow) -> float:
    """The share of the links of ``flow`` (L, 2, H, W) that read a point 1 px or more outside the map.

    Such a link reads 0 and has no gradient: only gradients of other locations can bring it back.
    """
    locations = np.indices(flow.shape[2:])[::-1]  # x, y
    size = np.array(flow.shape[:1:-1])[:, None, None]  # W, H
    outside = np.abs(locations - flow - (size - 1) / 2) >= (size + 1) / 2
    return float(outside.any(axis=1).mean())


def describe_level(name: str, flow: Flow) -> str:
    """One line about the links of a layer: name, size of the map, number of links, share that read outside."""
    return f"{name}: {flow.shape[2]} x {flow.shape[3]}, {len(flow)} links, {share_outside(flow):.0%} outside the map"


def draw_levels(levels: dict[str, Flow], frame: npt.NDArray[np.uint8], across: int) -> Image.Image:
    """The layers side by side, each as the grey ``frame`` (H, W) with the arrows of its flow (L, 2, H', W')."""
    height, width = frame.shape
    scale = max(1, -(-360 // max(height, width)))  # small frames are enlarged
    grey = Image.fromarray(255 - frame // 2).convert("RGB")
    panel = grey.resize((width * scale, height * scale), Image.Resampling.NEAREST)
    sheet = Image.new("RGB", (len(levels) * (panel.width + GAP), panel.height + MARGIN), "white")
    for column, (name, flow) in enumerate(levels.items()):
        left = column * (panel.width + GAP)
        sheet.paste(draw_arrows(panel, flow, across), (left, MARGIN))
        ImageDraw.Draw(sheet).text((left + 2, 3), describe_level(name, flow), fill="black")
    return sheet


def draw_arrows(panel: Image.Image, flow: Flow, across: int) -> Image.Image:
    """A copy of ``panel``, a picture of the whole map, with the arrows of ``flow`` (L, 2, H, W)."""
    picture = panel.copy()
    pen = ImageDraw.Draw(picture)
    step = panel.width / flow.shape[-1]
    for x0, y0, x1, y1, link in list_arrows(flow, across).tolist():
        begin, end = [((x + 0.5) * step, (y + 0.5) * step) for x, y in ((x0, y0), (x1, y1))]
        _draw_arrow(pen, begin, end, COLOURS[int(link) % len(COLOURS)])
    return picture


def _draw_arrow(pen: ImageDraw.ImageDraw, begin: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Draw a line with an arrow head of two strokes at its ``end``."""
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
