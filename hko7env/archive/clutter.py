"""Finding ground clutter as appendix D.2 of Shi et al. 2017 does: locations whose distribution of levels is an outlier.

A location's features are the shares of frames in which it shows each level 1 to 255. Outliers are the locations whose
Mahalanobis distance from the mean of all in-range locations exceeds the mean distance by three standard deviations.
"""

import io
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hko7env.archive.archive import Archive
from hko7env.archive.format import OUT_OF_RANGE, OUTLIER, SCORED
from hko7env.archive.store import absolute_name
from hko7env.damage import DAMAGE, MAX_FRAME_VALUES, DamagedFile, reason
from hko7env.parallel import chunked, sum_over
from hko7env.scores import scored

DEVIATIONS = 3.0  # Shi et al. 2017, appendix D.2
LEVELS = 256
_ROUNDING = 1e-9  # with no more locations than features all distances are equal, and rounding makes no outlier
_BATCH = 250  # frames held at once
_SHARE = 5000  # frames counted by a worker before it hands over its 236 MB
_TILE = 1024  # locations counted at once, a power of two: their bins stay in the processor's cache

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often each location showed each level: ``counts`` (H, W, 256) uint32 over ``frames`` frames; it adds.

    Level 0, no echo, is not counted: it is what is left of ``frames``.
    """

    counts: npt.NDArray[np.uint32]
    frames: int

    def __add__(self, other: "Histogram") -> "Histogram":
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"cannot add histograms of {self.counts.shape[:2]} and {other.counts.shape[:2]} locations")
        return Histogram(self.counts + other.counts, self.frames + other.frames)


def histogram(shape: tuple[int, int], batches: Iterable[Levels]) -> Histogram:
    """Count the levels of all frames of ``batches``, each (n, H, W) uint8, in one pass; 250 frames a batch are quick.

    Memory is H W 1 KiB whatever the number of frames. Raises ValueError for other frames.
    """
    size = shape[0] * shape[1]
    counts, total = np.zeros((size, LEVELS), np.uint32), 0
    for frames in batches:
        if frames.shape[1:] != shape or frames.dtype != np.uint8:
            raise ValueError(f"expected uint8 frames of {shape}, got {frames.dtype} {frames.shape[1:]}")
        flat = frames.reshape(len(frames), size)
        for start in range(0, size, _TILE):
            width = min(_TILE, size - start)
            tile = np.zeros((len(frames), _TILE), np.uint8)
            tile[:, :width] = flat[:, start : start + width]
            bins = np.flatnonzero(tile != 0)
            echo = tile.reshape(-1)[bins]
            bins &= _TILE - 1  # the location in its tile
            bins <<= 8
            bins |= echo
            found = np.bincount(bins, minlength=_TILE * LEVELS).reshape(_TILE, LEVELS)
            counts[start : start + width] += found[:width].astype(np.uint32)
        total += len(frames)
    return Histogram(counts.reshape(*shape, LEVELS), total)


def count_archive(
    path: str, times: npt.NDArray[np.int64], *, workers: int = 1, scheduler: str | None = None, step: Any = None
) -> Histogram:
    """The histogram of the frames of the archive at ``path`` at ``times``, over processes or a dask cluster.

    ``step`` is called with the number of frames just counted, a share at a time.
    """
    parts = chunked(times.tolist(), max(-(-len(times) // _SHARE), workers))
    count = partial(_count_share, absolute_name(path))
    return sum_over(count, parts, workers=workers, scheduler=scheduler, step=step)


def _count_share(path: str, times: list[int]) -> Histogram:
    archive = Archive(path)
    batches = (np.stack(archive.at(times[i : i + _BATCH])[0]) for i in range(0, len(times), _BATCH))
    return histogram(archive.shape, batches)


@dataclass(frozen=True, eq=False)
class Outliers:
    """``distance`` (H, W) float64, NaN out of range; ``threshold``; ``mask`` (H, W) uint8 as an archive holds it."""

    distance: npt.NDArray[np.float64]
    threshold: float
    mask: Levels


def find_outliers(counted: Histogram, in_range: Mask, *, deviations: float = DEVIATIONS) -> Outliers:
    """Mark the outliers among the locations that are True in ``in_range`` (H, W).

    The covariance is the sample covariance (N - 1), its inverse the Moore-Penrose pseudo-inverse, so features that
    never vary or depend on one another are no obstacle. Raises ValueError without frames or with fewer than two
    locations in range.
    """
    locations = int(np.count_nonzero(in_range))
    if counted.frames < 1 or locations < 2:
        raise ValueError(
            f"denoising needs frames and at least two locations in range, got {counted.frames} frames and {locations}"
        )
    features = counted.counts[in_range][:, 1:] / np.float64(counted.frames)
    features -= features.mean(axis=0)
    factor = _pseudo_root(features.T @ features / (locations - 1))
    distances = np.sqrt(((features @ factor) ** 2).sum(axis=1))
    threshold = float(distances.mean() + deviations * distances.std())
    distance = np.full(in_range.shape, np.nan)
    distance[in_range] = distances
    mask = np.where(in_range, SCORED, OUT_OF_RANGE).astype(np.uint8)
    beyond = np.nan_to_num(distance) > threshold * (1 + _ROUNDING)
    mask[in_range & beyond] = OUTLIER
    return Outliers(distance, threshold, mask)


def _pseudo_root(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """F with F F' the pseudo-inverse of ``covariance``; a product with F costs a fraction of one with the inverse."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values.max(initial=0) * len(values) * np.finfo(np.float64).eps
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def boundary(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> Mask:
    """(H, W) True closer than ``radius`` px to ``centre`` (row, column).

    HKO-7's range is ``boundary((480, 480), (239.5, 239.5), 239.5)``.
    """
    rows, columns = np.indices(shape)
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]) < radius)


