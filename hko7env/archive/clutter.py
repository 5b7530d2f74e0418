"""Ground clutter by the method of Shi et al. 2017, appendix D.2: locations whose distribution of levels is an outlier.

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
_ROUNDING = 1e-9  # relative; with no more locations than features all distances are equal but for rounding
_BATCH = 250  # frames held at once
_PART = 5000  # frames counted by a worker before it returns its counts, 236 MB at 480 x 480 px
_TILE = 1024  # locations counted at once, a power of two; their counters fit in the processor's cache

Levels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the levels at each location; histograms can be added.

    Attributes:
        counts: (H, W, 256) uint32 number of frames with each level; level 0, no echo, is not counted.
        frames: Number of frames.
    """

    counts: npt.NDArray[np.uint32]
    frames: int

    def __add__(self, other: "Histogram") -> "Histogram":
        if self.counts.shape != other.counts.shape:
            raise ValueError(f"cannot add histograms of {self.counts.shape[:2]} and {other.counts.shape[:2]} locations")
        return Histogram(self.counts + other.counts, self.frames + other.frames)


def histogram(shape: tuple[int, int], batches: Iterable[Levels]) -> Histogram:
    """Count the levels of frames in one pass; memory is 1 KiB a location, whatever the number of frames.

    Args:
        shape: (H, W) of a frame.
        batches: Frames (n, H, W) uint8; batches of about 250 frames are fastest.

    Returns:
        The counts of all batches together.

    Raises:
        ValueError: A batch has another shape or type.
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
    """Count the levels of an archive.

    Args:
        path: Path or URL of the archive.
        times: (n,) int64 minutes since 1970-01-01 of the frames to read.
        workers: Processes; 1 means this one.
        scheduler: Address of a dask scheduler, whose workers are used instead.
        step: Called with the number of frames just counted, up to 5000 at a time.
    """
    parts = chunked(times.tolist(), max(-(-len(times) // _PART), workers))
    count = partial(_count_part, absolute_name(path))
    return sum_over(count, parts, workers=workers, scheduler=scheduler, step=step)


def _count_part(path: str, times: list[int]) -> Histogram:
    archive = Archive(path)
    batches = (np.stack(archive.at(times[i : i + _BATCH])[0]) for i in range(0, len(times), _BATCH))
    return histogram(archive.shape, batches)


@dataclass(frozen=True, eq=False)
class Outliers:
    """The locations that :func:`find_outliers` has found.

    Attributes:
        distance: (H, W) float64 Mahalanobis distances, NaN out of range.
        threshold: The distance above which a location is an outlier.
        mask: (H, W) uint8 static mask: 0 scored, 1 outlier, 2 out of range.
    """

    distance: npt.NDArray[np.float64]
    threshold: float
    mask: Levels


def find_outliers(counted: Histogram, in_range: Mask, *, deviations: float = DEVIATIONS) -> Outliers:
    """Find the locations whose distribution of levels is an outlier (Shi et al. 2017, appendix D.2).

    The covariance is the sample covariance (N - 1). It is inverted by the Moore-Penrose pseudo-inverse, so features may
    be constant or linearly dependent.

    Args:
        counted: Counts of the levels at each location.
        in_range: (H, W) bool, the locations to compare.
        deviations: Standard deviations by which an outlier's distance exceeds the mean distance.

    Raises:
        ValueError: There is no frame, or there are fewer than two locations in range.
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
    """(H, W) bool, True closer to a point than ``radius``; HKO-7: ``boundary((480, 480), (239.5, 239.5), 239.5)``.

    Args:
        shape: (H, W).
        centre: Row and column.
        radius: In pixels.
    """
    rows, columns = np.indices(shape)
    return np.asarray(np.hypot(rows - centre[0], columns - centre[1]) < radius)


def load_mask(path: Path) -> Levels:
    """Read a static mask.

    Args:
        path: An .npz file with an array ``mask`` of codes 0, 1 and 2, or HKO-7's ``mask_dat.npz``.

    Returns:
        (H, W) uint8: 0 scored, 1 outlier, 2 out of range.

    Raises:
        DamagedFile: The file holds neither.
    """
    try:
        with zipfile.ZipFile(path) as saved:
            names = {Path(name).stem for name in saved.namelist()}
            if "mask" in names:
                mask = _member(saved, "mask")
                if not np.isin(mask, (SCORED, OUTLIER, OUT_OF_RANGE)).all():
                    raise DamagedFile("codes other than 0, 1 and 2")
                return mask.astype(np.uint8)
            if not {"outlier_mask", "out_boundary_mask"} <= names:
                raise DamagedFile("it holds neither 'mask' nor 'outlier_mask' and 'out_boundary_mask'")
            outside, outlier = (_member(saved, name) > 0 for name in ("out_boundary_mask", "outlier_mask"))
            return np.where(outside, OUT_OF_RANGE, np.where(outlier, OUTLIER, SCORED)).astype(np.uint8)
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise DamagedFile(f"{path} is not an .npz file of a mask ({reason(error)})") from error


def _member(saved: zipfile.ZipFile, name: str) -> npt.NDArray[np.integer[Any] | np.bool_]:
    """An (H, W) array of an .npz file; the size in its header is checked before memory is allocated."""
    info = saved.getinfo(f"{name}.npy")
    limit = 8 * MAX_FRAME_VALUES
    if info.file_size > limit:
        raise DamagedFile(f"{name} has {info.file_size} bytes, expected at most {limit}")
    with saved.open(info) as member:
        data = io.BytesIO(member.read(limit + 1))  # to the end, where zip checks the CRC
    version = np.lib.format.read_magic(data)
    if version not in ((1, 0), (2, 0)):
        raise DamagedFile(f"{name} is an array of version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(data)
    if len(shape) != 2 or dtype.kind not in "bui":
        raise DamagedFile(f"{name} is {dtype} {shape}, expected integers (H, W)")
    body = data.read()
    if len(body) != math.prod(shape) * dtype.itemsize:
        header, found = f"{shape[0]} x {shape[1]}", len(body) // dtype.itemsize
        raise DamagedFile(f"{name} has a header of {header} values and holds {found}")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if columns_first else "C")


def remove_noise(frames: Levels, mask: Levels) -> Levels:
    """Set outliers, out-of-range locations and small echo (levels 1 to 70) to 0 (Shi et al. 2017, appendix D.2).

    Args:
        frames: (..., H, W) uint8 levels.
        mask: (H, W) uint8 static mask of an archive.

    Returns:
        (..., H, W) uint8, a copy.
    """
    return np.where(scored(frames, mask == SCORED), frames, np.uint8(0))
