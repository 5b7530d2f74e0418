"""Datasets of the mlcast community: zarr stores by its specification of radar precipitation, 0.2.0, here or at a URL.

They are CF datasets; what is checked besides is that the variable has a standard name of the specification and that
times increase with a regular step, from ``consistent_timestep_start`` on if there is one.
"""

import numpy as np

from hko7env.damage import DamagedFile
from hko7env.importers.formats.cf import Cf
from hko7env.importers.rain_dataset import Choice, RainDataset, by_standard_name, why_irregular


class Mlcast(Cf):
    """Zarr stores of rain rate, rain amount or reflectivity, recognized by standard name."""

    choose: Choice = staticmethod(by_standard_name)

    def check(self, rain: RainDataset) -> None:
        """Raise DamagedFile if times do not increase by a regular step."""
        axis = rain.axis
        if (np.diff(axis.times) <= 0).any():
            raise DamagedFile("its times do not increase: sort it, with each time once")
        if not axis.regular:
            raise DamagedFile(why_irregular(axis))


FORMAT = Mlcast()