def load_mask(path: Path) -> Levels:
    """Read a static mask from an .npz file.

    Args:
        path: A file with an array ``mask`` of 0 (scored), 1 (outlier) and 2 (out of range), or HKO-7's
            ``mask_dat.npz``.

    Returns:
        (H, W) uint8 static mask.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: The file is damaged or holds neither.
    """
    try:
        with zipfile.ZipFile(path) as saved:
            names = {Path(name).stem for name in saved.namelist()}
            if "mask" in names:
                mask = _read_member(saved, "mask")
                if not np.isin(mask, (SCORED, OUTLIER, OUT_OF_RANGE)).all():
                    raise DamagedFile("codes other than 0, 1 and 2")
                return mask.astype(np.uint8)
            if not {"outlier_mask", "out_boundary_mask"} <= names:
                raise DamagedFile("it holds neither 'mask' nor 'outlier_mask' and 'out_boundary_mask'")
            outside, outlier = (_read_member(saved, name) > 0 for name in ("out_boundary_mask", "outlier_mask"))
            return np.where(outside, OUT_OF_RANGE, np.where(outlier, OUTLIER, SCORED)).astype(np.uint8)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise DamagedFile(f"{path} is not an .npz file of a mask ({reason(error)})") from error


def _read_member(saved: zipfile.ZipFile, name: str) -> npt.NDArray[np.integer[Any] | np.bool_]:
    """An (H, W) array of integers in an .npz file; sizes are checked before memory is allocated."""
    info = saved.getinfo(f"{name}.npy")
    limit = 8 * MAX_FRAME_VALUES
    if info.file_size > limit:
        raise DamagedFile(f"{name} has {info.file_size} bytes, expected at most {limit}")
    with saved.open(info) as member:
        data = io.BytesIO(member.read(limit + 1))  # reading to the end checks the CRC
    version = np.lib.format.read_magic(data)
    if version not in ((1, 0), (2, 0)):
        raise DamagedFile(f"{name} is an array of version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(data)
    if len(shape) != 2 or dtype.kind not in "bui":
        raise DamagedFile(f"{name} is {dtype} {shape}, expected integers (H, W)")
    body = data.read()
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise DamagedFile(
            f"{name} has a header of {shape[0]} x {shape[1]} values and holds {len(body) // dtype.itemsize}"
        )
    return np.frombuffer(body, dtype).reshape(shape, order="F" if columns_first else "C")


def clean(frames: Levels, mask: Levels) -> Levels:
    """Copies of ``frames`` (..., H, W) uint8 with outliers, out-of-range locations and small echo (1 to 70) set to 0.

    ``mask`` (H, W) uint8 is an archive's static mask. Shi et al. 2017, appendix D.2.
    """
    return np.where(scored(frames, mask == SCORED), frames, np.uint8(0))
