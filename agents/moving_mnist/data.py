"""MovingMNIST++: three digits that move, turn, grow and shrink under one changing light, twenty frames of 64 x 64.

The rule is that of the released code of Shi et al. 2017, which made the official test file; where the paper prints
something else, see README, Deviations. A sequence is a few parameters: they are drawn from a counter, so that any batch
is had without those before it, or read from the official file, and then rendered in one go on the CPU or a GPU.
Import this module by its name: alone in this package it needs torch.
"""

import gzip
import math
import os
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

RULE_VERSION = 2  # a change of any drawn or rendered value below needs a new one
SIZE, FRAMES, SEEN, DIGITS = 64, 20, 10, 3  # px, frames a sequence, of these seen, digits a sequence
POOL = 40_000  # the first training images; for training and test alike, as released
ROTATION, PAPER_ROTATION = 30.0, 15.0  # degrees a frame at most: the code and its test file; the paper, Table 6
SCALE, SPEED, DIMMEST = 1.1, 3.6, 0.6  # factor a frame, px a frame at most; least factor of light a frame
BOX = (10.0, 54.0)  # px, where the centre of a digit may be from the second frame on
EXPONENT = np.array((0, 1, 2, 3, 4, 3, 2, 1, 0, -1) * 2)  # of light and scale, frame by frame; five up, five down
IMAGES = "train-images-idx3-ubyte"
OFFICIAL = ("movingmnist_10000_nodistr.npz", "movingmnistpp_test_10000.npz")
FOLDER = "HKO7ENV_MNIST"

_SIDE = 28  # px of an MNIST image
_STEP = 4  # px between the sizes of squares: finer wastes calls, coarser wastes pixels
_BLOCKS, _WORDS = 6, 24  # of Philox a sequence: 22 numbers, rounded up to blocks of 4

Floats = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Parameters:
    """What fixes B sequences of D digits, given the digits' images; x is to the right, y down.

    ``parameters[10:20]`` are some of them. Raises ValueError for other shapes and for what cannot be rendered.
    """

    digit: npt.NDArray[np.int64]  # (B, D) rows of the images
    place: Floats  # (B, D, 2) in [0, 1): x and y of the first frame, as a share of the room that there is
    rotation: Floats  # (B, D) degrees a frame, counter-clockwise
    scale: Floats  # (B, D) > 0: factor a frame by which a digit shrinks while EXPONENT grows
    speed: Floats  # (B, D) px a frame
    heading: Floats  # (B, D) rad from x towards y
    light: Floats  # (B,) > 0: factor a frame while EXPONENT grows; one for all digits

    def __post_init__(self) -> None:
        shape = self.digit.shape
        if len(shape) != 2:
            raise ValueError(f"digit has the shape (B, D), got {shape}")
        expected = {f.name: shape for f in fields(self)} | {"place": (*shape, 2), "light": shape[:1]}
        for name, wanted in expected.items():
            values = getattr(self, name)
            if values.shape != wanted:
                raise ValueError(f"{name} has the shape {wanted} beside digit's {shape}, got {values.shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} has values that are not finite")
        if (self.scale <= 0).any() or (self.light <= 0).any():
            raise ValueError("scale and light are factors above 0")

    def __len__(self) -> int:
        return len(self.digit)

    def __getitem__(self, rows: slice) -> "Parameters":
        return Parameters(*(getattr(self, f.name)[rows] for f in fields(self)))


