"""What pysteps does not read from ODIM HDF5 files: the time of accumulation, and where the radars saw no rain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hko7env.damage import DamagedFile
from hko7env.importers.formats.odim import parse_time
from hko7env.importers.hdf5 import open_file, read_array, read_number, read_text

QUANTITIES = ("RATE", "ACRR", "DBZH")  # that pysteps reads, in the order in which one is chosen


class OdimArray(NamedTuple):
    """An array of an ODIM file.

    Attributes:
        quantity: RATE, ACRR or DBZH.
        minutes: Minutes of accumulation of ACRR; None for other quantities.
        undetected: (H, W) bool, True where the radars saw no rain.
    """

    quantity: str
    minutes: float | None
    undetected: npt.NDArray[np.bool_]


def read_odim_array(path: Path, quantity: str | None = None) -> OdimArray:
    """Read the array of ``quantity``, or of the first of QUANTITIES that a file holds.

    Raises:
        DamagedFile: The file holds no such array or several, or no time of accumulation.
    """
    with open_file(path) as file:
        held = list(_arrays(file))
        wanted = (quantity,) if quantity else QUANTITIES
        chosen = next((name for name in wanted if name in dict(held)), None)
        if chosen is None:
            names = ", ".join(name for name, _ in held) or "nothing"
            raise DamagedFile(f"it holds {names}, expected {' or '.join(wanted)}")
        places = [place for name, place in held if name == chosen]
        if len(places) > 1:
            raise DamagedFile(f"it holds {len(places)} arrays of {chosen}, expected one")
        data = read_array(file, f"{places[0]}/data")
        empty = read_number(_group_with(file, places[0], "undetect"), "undetect")
        return OdimArray(chosen, _minutes(file, places[0]) if chosen == "ACRR" else None, data == empty)


def _arrays(file: Any) -> Iterator[tuple[str, str]]:
    """Quantity and path of each array, such as ``RATE`` and ``dataset1/data1``."""
    for dataset in (name for name in file if name.startswith("dataset")):
        for data in (name for name in file[dataset] if name.startswith("data")):
            place = f"{dataset}/{data}"
            yield read_text(_group_with(file, place, "quantity"), "quantity"), place


def _group_with(file: Any, place: str, attribute: str) -> Any:
    """The group that holds an attribute of an array: its own or that of its dataset."""
    groups = (f"{place}/what", f"{place.partition('/')[0]}/what")
    for group in groups:
        if group in file and attribute in file[group].attrs:
            return file[group]
    raise DamagedFile(f"not ODIM's layout: no attribute {attribute} in {' or '.join(groups)}")


def _minutes(file: Any, place: str) -> float:
    begin, end = (
        parse_time(*(read_text(_group_with(file, place, name), name) for name in (f"{edge}date", f"{edge}time")))
        for edge in ("start", "end")
    )
    return float((end - begin) / np.timedelta64(1, "m"))
