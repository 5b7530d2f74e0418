"""MovingMNIST++ forecasts as an animation: the truth, the forecast and, of a TrajGRU, the links of its three levels."""

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from ..networks.link_plots import Flow, draw_arrows, record_links
from ..networks.network import Network
from .data import FRAMES, SEEN, SIZE
from .experiment import LEADS

Frames = npt.NDArray[np.float32]

SCALE = 3  # px a pixel
ACROSS = 8  # locations with arrows along a side
MARGIN, GAP = 16, 4  # px above the panels, and between them
LEVELS = (("ernn1", "frnn3"), ("ernn2", "frnn2"), ("ernn3", "frnn1"))  # of encoder and forecaster, finest first


def film(net: Network, frames: torch.Tensor) -> list[Image.Image]:
    """Twenty pictures of what ``net`` makes of ``frames`` (B, 20, 64, 64), a row a sequence.

    While it sees, the second column is what it sees. Links are drawn over that column, those of the encoder over what
    it sees and those of the forecaster over what it says. Pixels above 1 look like 1.
    """
    seen = frames[:, :SEEN].to(next(net.parameters()).device)
    ahead, links = record_links(net.train(False), seen)
    truth = frames.cpu().numpy()
    said = np.concatenate([truth[:, :SEEN], ahead.cpu().numpy()], 1)
    return [_picture(truth[:, t], said[:, t], _links(links, t), t) for t in range(FRAMES)]


def encoded(pictures: list[Image.Image], milliseconds: int = 300) -> bytes:
    """``pictures`` as an animated WebP without loss, which stays on its last picture for a while and begins again."""
    durations = [milliseconds] * (len(pictures) - 1) + [4 * milliseconds]
    data = io.BytesIO()
    pictures[0].save(data, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, lossless=True)
    return data.getvalue()


def _links(links: dict[str, Flow], t: int) -> list[Flow]:
    """(B, L, 2, H', W') of each level in frame ``t``; nothing for a network without links."""
    if not links:
        return []
    return [links[encoder][t] if t < SEEN else links[forecaster][t - SEEN] for encoder, forecaster in LEVELS]


def _picture(truth: Frames, said: Frames, levels: list[Flow], t: int) -> Image.Image:
    """One moment of all sequences; ``truth`` and ``said`` (B, 64, 64)."""
    side = SIZE * SCALE
    titles = ["truth", "input" if t < SEEN else "forecast"]
    titles += [f"links, {flow.shape[-1]} x {flow.shape[-1]}" for flow in levels]
    sheet = Image.new("RGB", (len(titles) * (side + GAP) - GAP, MARGIN + len(truth) * (side + GAP) - GAP), "white")
    pen = ImageDraw.Draw(sheet)
    moment = f"{t + 1} of {SEEN}" if t < SEEN else f"{t + 1 - SEEN} of {LEADS}"
    for column, title in enumerate(titles):
        pen.text((column * (side + GAP) + 2, 2), f"{title} {moment}" if column == 1 else title, fill="black")
    for row in range(len(truth)):
        panel = _panel(said[row])
        panels = [_panel(truth[row]), panel, *(draw_arrows(panel, flow[row], ACROSS) for flow in levels)]
        for column, one in enumerate(panels):
            sheet.paste(one, (column * (side + GAP), MARGIN + row * (side + GAP)))
    return sheet


def _panel(frame: Frames) -> Image.Image:
    grey = Image.fromarray((frame.clip(0, 1) * 255).round().astype(np.uint8)).convert("RGB")
    return grey.resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.NEAREST)
