"""What Shi et al. 2017 state about HKO-7: its grid, its cadence, and how much it rains (Tables 2 and 12)."""

from hko7env.archive.georeference import azimuthal_equidistant

CADENCE = 6  # minutes between frames
PIXEL_KM = 512 / 480  # side of a pixel
CRS = azimuthal_equidistant(22.3, 114.2)

# Table 2: shares of the rain-rate classes below, between and above THRESHOLDS
TABLE_2 = (0.9025, 0.0438, 0.0246, 0.0135, 0.0114, 0.0042)
# The same as shares at or above each of THRESHOLDS, which the synthetic rain reproduces; rounded as the table is
EXCEEDANCE = tuple(round(sum(TABLE_2[i:]), 4) for i in range(1, len(TABLE_2)))

# Table 12: split -> (days, frames)
TABLE_12 = {"train": (812, 192_168), "valid": (50, 11_736), "test": (131, 31_350)}
