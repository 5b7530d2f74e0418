"""MovingMNIST++ forecasts as an animation: truth, forecast and, for a TrajGRU, the links of its three levels."""

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from ..networks.link_plots import Flow, draw_arrows, record_links
from ..networks.network import Network
from .data import FRAMES, LEADS, SEEN, SIZE

Frames = npt.NDArray[np.float32]

SCALE = 3  # px of the picture per pixel of a frame
ACROSS = 8  # locations with arrows along a side
MARGIN, GAP = 16, 4  # px above the panels, and between them


def draw_film(net: Network, frames: torch.Tensor) -> list[Image.Image]:
    """Draw twenty pictures of truth and forecast, a row per sequence.

    The second column shows the ten inputs, then the ten forecasts. Links are drawn over copies of it: those of the
    encoder over inputs, those of the forecaster over forecasts. Pixels above 1 are shown as 1.

    Args:
        net: A network for MovingMNIST++.
        frames: (B, 20, 64, 64).
    """
    seen = frames[:, :SEEN].to(next(net.parameters()).device)
    forecast, links = record_links(net.train(False), seen)
    truth = frames.cpu().numpy()
    second = np.concatenate([truth[:, :SEEN], forecast.cpu().numpy()], 1)
    return [_draw_picture(truth[:, t], second[:, t], _select_links(links, t), t) for t in range(FRAMES)]


def encode_webp(pictures: list[Image.Image], milliseconds: int = 300) -> bytes:
    """Encode ``pictures`` as a lossless animated WebP that loops; the last picture is shown four times as long."""
    durations = [milliseconds] * (len(pictures) - 1) + [4 * milliseconds]
    data = io.BytesIO()
    pictures[0].save(data, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, lossless=True)
    return data.getvalue()


def _select_links(links: dict[str, Flow], t: int) -> list[Flow]:
    """The links (B, L, 2, H', W') of each level at frame ``t``; an empty list for a network without links."""
    layers = list(links.values())  # those of the encoder from the finest level to the coarsest, then back
    encoder, forecaster = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    return [flow[t] for flow in encoder] if t < SEEN else [flow[t - SEEN] for flow in reversed(forecaster)]


def _draw_picture(truth: Frames, second: Frames, levels: list[Flow], t: int) -> Image.Image:
    """Draw frame ``t`` of all sequences; ``truth`` and ``second`` (B, 64, 64), ``levels`` the links of each level."""
    side = SIZE * SCALE
    titles = ["truth", "input" if t < SEEN else "forecast"]
    titles += [f"links, {flow.shape[-1]} x {flow.shape[-1]}" for flow in levels]
    sheet = Image.new("RGB", (len(titles) * (side + GAP) - GAP, MARGIN + len(truth) * (side + GAP) - GAP), "white")
    pen = ImageDraw.Draw(sheet)
    moment = f"{t + 1} of {SEEN}" if t < SEEN else f"{t + 1 - SEEN} of {LEADS}"
    for column, title in enumerate(titles):
        pen.text((column * (side + GAP) + 2, 2), f"{title} {moment}" if column == 1 else title, fill="black")
    for row in range(len(truth)):
        panel = _draw_panel(second[row])
        panels = [_draw_panel(truth[row]), panel, *(draw_arrows(panel, flow[row], ACROSS) for flow in levels)]
        for column, one in enumerate(panels):
            sheet.paste(one, (column * (side + GAP), MARGIN + row * (side + GAP)))
    return sheet


def _draw_panel(frame: Frames) -> Image.Image:
    grey = Image.fromarray((frame.clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB")
    return grey.resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.NEAREST)