def draw(seed: int, index: int, batch: int, *, pool: int = POOL, rotation: float = ROTATION) -> Parameters:
    """Parameters of batch ``index`` of ``batch`` sequences, of the stream that ``seed`` names.

    It is sequences ``index * batch`` to ``(index + 1) * batch - 1`` of the stream, whatever the batches are: batches of
    another size walk the same sequences. Digits come from the first ``pool`` images, rotations from -``rotation`` to
    ``rotation`` degrees. Raises ValueError for a negative seed or index and for an empty batch or pool.
    """
    if not 0 <= seed < 2**64 or index < 0 or batch < 1 or pool < 1:
        raise ValueError(
            f"0 <= seed < 2^64, index >= 0, batch >= 1, pool >= 1 are needed, got {seed}, {index}, {batch}, {pool}"
        )
    stream = np.random.Philox(key=np.array((seed, 0), np.uint64), counter=int(index) * batch * _BLOCKS)
    u = np.random.Generator(stream).random((batch, _WORDS))
    each = np.moveaxis(u[:, 1 : 1 + 7 * DIGITS].reshape(batch, DIGITS, 7), -1, 0)
    return Parameters(
        digit=(each[0] * pool).astype(np.int64),
        place=np.stack([each[1], each[2]], -1),
        rotation=rotation * (2 * each[3] - 1),
        scale=1 / SCALE + (SCALE - 1 / SCALE) * each[4],
        speed=SPEED * each[5],
        heading=2 * np.pi * each[6],
        light=DIMMEST + (1 - DIMMEST) * u[:, 0],
    )


def official(path: str | Path | None = None) -> Parameters:
    """The 10,000 test sequences of Shi et al. 2017; D = 3.

    ``path`` is the file or its folder; without it, the folder that HKO7ENV_MNIST names. Raises FileNotFoundError where
    it is not and ValueError for a file that is damaged or another one.
    """
    file = _find(path, OFFICIAL, "mnist_data of github.com/sxjscience/HKO-7 has it")
    remedy = f"{OFFICIAL[0]} of github.com/sxjscience/HKO-7, mnist_data, is needed: fetch it again"
    try:
        with zipfile.ZipFile(file) as archive:
            data = {name: _array(archive, name) for name in _NAMES.values()}
        parameters = Parameters(**{ours: data[theirs] for ours, theirs in _NAMES.items()})
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} cannot be read ({error}); {remedy}") from error
    for name, (low, high) in _RANGES.items():
        values = getattr(parameters, name)
        if values.min() < low or values.max() > high:
            raise ValueError(f"{file}: {_NAMES[name]} leaves {low:.3g} to {high:.3g}; {remedy}")
    return parameters


_NAMES = {
    "digit": "digit_indices",
    "place": "affine_transforms_multipliers",
    "rotation": "base_rotation_angle",
    "scale": "scale_variation",
    "speed": "init_velocity_magnitude",
    "heading": "init_velocity_angle",
    "light": "appearance_mult",
}
_RANGES = {
    "digit": (0, POOL - 1),
    "place": (0, 1),
    "rotation": (-ROTATION, ROTATION),
    "scale": (1 / SCALE, SCALE),
    "speed": (0, SPEED),
    "heading": (0, 2 * np.pi),
    "light": (DIMMEST, 1),
}


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        values: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {values.dtype}, not numbers")
    return values.astype(np.int64 if name == _NAMES["digit"] else np.float64)


def _find(path: str | Path | None, names: tuple[str, ...], source: str) -> Path:
    """The file ``path``, or the first of ``names`` in the folder ``path``, or in the one that HKO7ENV_MNIST names."""
    given = path or os.environ.get(FOLDER)
    needed = f"{' or '.join(names)} is needed; {source}"
    if not given:
        raise FileNotFoundError(f"{needed}. Say where it lies: an argument, or the environment variable {FOLDER}")
    place = Path(given)
    for file in (place, *(place / name for name in names)):
        if file.is_file():
            return file
    by = "" if path else f", which {FOLDER} names"
    raise FileNotFoundError(f"{needed}. It was looked for {'in' if place.is_dir() else 'at'} {place}{by}")


def read_mnist(path: str | Path | None = None) -> npt.NDArray[np.uint8]:
    """MNIST's images (N, 28, 28) uint8, in the order of their IDX file; plain or gzip.

    ``path`` is the file, or the folder of the training images; without it, the folder that HKO7ENV_MNIST names. Raises
    FileNotFoundError where they are not and ValueError for a file that is damaged or another one.
    """
    source = "mirrors of MNIST have it, such as ossci-datasets.s3.amazonaws.com/mnist"
    file = _find(path, (f"{IMAGES}.gz", IMAGES), source)
    images = read_idx(file)
    if images.shape[1:] != (_SIDE, _SIDE) or not len(images):
        raise ValueError(f"{file} holds {images.shape}, not images (N, {_SIDE}, {_SIDE}): {IMAGES} is needed")
    return images


