"""Checks of forecasts, shared by the environment (its action) and the scores (their argument)."""

from typing import Any

import numpy as np
import numpy.typing as npt

Forecast = npt.NDArray[Any]  # float32 pixels in [0, 1], or uint8 levels

PLAIN_ARRAYS = (np.ndarray, np.memmap)  # other subclasses carry meaning beyond their numbers: a mask, a unit
_ONE = np.float32(1).view(np.uint32)


class ForecastError(ValueError):
    """A forecast that cannot be scored: wrong type, shape or dtype, NaN, or values outside [0, 1]."""


def check_forecast(forecast: object, shape: tuple[int, ...], dtypes: tuple[str, ...] = ("float32", "uint8")) -> None:
    """Check the type, shape and dtype of a forecast; :func:`check_range` checks its values.

    Args:
        forecast: What an agent returned.
        shape: The expected shape (K, H, W).
        dtypes: The accepted dtypes: float32 pixels, uint8 levels.

    Raises:
        ForecastError: If ``forecast`` is not a plain numpy array of that shape and one of the dtypes.
    """
    if not isinstance(forecast, np.ndarray):
        raise ForecastError(f"a forecast is a numpy array, got {type(forecast).__name__}")
    if type(forecast) not in PLAIN_ARRAYS:
        raise ForecastError(
            f"a forecast is a plain numpy array, got {type(forecast).__name__}: fill the masked locations, "
            "as by numpy.ma.filled(forecast, 0), or convert another subclass by numpy.asarray"
        )
    if forecast.shape != shape:
        raise ForecastError(f"expected a forecast of shape {shape} (lead, row, column), got {forecast.shape}")
    if forecast.dtype.name not in dtypes:
        kinds = {"float32": "float32 pixels in [0, 1]", "uint8": "uint8 levels"}
        raise ForecastError(f"expected {' or '.join(kinds[name] for name in dtypes)}, got {forecast.dtype}")


def check_range(pixels: npt.NDArray[np.float32], lead: int) -> None:
    """Raise ForecastError if ``pixels`` of the frame at index ``lead`` include NaN or a value outside [0, 1]."""
    # As unsigned integers, floats of [0, 1] are ordered and everything else, but for -0.0, lies above them.
    if len(pixels) and pixels.view(np.uint32).max() > _ONE:
        low, high = pixels.min(), pixels.max()
        if not (low >= 0 and high <= 1):
            what = "NaN" if np.isnan(low) else f"values in [{low}, {high}]"
            raise ForecastError(f"a forecast lies in [0, 1]; lead {lead + 1} holds {what}")
