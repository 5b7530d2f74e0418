"""Forecasts as files, of any model in any framework: writing them, and reading them so that they can be scored.

A file is a netCDF file (``.nc``) or a zarr store by the CF conventions. It holds one variable over (issue time, lead
time, y, x), whatever their names:

- units: ``1`` or ``pixel`` (a pixel is (dBZ + 10) / 70 in [0, 1]), ``dBZ``, or a rain rate such as ``mm/h`` or
  ``kg m-2 h-1``. Reflectivity is by the Z-R relation of the archive, or of the attributes ``zr_a`` and ``zr_b``.
- issue time: a time with units such as ``minutes since 1970-01-01``, increasing; the time of the newest frame that the
  forecast was made from.
- lead time: minutes, or any unit of time that its units name, increasing.
- y and x: those of the archive, in m or km; rows from south to north and columns from east to west are turned round.
- NaN: no forecast.
"""

from hko7env.forecast_files.layout import ForecastFileError
from hko7env.forecast_files.reading import ForecastFile, Missing
from hko7env.forecast_files.writing import write

__all__ = ["ForecastFile", "ForecastFileError", "Missing", "write"]
