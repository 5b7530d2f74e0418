"""Variations of real rain to learn from: one climate, one radar and one product are seen in many ways."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hko7env.units import DBZ_SPAN, NOISE_LEVEL

Levels = npt.NDArray[np.uint8]

INTENSITY = 0.5  # probability of another intensity
LARGEST_SHIFT = 4.0  # dB up or down
QUANTISED = 0.15  # probability of a product with few classes
CLASS_WIDTHS = (2.0, 5.0)  # dB


@dataclass(frozen=True)
class Variation:
    """One variation, the same for all frames of a window.

    Attributes:
        table: (256,) uint8, the level that replaces each level.
        turns: Number of quarter turns.
        mirrored: Whether left and right change places before.
    """

    table: Levels
    turns: int
    mirrored: bool

    def orient(self, maps: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Mirror and turn the last two axes of ``maps`` (..., H, W)."""
        return np.rot90(maps[..., ::-1] if self.mirrored else maps, self.turns, axes=(-2, -1))


def draw_variation(random: np.random.Generator) -> Variation:
    """Draw one of eight orientations and, sometimes, another intensity and a product of few classes.

    Levels that are not scored as echo, below NOISE_LEVEL, stay.

    Args:
        random: The source of randomness.
    """
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    changed, shift = random.random() < INTENSITY, random.uniform(-LARGEST_SHIFT, LARGEST_SHIFT)
    quantised, width, phase = random.random() < QUANTISED, random.uniform(*CLASS_WIDTHS), random.random()
    per_decibel = 255 / DBZ_SPAN
    levels = np.arange(256, dtype=np.float64)
    if changed:
        levels += shift * per_decibel
    if quantised:
        step = width * per_decibel
        levels = (np.floor(levels / step + phase) + 0.5 - phase) * step
    table = np.rint(levels).clip(0, 255).astype(np.uint8)
    table[:NOISE_LEVEL] = np.arange(NOISE_LEVEL)
    return Variation(table, turns, mirrored)
