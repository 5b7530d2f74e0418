"""What counts a block of locations for :mod:`hko7env.counting`, in numpy or compiled, and what both ways share."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from hko7env.units import ZR

WORD = 8  # locations tested as one machine word, and selected together
MOST_SELECTED = 0.7  # share of words above which all are selected

Block = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.float32]]  # truth, mask, forecast, each (N,)
Errors = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


class BlockCounter(Protocol):
    """Counts the events of a block of locations and computes its errors, which are summed by the caller."""

    def count(self, counts: npt.NDArray[np.int64], block: Block, lead: int, zr: ZR) -> Errors:
        """Count one block.

        Args:
            counts: (4, 5); hits, misses and false alarms at each threshold are added to the first three rows.
            block: Truth (N,) uint8, mask (N,) bool and forecast (N,) float32 in [0, 1].
            lead: Index of the lead time, for errors.
            zr: Relation between level and rain rate.

        Returns:
            Three float32 arrays, valid until the next call: the errors, 0 where not scored, of the words of eight
            locations with an echo; those of the words with an event, which may be the same array; and the latter times
            the weights' excess over 1. An array is of all words where most would be selected.

        Raises:
            ForecastError: If the forecast includes NaN or a value outside [0, 1].
        """
        ...
