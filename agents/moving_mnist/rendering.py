"""Frames of MovingMNIST++ sequences, rendered in batches on the CPU or a GPU."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from ..networks.devices import send
from .data import BOX, EXPONENT, FRAMES, SIZE, Parameters
from .files import SIDE

_STEP = 4  # px between the sizes of squares: fewer sizes need fewer calls, more sizes fewer pixels

Floats = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]


def compute_brightness(parameters: Parameters) -> Floats:
    """The factor of brightness of each frame, (B, T), 0.6^4 to 1 / 0.6; above 1 where EXPONENT is -1."""
    return np.asarray(parameters.light[:, None] ** EXPONENT)


def compute_centres(parameters: Parameters, size: Floats) -> Floats:
    """The path of the centre of each digit.

    In the first frame the bounding box of a digit lies anywhere in the frame. After that a centre that would leave BOX
    is put on its edge and reverses that component of its velocity, so a digit that starts outside is put on the edge.

    Args:
        parameters: Of B sequences.
        size: (B, D, 2), width and height of the digits in px.

    Returns:
        (B, D, T, 2), x and y in px.
    """
    centre = size / 2 + parameters.place * (SIZE - size)
    velocity = parameters.speed[..., None] * np.stack([np.cos(parameters.heading), np.sin(parameters.heading)], -1)
    path = [centre]
    for _ in range(FRAMES - 1):  # always on the CPU: few numbers, each from the one before
        moved = centre + velocity
        centre = moved.clip(*BOX)
        velocity = np.where(moved == centre, velocity, -velocity)
        path.append(centre)
    return np.stack(path, 2)


def render(images: npt.NDArray[np.uint8], parameters: Parameters, device: str | torch.device = "cpu") -> torch.Tensor:
    """Render sequences.

    Black rows and columns of a digit are removed, inside it too; what remains is its box. It is rotated and scaled
    about the centre of the box by bilinear interpolation, with 0 outside; where digits overlap the brightest is shown.
    A sequence does not depend on the others of its batch.

    Args:
        images: (N, 28, 28) uint8, black around the digits.
        parameters: Of B sequences.
        device: Where to render.

    Returns:
        (B, 20, 64, 64) float32 on ``device``, pixels 0 to 1 / 0.6: level / 255 times brightness, not clipped.

    Raises:
        ValueError: If images have another shape or type, or there are too few.
    """
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE) or images.dtype != np.uint8:
        raise ValueError(f"images (N, {SIDE}, {SIDE}) uint8 are needed, got {images.shape} {images.dtype}")
    if parameters.digit.min() < 0 or parameters.digit.max() >= len(images):
        raise ValueError(f"image {parameters.digit.max()} is needed, there are {len(images)}")
    chosen = _remove_gaps(images[parameters.digit])
    corner, size = _find_boxes(chosen)
    pixels = send(chosen, torch.device(device)).float().flatten(0, 1)[:, None]
    light = (compute_brightness(parameters) / 255).astype(np.float32)
    to_image = _map_to_images(parameters, corner, size)
    if pixels.device.type == "cpu":
        return _render_squares(pixels, light, *to_image, _complex(corner + (size - 1) / 2), size)
    return _render_whole(pixels, light, *to_image)


def _remove_gaps(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A copy of (..., H, W) without black rows and columns inside each digit: what follows them moves up or left.

    The released code crops by masks of both axes, not by a bounding box. One digit in eighty has such gaps.
    """
    images = images.copy()
    for axis in (-2, -1):
        used = np.asarray(images.any(-3 - axis))
        runs = used[..., 0] + (used[..., 1:] & ~used[..., :-1]).sum(-1)
        for where in map(tuple, np.argwhere(runs > 1)):
            first = int(used[where].argmax())
            order = np.argsort(~used[where][first:], kind="stable")
            images[where] = images[where].take(np.r_[:first, first + order], axis)
    return images


