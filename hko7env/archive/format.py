"""The format of an archive: the arrays of a zarr (format 3) group, their CF attributes, and which values are valid."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hko7env.archive.commit_record import INTEGRITY
from hko7env.archive.hko7_facts import CADENCE
from hko7env.units import DBZ_FLOOR, DBZ_SPAN

Minutes = npt.NDArray[np.int64]

DAY = 1440  # minutes

FORMAT, VERSION = "hko7env-archive", 1
SHORTENED = 2  # format_version of an archive whose oldest frames were removed; earlier versions of hko7env refuse it
FIRST_FRAME = "first_frame"  # attribute: index, along time, of the first frame that was not removed
FIXED = {  # attributes of the group that are not to be changed
    "Conventions", "format", "format_version", FIRST_FRAME, "cadence_minutes", "zr_a", "zr_b", INTEGRITY,
}  # fmt: skip
SCORED, OUTLIER, OUT_OF_RANGE = 0, 1, 2  # codes of the static mask
GOOD, SUSPECT = 0, 1  # codes of a frame's status: a suspect frame is kept, but counts as missing
CHUNK = 5  # frames: as many as a step observes, so a pass decodes each chunk once
DAY_SHARD = DAY // CADENCE  # frames: one day of HKO-7
TIME_CHUNK = 4096
FIRST_TIME, LAST_TIME = (int(np.datetime64(t, "m").astype(np.int64)) for t in ("0001-01-01", "9999-12-31T23:59"))
NO_TIME = np.iinfo(np.int64).min  # fill values are invalid values, so a lost chunk cannot pass for data
NO_CODE = NO_LEVEL = 255
MAX_PIXELS = 2**27  # of a frame, 11,000 x 12,000; a larger claim is damage
MAX_FRAMES = 2**26  # of an archive, 600 years; a larger claim is damage

# name: (dtype, fill value, dimensions, attributes)
ARRAYS: dict[str, tuple[str, Any, tuple[str, ...], dict[str, Any]]] = {
    "pixel": ("uint8", NO_LEVEL, ("time", "y", "x"), {
        "standard_name": "equivalent_reflectivity_factor", "long_name": "radar reflectivity", "units": "dBZ",
        "scale_factor": DBZ_SPAN / 255, "add_offset": DBZ_FLOOR, "grid_mapping": "crs",
        "ancillary_variables": "status mask", "comment": "level 0..255; level 0 is no echo",
    }),
    "time": ("int64", NO_TIME, ("time",), {
        "standard_name": "time", "axis": "T", "units": "minutes since 1970-01-01", "calendar": "proleptic_gregorian",
    }),
    "status": ("uint8", NO_CODE, ("time",), {
        "long_name": "status of the frame", "flag_values": [GOOD, SUSPECT], "flag_meanings": "good suspect",
    }),
    "checksum": ("uint32", 0, ("time",), {"long_name": "crc32c of the frame's levels"}),
    "mask": ("uint8", NO_CODE, ("y", "x"), {
        "long_name": "static mask", "grid_mapping": "crs", "flag_values": [SCORED, OUTLIER, OUT_OF_RANGE],
        "flag_meanings": "scored outlier out_of_range",
    }),
    "y": ("float64", "NaN", ("y",), {"standard_name": "projection_y_coordinate", "axis": "Y", "units": "m"}),
    "x": ("float64", "NaN", ("x",), {"standard_name": "projection_x_coordinate", "axis": "X", "units": "m"}),
    "crs": ("int32", 0, (), {"long_name": "coordinate reference system"}),
}  # fmt: skip


async def make_arrays(
    group: zarr.AsyncGroup, shape: tuple[int, int], shard: int | None, crs: Mapping[str, str], values: Mapping[str, Any]
) -> None:
    """Make the arrays of an empty archive.

    Args:
        group: An empty group.
        shape: (H, W) of a frame.
        shard: Frames in a file, a multiple of 5; None: 5.
        crs: Further attributes of the array ``crs``.
        values: Values of the arrays that do not grow.
    """
    sizes = {"time": 0, "y": shape[0], "x": shape[1]}
    for name, (dtype, fill, dimensions, attributes) in ARRAYS.items():
        first = CHUNK if name == "pixel" else TIME_CHUNK
        array = await group.create_array(
            name,
            shape=tuple(sizes[d] for d in dimensions),
            dtype=dtype,
            chunks=tuple(first if d == "time" else sizes[d] for d in dimensions),
            shards=(shard, *shape) if shard and name == "pixel" else None,
            compressors=[ZstdCodec(level=6), Crc32cCodec()],  # level 6 decodes faster than 3 and is a tenth smaller
            fill_value=fill,
            dimension_names=dimensions,
            attributes={**attributes, **crs} if name == "crs" else attributes,
            config={"write_empty_chunks": True},
        )
        if name in values:
            await array.setitem(..., values[name])


def check_size(height: int, width: int, frames: int = 0) -> None:
    """Raise ValueError for more pixels or frames than any radar archive has, before memory is allocated for them."""
    if height * width > MAX_PIXELS or frames > MAX_FRAMES:
        raise ValueError(
            f"{frames} frames of {height} x {width} px are too many: at most {MAX_FRAMES} of {MAX_PIXELS} px"
        )


def check_times(times: npt.NDArray[Any]) -> Minutes:
    """Check the times of frames.

    Args:
        times: (N,) minutes since 1970-01-01 of any integer type.

    Returns:
        (N,) int64 minutes.

    Raises:
        ValueError: They are not integers, not strictly increasing, or outside the years 1 to 9999.
    """
    if times.dtype.kind not in "iu":
        raise ValueError(f"expected integer minutes, got {times.dtype}")
    if len(times) and not (times.min() >= FIRST_TIME and times.max() <= LAST_TIME):
        raise ValueError(
            f"times must be minutes since 1970-01-01 of years 1 to 9999, got {times.min()} to {times.max()}"
        )
    whole = times.astype(np.int64)
    if not (whole[1:] > whole[:-1]).all():
        raise ValueError("times are not strictly increasing")
    return whole


def frames_in_file(array: "zarr.Array[Any]") -> int:
    """Number of frames that one file of an array along time holds."""
    return (array.shards or array.chunks)[0]


def check_shard(shard: int | None) -> None:
    """Raise ValueError unless ``shard``, frames in a file, is None or a multiple of the chunk's 5."""
    if shard is not None and (shard < CHUNK or shard % CHUNK):
        raise ValueError(f"a shard holds a multiple of {CHUNK} frames, got {shard}")


