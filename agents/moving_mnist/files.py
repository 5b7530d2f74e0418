"""Files of MovingMNIST++: the official test sequences and the images of MNIST."""

import gzip
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .data import DIMMEST, POOL, ROTATION, SCALE, SPEED, Parameters

IMAGES = "train-images-idx3-ubyte"
SIDE = 28  # px of an image of MNIST
OFFICIAL = ("movingmnist_10000_nodistr.npz", "movingmnistpp_test_10000.npz")
FOLDER = "HKO7ENV_MNIST"  # environment variable


def read_official(path: str | Path | None = None) -> Parameters:
    """Read the 10,000 test sequences of Shi et al. 2017, with three digits each.

    Args:
        path: The file or its folder; default: the folder in the environment variable HKO7ENV_MNIST.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or another file.
    """
    file = _find_file(path, OFFICIAL, "it is in mnist_data of github.com/sxjscience/HKO-7")
    remedy = f"{OFFICIAL[0]} of github.com/sxjscience/HKO-7, mnist_data, is needed: download it again"
    try:
        with zipfile.ZipFile(file) as archive:
            data = {name: _read_array(archive, name) for name in _NAMES.values()}
        parameters = Parameters(**{ours: data[theirs] for ours, theirs in _NAMES.items()})
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} cannot be read ({error}); {remedy}") from error
    for name, (low, high) in _RANGES.items():
        values = getattr(parameters, name)
        if values.min() < low or values.max() > high:
            raise ValueError(f"{file}: {_NAMES[name]} has values outside {low:.3g} to {high:.3g}; {remedy}")
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


def _read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as member:
        values: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{name} holds {values.dtype}, not numbers")
    return values.astype(np.int64 if name == _NAMES["digit"] else np.float64)


def _find_file(path: str | Path | None, names: tuple[str, ...], source: str) -> Path:
    """``path`` if it is a file, otherwise one of ``names`` in the folder ``path`` or, without it, HKO7ENV_MNIST."""
    given = path or os.environ.get(FOLDER)
    needed = f"{' or '.join(names)} is needed; {source}"
    if not given:
        raise FileNotFoundError(f"{needed}. Give its folder, or set the environment variable {FOLDER}")
    place = Path(given)
    for file in (place, *(place / name for name in names)):
        if file.is_file():
            return file
    by = "" if path else f", the value of {FOLDER}"
    raise FileNotFoundError(f"{needed}. There is none {'in' if place.is_dir() else 'at'} {place}{by}")


def read_mnist(path: str | Path | None = None) -> npt.NDArray[np.uint8]:
    """Read the training images of MNIST from an IDX file, plain or gzip.

    Args:
        path: The file or its folder; default: the folder in the environment variable HKO7ENV_MNIST.

    Returns:
        (N, 28, 28) uint8, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or another file.
    """
    source = "mirrors of MNIST have it, such as ossci-datasets.s3.amazonaws.com/mnist"
    file = _find_file(path, (f"{IMAGES}.gz", IMAGES), source)
    images = read_idx(file)
    if images.shape[1:] != (SIDE, SIDE) or not len(images):
        raise ValueError(f"{file} holds {images.shape}, not images (N, {SIDE}, {SIDE}): {IMAGES} is needed")
    return images


def read_idx(file: str | Path) -> npt.NDArray[np.uint8]:
    """Read the uint8 array, of any shape, in an IDX file, plain or gzip.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or another file.
    """
    raw, remedy = Path(file).read_bytes(), "download it again"
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file} is damaged ({error}): {remedy}") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{file} is not an IDX file of bytes, as those of MNIST are: {remedy}")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ValueError(f"{file} ends in its header: {remedy}")
    shape = tuple(np.frombuffer(raw[4:start], ">u4").tolist())
    if len(raw) != start + math.prod(shape):
        raise ValueError(f"{file} has {len(raw)} bytes, its header says {start + math.prod(shape)}: {remedy}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