def _find_boxes(images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Top left corner and size, each (..., 2), x and y in px, of the box around the pixels above 0 of (..., H, W)."""
    corner, size = [], []
    for axis in (-2, -1):  # over rows: columns that are used
        used = np.asarray(images.any(axis))
        first, last = used.argmax(-1), used.shape[-1] - used[..., ::-1].argmax(-1)
        corner.append(first)
        size.append(np.where(used.any(-1), last - first, 0))
    return np.stack(corner, -1).astype(float), np.stack(size, -1).astype(float)


def _complex(xy: Floats) -> Complex:
    return np.asarray(xy[..., 0] + 1j * xy[..., 1])


def _map_to_images(parameters: Parameters, corner: Floats, size: Floats) -> tuple[Complex, Complex]:
    """The map from frames to images in complex numbers: pixel z = x + iy shows the point origin + turn z, in px.

    Returns:
        Origin and turn, each (B, D, T).
    """
    middle = _complex(size / 2)[..., None]
    angle = np.deg2rad(parameters.rotation)[..., None] * np.arange(FRAMES)
    turn = np.exp(1j * angle) * parameters.scale[..., None] ** EXPONENT
    origin = _complex(corner)[..., None] + middle - turn * _complex(compute_centres(parameters, size))
    return origin, turn


def _render_whole(pixels: torch.Tensor, light: npt.NDArray[np.float32], origin: Complex, turn: Complex) -> torch.Tensor:
    """Sample every digit at every pixel in one call, which is fast on a GPU."""
    batch, digits, _ = origin.shape
    grid = _grid(_to_device(pixels, origin.reshape(-1)), _to_device(pixels, turn.reshape(-1)), SIZE)
    sampled = _sample(pixels, grid.view(batch * digits, FRAMES * SIZE, SIZE, 2))
    return sampled.view(batch, digits, FRAMES, SIZE, SIZE).amax(1) * _to_device(pixels, light)[:, :, None, None]


def _render_squares(
    pixels: torch.Tensor, light: npt.NDArray[np.float32], origin: Complex, turn: Complex, middle: Complex, size: Floats
) -> torch.Tensor:
    """Sample every digit in a square around it, a fifth of the frame, with one call per size of squares."""
    batch, digits, _ = origin.shape
    side, corner = _find_squares(origin, turn, middle, size)
    frame = np.arange(batch)[:, None, None] * FRAMES + np.arange(FRAMES)
    start = frame * SIZE**2 + (corner.imag * SIZE + corner.real).astype(np.int64)
    image = np.arange(batch * digits).reshape(batch, digits, 1)
    columns = (origin + turn * corner, turn, start, image, light[:, None])
    order = np.argsort(side, axis=None, kind="stable")
    table = [_to_device(pixels, np.broadcast_to(c, side.shape).reshape(-1)[order]) for c in columns]
    sides, counts = np.unique(side, return_counts=True)
    frames = pixels.new_zeros(batch * FRAMES * SIZE**2)
    groups = zip(*(column.tensor_split(np.cumsum(counts)[:-1].tolist()) for column in table), strict=True)
    for width, (at, by, first, which, factor) in zip(sides.tolist(), groups, strict=True):
        sampled = _sample(pixels.index_select(0, which), _grid(at, by, width)).flatten(1).mul_(factor[:, None])
        line = torch.arange(width)
        target = first[:, None] + (line[:, None] * SIZE + line).flatten()
        frames.scatter_reduce_(0, target.flatten(), sampled.flatten(), "amax")
    return frames.view(batch, FRAMES, SIZE, SIZE)


def _find_squares(
    origin: Complex, turn: Complex, middle: Complex, size: Floats
) -> tuple[npt.NDArray[np.int64], Complex]:
    """The square of the frame that contains every pixel of a digit, with a margin of 1 px of its image.

    Where it sticks out of the frame it is moved inside, and still contains every visible pixel.

    Returns:
        Side in px and top left pixel x + iy, each (B, D, T).
    """
    back = 1 / turn
    width, height = (size[..., None, axis] + 1 for axis in (0, 1))
    across = width * np.abs(back.real) + height * np.abs(back.imag)
    down = width * np.abs(back.imag) + height * np.abs(back.real)
    side = np.minimum(np.ceil(np.maximum(across, down) / _STEP) * _STEP, SIZE)
    first = (middle[..., None] - origin) * back - (0.5 + 0.5j) * side
    corner = np.clip(np.ceil(first.real), 0, SIZE - side) + 1j * np.clip(np.ceil(first.imag), 0, SIZE - side)
    return side.astype(np.int64), corner


def _grid(origin: torch.Tensor, turn: torch.Tensor, width: int) -> torch.Tensor:
    """The points of N squares in the units of ``grid_sample``, (N, width, width, 2)."""
    scale = 2 / (SIDE - 1)  # [-1, 1] from the first pixel's centre to the last one's
    line = torch.arange(width, device=origin.device)
    along, start = scale * turn[:, None] * line, scale * origin[:, None] - (1 + 1j)
    return torch.view_as_real((start + 1j * along)[:, :, None] + along[:, None])


def _sample(pixels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _to_device(like: torch.Tensor, values: npt.NDArray[Any]) -> torch.Tensor:
    """``values`` on the device of ``like``; complex numbers in single precision."""
    kept = values.astype(np.complex64) if values.dtype.kind == "c" else values
    return send(np.ascontiguousarray(kept), like.device)