def check_mask(mask: npt.NDArray[Any], shape: tuple[int, int]) -> None:
    """Raise ValueError unless ``mask`` is a static mask: (H, W) uint8 codes 0, 1 or 2."""
    if mask.shape != shape or mask.dtype != np.uint8 or mask.max() > OUT_OF_RANGE:
        raise ValueError(
            f"the static mask must be uint8 {shape} of 0 (scored), 1 (outlier) or 2 (out of range), "
            f"got {mask.dtype} {mask.shape} up to {mask.max()}"
        )


def describe_mask(mask: npt.NDArray[np.uint8]) -> str:
    """Numbers of locations of a static mask, such as "180000 scored, 3680 outlier, 46720 out of range"."""
    names = {SCORED: "scored", OUTLIER: "outlier", OUT_OF_RANGE: "out of range"}
    return ", ".join(f"{np.count_nonzero(mask == code)} {name}" for code, name in names.items())


def check_splits(splits: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, list[list[str]]]:
    """Check splits.

    Args:
        splits: Name -> half-open ranges of ISO minutes.

    Returns:
        The splits as they are stored.

    Raises:
        ValueError: A range is not two ISO minutes, the earlier one first.
    """
    for name, ranges in splits.items():
        for begin, end in ranges:
            if not minutes(begin) < minutes(end):
                raise ValueError(f"split {name!r} has a range from {begin} to {end}, which holds no time")
    return {name: [list(range_) for range_ in ranges] for name, ranges in splits.items()}


def minutes(iso: str) -> int:
    """Minutes since 1970-01-01 of an ISO time such as ``2015-01-07T00:00``. Raises ValueError for any other text."""
    time = np.datetime64(iso, "m")
    if np.isnat(time):
        raise ValueError(f"{iso!r} is not a time")
    return int(time.astype(np.int64))


def iso(minute: int) -> str:
    """ISO time such as ``2015-01-07T00:00`` of minutes since 1970-01-01."""
    return str(np.datetime64(int(minute), "m"))
