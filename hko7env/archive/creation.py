"""Creating an empty archive."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.api.asynchronous import open_group
from zarr.core.sync import sync

from hko7env.archive import commit_record
from hko7env.archive.archive import Archive
from hko7env.archive.commit_record import DIGESTED, Record, content_digest
from hko7env.archive.format import (
    ARRAYS,
    FORMAT,
    SCORED,
    VERSION,
    check_mask,
    check_shard,
    check_size,
    check_splits,
    make_arrays,
)
from hko7env.archive.georeference import crs_attributes
from hko7env.archive.store import is_local, write_lock
from hko7env.units import ZR


def create(
    store: Any,
    *,
    shape: tuple[int, int],
    cadence: int = 6,
    mask: npt.ArrayLike | None = None,
    x: npt.ArrayLike | None = None,
    y: npt.ArrayLike | None = None,
    crs: str = "",
    zr: ZR | None = None,
    source: str = "",
    licence: str = "",
    splits: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    shard: int | None = None,
) -> Archive:
    """Create an empty archive and open it for appending.

    Args:
        store: A path, a URL or a zarr store that holds nothing yet.
        shape: (H, W) of a frame.
        cadence: Minutes between frames.
        mask: (H, W) uint8 static mask: 0 scored, 1 outlier, 2 out of range. Default: all scored.
        x: (W,) coordinates of the columns in metres. Default: 0, 1, 2, ...
        y: (H,) coordinates of the rows in metres, the northern row first. Default: H - 1, H - 2, ...
        crs: The coordinate reference system of ``x`` and ``y``, a PROJ string or WKT.
        zr: The Z-R relation between reflectivity and rain rate. Default: HKO-7's.
        source: Where the frames come from, as text for readers.
        licence: The licence of the frames.
        splits: Name -> half-open ranges of ISO minutes.
        attributes: Further attributes to store.
        shard: Frames in a file, a multiple of 5; None: 5. Appending rewrites the last file, so large
            ones suit finished archives.

    Raises:
        FileExistsError: ``store`` holds something already.
        ValueError: Arguments are out of range or do not fit together.
        LockedError: Another process is creating the same archive; a ValueError.
    """
    values = _check_arrays(shape, cadence, shard, mask, x, y)
    stored = _group_attributes(cadence, zr or ZR(), source, licence, splits or {}) | dict(attributes or {})
    with write_lock(store):
        if is_local(store):
            _make_folder(Path(store), shape, shard, stored, values, crs)
        else:
            _make(store, shape, shard, stored, values, crs)
    return Archive(store, writable=True)


def _check_arrays(
    shape: tuple[int, int],
    cadence: int,
    shard: int | None,
    mask: npt.ArrayLike | None,
    x: npt.ArrayLike | None,
    y: npt.ArrayLike | None,
) -> dict[str, npt.NDArray[Any]]:
    """Values of the arrays ``mask``, ``y`` and ``x``. Raises ValueError for what cannot be stored."""
    height, width = shape
    if min(height, width) < 1 or cadence < 1 or cadence != int(cadence):
        raise ValueError(f"an archive needs H, W and whole minutes of at least 1, got {height}, {width} and {cadence}")
    check_size(height, width)
    check_shard(shard)
    static = np.full(shape, SCORED, np.uint8) if mask is None else np.asarray(mask)
    check_mask(static, shape)
    axes = {
        "y": np.arange(height - 1, -1, -1.0) if y is None else np.asarray(y, np.float64),
        "x": np.arange(width, dtype=np.float64) if x is None else np.asarray(x, np.float64),
    }
    for name, size in (("y", height), ("x", width)):
        if axes[name].shape != (size,) or not np.isfinite(axes[name]).all():
            raise ValueError(f"{name} must be {size} finite coordinates, got shape {axes[name].shape}")
    return {"mask": static, **axes}


def _group_attributes(
    cadence: int, zr: ZR, source: str, licence: str, splits: Mapping[str, Sequence[tuple[str, str]]]
) -> dict[str, Any]:
    return {
        "Conventions": "CF-1.11",
        "format": FORMAT,
        "format_version": VERSION,
        "cadence_minutes": cadence,
        "zr_a": zr.a,
        "zr_b": zr.b,
        "source": source,
        "licence": licence,
        "splits": check_splits(splits),
    }


def _make_folder(path: Path, *arguments: Any) -> None:
    """Make an archive at ``path`` under another name, so a stopped call leaves nothing at ``path``, and rename it."""
    if path.exists():
        raise FileExistsError(f"{path} exists already: choose another name, or append to it")
    temporary = Path(f"{path}.making")
    if temporary.exists():
        shutil.rmtree(temporary)
    _make(temporary, *arguments)
    temporary.rename(path)


def _make(
    store: Any,
    shape: tuple[int, int],
    shard: int | None,
    attributes: dict[str, Any],
    values: dict[str, npt.NDArray[Any]],
    crs: str,
) -> None:
    """Make the group and its arrays in ``store`` and commit them."""

    async def make() -> zarr.AsyncGroup:  # by one hop to zarr's thread, each of which takes time
        group = await open_group(store, mode="w-", zarr_format=3)
        await make_arrays(group, shape, shard, crs_attributes(crs), values)
        return group

    try:
        group = zarr.Group(sync(make()))
    except (FileExistsError, zarr.errors.ContainsGroupError) as error:
        raise FileExistsError(f"{store} exists already: choose another name, or append to it") from error
    contents = {name: [content_digest(values[name])] for name in DIGESTED}
    commit_record.write(group, Record(attributes, commit_record.nodes_of(group, ARRAYS), contents))
