"""MovingMNIST++: the parameters of sequences, drawn at random.

A sequence is twenty frames of 64 x 64 px with three digits that move, rotate and change size while the brightness of
all changes. A few parameters determine it. They are drawn here from a counter, so any batch can be drawn without those
before it, or read from the official file by :mod:`agents.moving_mnist.files`; :mod:`agents.moving_mnist.rendering`
makes the frames.

The rule is that of the released code of Shi et al. 2017, with which the official test file was made. The paper prints
half the rotation (Table 6) and one brightness factor for every frame. It does not mention the
box in which digits stay, that the brightest digit is shown where digits overlap, or that pixels exceed 1.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

RULE_VERSION = 2  # stored with weights; a change of any parameter or pixel of a sequence needs a new one
SIZE, FRAMES, SEEN, DIGITS = 64, 20, 10, 3  # px, frames in a sequence, of these inputs, digits in a sequence
LEADS = FRAMES - SEEN
POOL = 40_000  # the first training images, used for training and test alike as in the released code
ROTATION = 30.0  # degrees per frame at most, in the released code and the official test file
PAPER_ROTATION = 15.0  # what the paper prints (Table 6)
SCALE, SPEED, DIMMEST = 1.1, 3.6, 0.6  # size factor per frame, px per frame at most; least brightness factor per frame
BOX = (10.0, 54.0)  # px: where the centre of a digit may be from the second frame on
EXPONENT = np.array((0, 1, 2, 3, 4, 3, 2, 1, 0, -1) * 2)  # of the factors of brightness and size in each frame

_BLOCKS, _WORDS = 6, 24  # Philox blocks and numbers for a sequence: 22 numbers, rounded up to blocks of 4

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parameters:
    """What determines B sequences of D digits, apart from the images of the digits; x is to the right, y down.

    A slice such as ``parameters[10:20]`` gives the parameters of some sequences.

    Attributes:
        digit: (B, D), indices of the images.
        place: (B, D, 2) in [0, 1): x and y in the first frame, as a share of the range in which the digit fits.
        rotation: (B, D) degrees per frame, counter-clockwise.
        scale: (B, D) > 0: factor by which a digit shrinks when EXPONENT increases by 1.
        speed: (B, D) px per frame.
        heading: (B, D) rad from x towards y.
        light: (B,) > 0: factor of the brightness of all digits when EXPONENT increases by 1.

    Raises:
        ValueError: If shapes do not fit or a value cannot be rendered.
    """

    digit: npt.NDArray[np.int64]
    place: Floats
    rotation: Floats
    scale: Floats
    speed: Floats
    heading: Floats
    light: Floats

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
            raise ValueError("scale and light must be above 0")

    def __len__(self) -> int:
        return len(self.digit)

    def __getitem__(self, rows: slice) -> "Parameters":
        return Parameters(*(getattr(self, f.name)[rows] for f in fields(self)))


def draw_parameters(seed: int, index: int, batch: int, *, pool: int = POOL, rotation: float = ROTATION) -> Parameters:
    """Draw sequences ``index * batch`` to ``(index + 1) * batch - 1`` of an endless stream.

    Args:
        seed: Of the stream.
        index: Number of the batch; batches of another size run through the same sequences.
        batch: Number of sequences.
        pool: Digits are drawn from this many first images.
        rotation: The largest rotation in degrees per frame, in either direction.

    Raises:
        ValueError: If seed or index is negative, or batch or pool is below 1.
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