def read_idx(file: str | Path) -> npt.NDArray[np.uint8]:
    """The array uint8 of any shape in an IDX file, plain or gzip.

    Raises ValueError for a file that is damaged or another one.
    """
    raw, remedy = Path(file).read_bytes(), "fetch it again"
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file} is damaged ({error}): {remedy}") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{file} is no IDX file of bytes, as MNIST's are: {remedy}")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(f"{file} ends in its header: {remedy}")
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist())
    if len(raw) != start + math.prod(shape):
        raise ValueError(f"{file} has {len(raw)} bytes, its header says {start + math.prod(shape)}: {remedy}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def gains(parameters: Parameters) -> Floats:
    """(B, T) factor of light of each frame, 0.6^4 to 1 / 0.6; above 1 where EXPONENT is -1."""
    return np.asarray(parameters.light[:, None] ** EXPONENT)


def centres(parameters: Parameters, size: Floats) -> Floats:
    """(B, D, T, 2) x and y of each digit's centre in px, for digits of ``size`` (B, D, 2), width and height in px.

    In the first frame the digit's box lies anywhere in the picture. From then on a centre that would leave BOX is put
    on its edge and turns round there, whichever way it went: so a digit that starts outside is put on the edge too.
    """
    centre = size / 2 + parameters.place * (SIZE - size)
    velocity = parameters.speed[..., None] * np.stack([np.cos(parameters.heading), np.sin(parameters.heading)], -1)
    path = [centre]
    for _ in range(FRAMES - 1):  # a few numbers a sequence, each from the one before: on the host on any device
        moved = centre + velocity
        centre = moved.clip(*BOX)
        velocity = np.where(moved == centre, velocity, -velocity)
        path.append(centre)
    return np.stack(path, 2)


def render(images: npt.NDArray[np.uint8], parameters: Parameters, device: str | torch.device = "cpu") -> torch.Tensor:
    """Frames (B, 20, 64, 64) float32 on ``device``, the pixels 0 to 1 / 0.6: levels / 255 times the light, not clipped.

    ``images`` (N, 28, 28) uint8 are black around their digits. A digit loses its black rows and columns, those inside
    it too; what is left is its box. Each is turned and scaled about the centre of its box, sampled bilinearly where a
    pixel came from, black outside; the brightest digit shows. A sequence does not depend on the others of its batch.
    Raises ValueError for other images and where there are too few.
    """
    if images.ndim != 3 or images.shape[1:] != (_SIDE, _SIDE) or images.dtype != np.uint8:
        raise ValueError(f"images (N, {_SIDE}, {_SIDE}) uint8 are needed, got {images.shape} {images.dtype}")
    if parameters.digit.min() < 0 or parameters.digit.max() >= len(images):
        raise ValueError(f"image {parameters.digit.max()} is asked for, there are {len(images)}")
    chosen = _without_gaps(images[parameters.digit])
    corner, size = _boxes(chosen)
    pixels = torch.from_numpy(chosen).to(device).float().flatten(0, 1)[:, None]
    light = (gains(parameters) / 255).astype(np.float32)
    to_image = _maps(parameters, corner, size)
    if pixels.device.type == "cpu":
        return _squares(pixels, light, *to_image, _complex(corner + (size - 1) / 2), size)
    return _whole(pixels, light, *to_image)


def _without_gaps(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A copy of (..., H, W) without the black rows and columns inside each digit: what follows them moves up or left.

    The released code crops by the masks of both axes, where one would expect a box. One digit of eighty has such gaps.
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


def _boxes(images: npt.NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Top left corner and size, each (..., 2) as x and y in px, of the box of what is not black in (..., H, W)."""
    corner, size = [], []
    for axis in (-2, -1):  # over rows: columns that are used
        used = np.asarray(images.any(axis))
        first, last = used.argmax(-1), used.shape[-1] - used[..., ::-1].argmax(-1)
        corner.append(first)
        size.append(np.where(used.any(-1), last - first, 0))
    return np.stack(corner, -1).astype(float), np.stack(size, -1).astype(float)


def _complex(xy: Floats) -> Complex:
    return np.asarray(xy[..., 0] + 1j * xy[..., 1])


def _maps(parameters: Parameters, corner: Floats, size: Floats) -> tuple[Complex, Complex]:
    """``origin`` and ``turn`` (B, D, T): frame pixel z = x + iy shows the image at origin + turn z, in px."""
    middle = _complex(size / 2)[..., None]
    angle = np.deg2rad(parameters.rotation)[..., None] * np.arange(FRAMES)
    turn = np.exp(1j * angle) * parameters.scale[..., None] ** EXPONENT
    origin = _complex(corner)[..., None] + middle - turn * _complex(centres(parameters, size))
    return origin, turn


def _whole(pixels: torch.Tensor, light: npt.NDArray[np.float32], origin: Complex, turn: Complex) -> torch.Tensor:
    """Every digit sampled at every pixel in one call: a GPU waits for nothing."""
    batch, digits, _ = origin.shape
    grid = _grid(_on(pixels, origin.reshape(-1)), _on(pixels, turn.reshape(-1)), SIZE)
    sampled = _sample(pixels, grid.view(batch * digits, FRAMES * SIZE, SIZE, 2))
    return sampled.view(batch, digits, FRAMES, SIZE, SIZE).amax(1) * _on(pixels, light)[:, :, None, None]


def _squares(
    pixels: torch.Tensor, light: npt.NDArray[np.float32], origin: Complex, turn: Complex, middle: Complex, size: Floats
) -> torch.Tensor:
    """Every digit sampled in the square that it can reach, a fifth of the picture, squares of one size in one call."""
    batch, digits, _ = origin.shape
    side, corner = _reach(origin, turn, middle, size)
    frame = np.arange(batch)[:, None, None] * FRAMES + np.arange(FRAMES)
    start = frame * SIZE**2 + (corner.imag * SIZE + corner.real).astype(np.int64)
    image = np.arange(batch * digits).reshape(batch, digits, 1)
    columns = (origin + turn * corner, turn, start, image, light[:, None])
    order = np.argsort(side, axis=None, kind="stable")
    table = [_on(pixels, np.broadcast_to(c, side.shape).reshape(-1)[order]) for c in columns]
    sides, counts = np.unique(side, return_counts=True)
    frames = pixels.new_zeros(batch * FRAMES * SIZE**2)
    groups = zip(*(column.tensor_split(np.cumsum(counts)[:-1].tolist()) for column in table), strict=True)
    for width, (at, by, first, which, factor) in zip(sides.tolist(), groups, strict=True):
        sampled = _sample(pixels.index_select(0, which), _grid(at, by, width)).flatten(1).mul_(factor[:, None])
        line = torch.arange(width)
        target = first[:, None] + (line[:, None] * SIZE + line).flatten()
        frames.scatter_reduce_(0, target.flatten(), sampled.flatten(), "amax")
    return frames.view(batch, FRAMES, SIZE, SIZE)


def _reach(origin: Complex, turn: Complex, middle: Complex, size: Floats) -> tuple[npt.NDArray[np.int64], Complex]:
    """Side in px and top left pixel, each (B, D, T), of a square in the frame that holds all a digit can reach.

    The box and a pixel about it are turned and scaled with the digit; moved into the frame, the square still holds
    all of it that is seen.
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
    """``grid_sample``'s (N, width, width, 2) of N squares; a turn is a complex product, and x, y its two halves."""
    scale = 2 / (_SIDE - 1)  # [-1, 1] from the first pixel's centre to the last one's
    line = torch.arange(width, device=origin.device)
    along, start = scale * turn[:, None] * line, scale * origin[:, None] - (1 + 1j)
    return torch.view_as_real((start + 1j * along)[:, :, None] + along[:, None])


def _sample(pixels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _on(like: torch.Tensor, values: npt.NDArray[Any]) -> torch.Tensor:
    """On the device of ``like``; complex numbers in single precision."""
    kept = values.astype(np.complex64) if values.dtype.kind == "c" else values
    return torch.from_numpy(np.ascontiguousarray(kept)).to(like.device)
