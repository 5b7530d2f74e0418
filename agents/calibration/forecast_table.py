"""What the bins of the features ask a forecast to be."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

ERROR_EVENT = 2  # index of the event whose bins tell the value of a forecast


class ForecastTable(NamedTuple):
    """What each bin asks for; a cell is forecast in the highest class that its five bins ask for.

    Attributes:
        classes: (K, N) uint8 class.
        pixels: (K, N / 5) float32 in [0, 1], the value for the bins of ERROR_EVENT, which is kept inside the class.
        lowest: (C,) float32 lowest pixel of each class.
        highest: (C,) float32 highest pixel of each class.
    """

    classes: npt.NDArray[np.uint8]
    pixels: npt.NDArray[np.float32]
    lowest: npt.NDArray[np.float32]
    highest: npt.NDArray[np.float32]
