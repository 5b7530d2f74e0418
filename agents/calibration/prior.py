"""The prior: counts of a mean sequence of some archives, in a file of plain arrays that also names the archives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hko7env.contract import OptionError
from hko7env.units import ZR

from ..learning import checkpoint
from .counts import CLASSES, Array
from .features import BINS, SHAPE

STEP = 6  # minutes between the lead times of a prior
LEADS = 20
MOST_CADENCE = 30  # minutes between frames; between more distant ones, the flow does not find how echo moves
SUM = 60_000  # of the counts of an event and lead time: close to the largest number of half precision
KIND = "calibrated_flow"  # stored in the file
SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "calibrated_flow.safetensors"
_REMEDY = "make a prior with hko7env calibrate"


@dataclass(frozen=True, eq=False)
class Prior:
    """Counts of a mean sequence.

    Attributes:
        counts: (20, N, 6) by lead time, bin and class; the bins of an event and lead time sum to SUM.
        means: (6,) mean pixel of each class.
        zr: Relation between level and rain rate that the classes follow.
        metadata: What the prior was counted from.
    """

    counts: Array
    means: Array
    zr: ZR
    metadata: dict[str, Any]

    def at(self, leads: int, cadence: int) -> Array:
        """The counts (leads, N, 6) for lead times every ``cadence`` minutes.

        Lead times before the first one of the prior get the counts of the first one, those after the last one the
        counts of the last one.

        Raises:
            OptionError: If ``cadence`` is greater than MOST_CADENCE.
        """
        if cadence > MOST_CADENCE:
            raise OptionError(
                f"this agent is made for frames at most {MOST_CADENCE} minutes apart, and these are {cadence} minutes "
                "apart: use an archive of shorter cadence, or agents.last_frame"
            )
        return resample_leads(self.counts, STEP, cadence, leads)


def resample_leads(counts: npt.NDArray[Any], step: int, cadence: int, leads: int) -> npt.NDArray[Any]:
    """Interpolate counts to other lead times, linearly in time.

    Args:
        counts: (K, N, C), the first lead time after ``step`` minutes.
        step: Minutes between those lead times.
        cadence: Minutes between the wanted ones, and to the first one.
        leads: Number of wanted lead times.

    Returns:
        (leads, N, C) of the same type; before the first lead time and after the last one, the nearest counts.
    """
    position = np.clip(cadence * np.arange(1, leads + 1) / step - 1, 0, len(counts) - 1)
    before = np.minimum(position.astype(int), max(len(counts) - 2, 0))
    after = np.minimum(before + 1, len(counts) - 1)
    share = (position - before).astype(counts.dtype)[:, None, None]
    return np.asarray((1 - share) * counts[before] + share * counts[after])


def read(path: Path, zr: ZR) -> Prior:
    """Read a prior.

    Args:
        path: The file.
        zr: Relation between level and rain rate of the archive that it is used on.

    Raises:
        OptionError: If there is no such file, or it is damaged, no prior of these features, or of another relation.
    """
    try:
        tensors, metadata = checkpoint.read(path)
    except checkpoint.CheckpointError as error:
        raise OptionError(f"{error}, or {_REMEDY}") from error
    if metadata.get("kind") != KIND or tuple(tensors["counts"].shape) != (LEADS, BINS, CLASSES):
        raise OptionError(f"{path} is no prior of this agent's features: {_REMEDY}")
    own = ZR(metadata["zr"][0], metadata["zr"][1])
    if own != zr:
        raise OptionError(
            f"{path} was counted with Z = {own.a:g} R^{own.b:g} and this archive has Z = {zr.a:g} R^{zr.b:g}: "
            f"{_REMEDY} from archives like this one"
        )
    return Prior(tensors["counts"].float().numpy(), tensors["means"].float().numpy(), own, metadata)


def write(path: Path, counts: npt.NDArray[np.floating], means: Array, zr: ZR, metadata: dict[str, Any]) -> None:
    """Write a prior atomically, with counts in half precision.

    Args:
        path: The file; an existing one is replaced.
        counts: (20, N, 6), of any sum.
        means: (6,) mean pixel of each class.
        zr: Relation between level and rain rate.
        metadata: Values that JSON can hold, by name.

    Raises:
        OSError: If it cannot be written.
    """
    scaled = counts * (SUM * SHAPE[0] / counts.sum((1, 2), keepdims=True))
    tensors = {"counts": torch.from_numpy(scaled).half(), "means": torch.from_numpy(means)}
    checkpoint.write(path, tensors, {"kind": KIND, "zr": [zr.a, zr.b], **metadata})
