"""What an exported dataset carries so that its import gives the archive again: one attribute, and two arrays.

The attribute ``hko7env_archive`` of the dataset is JSON text with the cadence, the Z-R relation, the coordinate
reference system, the splits, all other attributes and the fingerprint of the archive. The arrays ``mask`` and
``status`` are those of the archive.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive import Archive
from hko7env.archive.format import FIXED, OUT_OF_RANGE, SUSPECT
from hko7env.damage import DamagedFile
from hko7env.units import ZR

FACTS, VERSION = "hko7env_archive", 1
MASK, STATUS = "mask", "status"


@dataclass(frozen=True, eq=False)
class ArchiveFacts:
    """The parts of an archive that a dataset carries besides its frames.

    Attributes:
        cadence: Minutes between frames.
        zr: The Z-R relation between level and rain rate.
        crs: The coordinate reference system, a PROJ string or WKT; empty if it is unknown.
        splits: Name -> half-open ranges of ISO minutes.
        attributes: The attributes of the archive that can change, without splits.
        mask: (H, W) uint8 static mask, rows and columns in the order of the dataset.
        status: (N,) uint8, 0 good and 1 suspect.
    """

    cadence: int
    zr: ZR
    crs: str
    splits: dict[str, list[tuple[str, str]]]
    attributes: dict[str, Any]
    mask: npt.NDArray[np.uint8]
    status: npt.NDArray[np.uint8]


def facts_text(archive: Archive) -> str:
    """The attribute that :func:`read_facts` reads."""
    kept = {name: value for name, value in archive.attributes.items() if name not in (*FIXED, "splits")}
    facts = {
        "version": VERSION,
        "cadence_minutes": archive.cadence,
        "zr_a": archive.zr.a,
        "zr_b": archive.zr.b,
        "crs": archive.crs,
        "splits": archive.splits,
        "attributes": kept,
        "fingerprint": archive.fingerprint,
    }
    return json.dumps(facts, sort_keys=True)


def read_facts(data: Any) -> ArchiveFacts | None:
    """Read the facts of an open ``xarray.Dataset``.

    Returns:
        The facts, or None if the dataset is no exported archive.

    Raises:
        DamagedFile: They are of a later version, incomplete or damaged.
    """
    text = data.attrs.get(FACTS)
    if text is None:
        return None
    try:
        facts = json.loads(str(text))
        if facts["version"] != VERSION:
            raise DamagedFile(
                f"attribute {FACTS} has version {facts['version']}, this hko7env reads {VERSION}: use the hko7env that "
                "wrote it, or delete the attribute to import the rain rate alone"
            )
        return ArchiveFacts(
            cadence=int(facts["cadence_minutes"]),
            zr=ZR(float(facts["zr_a"]), float(facts["zr_b"])),
            crs=str(facts["crs"]),
            splits={name: [(str(a), str(b)) for a, b in ranges] for name, ranges in facts["splits"].items()},
            attributes={name: value for name, value in facts["attributes"].items() if name not in FIXED},
            mask=_codes(data, MASK, OUT_OF_RANGE),
            status=_codes(data, STATUS, SUSPECT),
        )
    except DamagedFile:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(
            f"attribute {FACTS} is damaged ({type(error).__name__}: {error}): export the archive again, or delete the "
            "attribute to import the rain rate alone"
        ) from error


def _codes(data: Any, name: str, largest: int) -> npt.NDArray[np.uint8]:
    if name not in data.variables:
        raise DamagedFile(f"array {name} of the exported archive is missing: export the archive again")
    values = np.asarray(data[name].values)
    if values.dtype.kind not in "iu" or values.size == 0 or values.min() < 0 or values.max() > largest:
        raise DamagedFile(f"array {name} holds other values than the codes 0 to {largest}: export the archive again")
    return values.astype(np.uint8)
