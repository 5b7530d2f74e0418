"""The hidden state of a synthetic archive, which agents must not see: true rain, its motion and its known growth.

It is stored in the group ``truth`` of the archive. ``clean`` (N, H, W) uint8 holds the rain of each frame before the
simulated radar observes it, also where it is too weak to be detected. For every step of every episode, recorded or not,
``step`` (M,) holds its minute, ``motion`` (M, 2, n, m) float32 the displacement in pixels since the step before, at
nodes 16 pixels apart, and ``growth`` (M,) the diurnal cycle. ``place`` (H, W) is the terrain bias. Diurnal cycle and
terrain bias are in units of the latent field, which :class:`hko7env.synthetic.rain.Marginal` maps to levels.
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

STEPS = 120  # in a chunk


def create_truth(archive: Archive, frames: int, nodes: tuple[int, int], terrain: npt.NDArray[np.float32]) -> None:
    """Make the group ``truth`` in an archive at a local path; its frames stay as they are.

    Args:
        archive: The archive.
        frames: Number of steps of all episodes, recorded or not.
        nodes: (n, m) nodes of a motion.
        terrain: (H, W) float32 terrain bias.
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
    group["place"][...] = terrain  # type: ignore[index]
    made = commit_record.nodes_of(root, ("truth", *(f"truth/{name}" for name in sizes)))
    commit_record.write(root, record._replace(nodes=record.nodes | made))


def truth_of(path: str) -> "Truth | None":
    """The truth of the archive at ``path``, or None if it has none. Raises ArchiveError if the archive is damaged."""
    try:
        return Truth(path)
    except ArchiveError:
        raise
    except ValueError:
        return None


class Truth:
    """The hidden state of a synthetic archive; of an unfinished archive, what has been written so far.

    Args:
        path: Path of the archive.
        writable: Whether :meth:`write` is allowed.

    Attributes:
        name: ``path``.
        marginal: The map from latent values to levels.
        steps: (M,) int64 minutes since 1970-01-01 of the steps.
        cadence: Minutes of a step.
        terrain_bias: (H, W) float32 what the location adds to the latent field.

    Raises:
        ValueError: The archive has no truth.
        ArchiveError: The archive is damaged.
    """

    def __init__(self, path: str, *, writable: bool = False) -> None:
        self.name = path
        archive = Archive(path)
        try:
            self._group = zarr.open_group(f"{path}/truth", mode="r+" if writable else "r", use_consolidated=False)
            self.marginal = Marginal(tuple(archive.attributes["synthetic"]["quantiles"]))
        except (FileNotFoundError, KeyError) as error:
            raise ValueError(
                f"{path} has no truth (true rain and motion): only archives of synthetic rain do, "
                "but not those of preset varied, nor packed copies"
            ) from error
        self._times = archive.times
        steps = np.asarray(self._array("step")[...])
        self.steps = steps[steps != NO_TIME]
        self.cadence = archive.cadence
        self.terrain_bias = np.asarray(self._array("place")[...])

    def _array(self, name: str) -> Any:
        return self._group[name]

    def clean(self, time: int) -> Levels:
        """True rain, before the simulated radar observes it.

        Args:
            time: Minutes since 1970-01-01 of a recorded frame.

        Returns:
            (H, W) uint8 levels.

        Raises:
            ValueError: The archive has no frame at this time.
            ArchiveError: The truth is damaged.
        """
        index = int(np.searchsorted(self._times, time))
        if index == len(self._times) or self._times[index] != time:
            raise ValueError(f"{self.name} has no frame at minute {time}")
        frame: Levels = self._read("clean", index)
        if (frame == 255).all():
            raise ArchiveError(f"{self.name}/truth/clean lacks the chunk of frame {index}: make the archive again")
        return frame

    def ahead(self, time: int, steps: int) -> Iterator[tuple[npt.NDArray[np.float32], float]]:
        """Motion and diurnal cycle of the next steps.

        Args:
            time: Minutes since 1970-01-01.
            steps: Number of steps.

        Yields:
            Motion (2, n, m) float32 and diurnal cycle of each step after the one at ``time``; beyond the end of the
            episode the motion is 0.
        """
        index = int(np.searchsorted(self.steps, time, "right")) - 1  # a frame recorded late belongs to the slot before
        last = self._read("motion", index)
        for ahead in range(index + 1, index + steps + 1):
            known = ahead < len(self.steps) and self.steps[ahead] - self.steps[ahead - 1] == self.cadence
            motion = self._read("motion", ahead) if known else np.zeros_like(last)
            yield motion, float(self._read("growth", min(ahead, len(self.steps) - 1)))

    def diurnal_cycle(self, time: int) -> float:
        """Value of the diurnal cycle, which is part of the latent field, at minute ``time`` since 1970-01-01."""
        return float(self._read("growth", int(np.searchsorted(self.steps, time, "right")) - 1))

    def _read(self, name: str, index: int) -> Any:
        try:
            return np.asarray(self._array(name)[index])
        except (ValueError, RuntimeError, OSError) as error:
            raise ArchiveError(f"{self.name}/truth/{name} is damaged ({error}): make the archive again") from error

    def write(self, name: str, first: int, values: npt.NDArray[np.generic]) -> None:
        """Store ``values`` in the array ``name`` from index ``first`` on."""
        self._array(name)[first : first + len(values)] = values
