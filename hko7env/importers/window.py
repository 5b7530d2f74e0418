"""Cutting a part out of a grid, or padding it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE
from hko7env.importers.contract import DecodedFrame, Grid, Levels, RadarImportError


@dataclass(frozen=True)
class Window:
    """A rectangle of a grid, which may reach beyond it; nothing is resampled.

    Attributes:
        row: First row, counted from the northern row of the grid; may be negative.
        column: First column, counted from the western column of the grid; may be negative.
        height: Number of rows, at least 1.
        width: Number of columns, at least 1.

    Raises:
        RadarImportError: The window has no rows or no columns.
    """

    row: int
    column: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise RadarImportError(f"a window has at least 1 x 1 px, got {self.height} x {self.width}")

    def grid(self, whole: Grid) -> Grid:
        """Make the grid of the window.

        Outside ``whole`` the mask is out of range and the coordinates continue with the first step of the axis.

        Raises:
            RadarImportError: The window and the grid do not overlap.
        """
        inside = self.cut(np.ones(whole.shape, np.uint8)) > 0
        if not inside.any():
            raise RadarImportError(
                f"the window {self} does not overlap the grid of {whole.shape[0]} x {whole.shape[1]}"
            )
        return replace(
            whole,
            shape=(self.height, self.width),
            mask=np.where(inside, self.cut(whole.mask), OUT_OF_RANGE).astype(np.uint8),
            x=_extend(whole.x, self.column, self.width),
            y=_extend(whole.y, self.row, self.height),
        )

    def frame(self, whole: DecodedFrame) -> DecodedFrame:
        """The window of a frame; outside the grid its levels are 0."""
        no_data = None if whole.no_data is None else self.cut(whole.no_data.astype(np.uint8)) > 0
        return DecodedFrame(self.cut(whole.levels), no_data, whole.status)

    def cut(self, whole: Levels) -> Levels:
        """The window of an (H, W) uint8 array, 0 outside it."""
        result = np.zeros((self.height, self.width), np.uint8)
        top, left = max(self.row, 0), max(self.column, 0)
        part = whole[top : max(self.row + self.height, 0), left : max(self.column + self.width, 0)]
        down, right = top - self.row, left - self.column
        result[down : down + part.shape[0], right : right + part.shape[1]] = part
        return result


def _extend(axis: npt.NDArray[Any], first: int, size: int) -> npt.NDArray[Any]:
    """``size`` coordinates from index ``first`` of ``axis``, which may lie outside it."""
    indices = np.arange(first, first + size)
    step = axis[1] - axis[0] if len(axis) > 1 else 1.0
    inside = np.clip(indices, 0, len(axis) - 1)
    return np.asarray(axis[inside] + step * (indices - inside))
