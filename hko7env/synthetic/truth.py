"""What a synthetic archive knows and no agent may see: the rain before the radar, its motion, its known growth.

It lies in the group ``truth`` of the archive. ``clean`` (N, H, W) uint8 are the levels of each frame's rain, also below
what the radar detects. For every step of the weather, recorded or not: ``step`` (M,) its minute, ``motion`` (M, 2, n,
m) float32 the displacement in pixels since the step before, on nodes 16 pixels apart, and ``growth`` (M,) the daily
cycle; ``place`` (H, W) is the fixed factor. Growth and place are latent values, which ``marginal`` maps to levels.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hko7env.archive import Archive, ArchiveError, commit_record
from hko7env.archive.format import CHUNK, NO_TIME
from hko7env.synthetic.rain import Levels, Marginal

STEPS = 120  # steps a chunk


def create_truth(archive: Archive, frames: int, nodes: tuple[int, int], place: npt.NDArray[np.float32]) -> None:
    """Make the group for ``frames`` frames and steps of the archive at a local path; existing frames stay as they are.

    ``frames`` counts recorded ones and those left out, so it is an upper bound for ``clean``.
    """
    root = zarr.open_group(archive.name, mode="r+", use_consolidated=False)
    record, _ = commit_record.read(root)
    group = root.require_group("truth")
    height, width = archive.shape
    sizes = {
        "clean": ((frames, height, width), (CHUNK, height, width), "uint8", 255),
        "step": ((frames,), (STEPS,), "int64", NO_TIME),
        "motion": ((frames, 2, *nodes), (STEPS, 2, *nodes), "float32", "NaN"),
        "growth": ((frames,), (STEPS,), "float32", "NaN"),
        "place": ((height, width), (height, width), "float32", "NaN"),
    }
    for name, (shape, chunks, dtype, fill) in sizes.items():
        group.create_array(
            name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill, overwrite=True,
            compressors=[ZstdCodec(level=3), Crc32cCodec()], config={"write_empty_chunks": True},
        )  # fmt: skip
    group["place"][...] = place  # type: ignore[index]
    made = commit_record.nodes_of(root, ("truth", *(f"truth/{name}" for name in sizes)))
    commit_record.write(root, record._replace(nodes=record.nodes | made))


def truth_of(path: str) -> "Truth | None":
    """The truth that the archive at ``path`` keeps, if it does."""
    try:
        return Truth(path)
    except ArchiveError:
        raise
    except ValueError:
        return None


class Truth:
    """The hidden part of the synthetic archive at ``path``. Raises ValueError if it has none.

    Of an archive that is still being made it is what has been written.
    """

    def __init__(self, path: str, *, writable: bool = False) -> None:
        self.name = path
        archive = Archive(path)
        try:
            self._group = zarr.open_group(f"{path}/truth", mode="r+" if writable else "r", use_consolidated=False)
            self.marginal = Marginal(tuple(archive.attributes["synthetic"]["quantiles"]))
        except (FileNotFoundError, KeyError) as error:
            raise ValueError(
                f"{path} keeps no truth beside its frames: only archives of `archive.py synthetic` do, "
                "and a packed copy leaves it behind"
            ) from error
        self._times = archive.times
        steps = np.asarray(self._array("step")[...])
        self.steps = steps[steps != NO_TIME]
        self.cadence = archive.cadence
        self.place = np.asarray(self._array("place")[...])

    def _array(self, name: str) -> Any:
        return self._group[name]

    def clean(self, time: int) -> Levels:
        """(H, W) levels of the rain at the recorded minute ``time``. Raises ArchiveError if they are damaged."""
        index = int(np.searchsorted(self._times, time))
        if index == len(self._times) or self._times[index] != time:
            raise ValueError(f"{self.name} has no frame at minute {time}")
        frame: Levels = self._read("clean", index)
        if (frame == 255).all():
            raise ArchiveError(f"{self.name}/truth/clean lacks the chunk of frame {index}: make the archive again")
        return frame

    def ahead(self, time: int, steps: int) -> Iterator[tuple[npt.NDArray[np.float32], float]]:
        """Motion (2, n, m) and growth of the ``steps`` steps after the one at minute ``time``; still air beyond."""
        index = int(np.searchsorted(self.steps, time, "right")) - 1  # a frame recorded late is of the slot before it
        last = self._read("motion", index)
        for ahead in range(index + 1, index + steps + 1):
            known = ahead < len(self.steps) and self.steps[ahead] - self.steps[ahead - 1] == self.cadence
            motion = self._read("motion", ahead) if known else np.zeros_like(last)
            yield motion, float(self._read("growth", min(ahead, len(self.steps) - 1)))

    def growth(self, time: int) -> float:
        """What the daily cycle adds to the latent field at minute ``time``."""
        return float(self._read("growth", int(np.searchsorted(self.steps, time, "right")) - 1))

    def _read(self, name: str, index: int) -> Any:
        try:
            return np.asarray(self._array(name)[index])
        except (ValueError, RuntimeError, OSError) as error:
            raise ArchiveError(f"{self.name}/truth/{name} is damaged ({error}): make the archive again") from error

    def write(self, name: str, first: int, values: npt.NDArray[np.generic]) -> None:
        """Store ``values`` from position ``first`` on."""
        self._array(name)[first : first + len(values)] = values
