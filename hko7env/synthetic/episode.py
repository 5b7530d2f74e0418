"""One episode of a synthetic archive: computing its frames and truth into files, and counting its latent values."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hko7env.archive.format import OUT_OF_RANGE, minutes
from hko7env.synthetic.field import COARSE, Key
from hko7env.synthetic.process import HONG_KONG, Process
from hko7env.synthetic.radar import radar_mask, site
from hko7env.synthetic.rain import Marginal, Moment, histogram, latent
from hko7env.synthetic.weather import EpisodeSpec

BLOCK = 40  # frames written, read and appended at once, so memory does not grow with the length of an episode

_ZEROS = 1 << 24  # bytes written at once
_NOISE = 1 << 80  # random streams of the radar, one for each slot


@dataclass(frozen=True)
class Episode:
    """All that the frames of one episode depend on, except the map from latent values to levels.

    Attributes:
        number: Index of the episode in its archive.
        spec: When it takes place.
        shape: (H, W) of a frame.
        seed: Seed of the archive.
        mean: Added to the latent field of the whole episode.
        cadence: Minutes of a step.
        process: Parameters of the rain.
        gain: Factor of the amplitude of the field of waves.
        apart: Added to the number where random streams are selected, so that no other archive of the seed has them.
    """

    apart: ClassVar[int] = 0

    number: int
    spec: EpisodeSpec
    shape: tuple[int, int]
    seed: int
    mean: float
    cadence: int
    process: Process = field(default=HONG_KONG, kw_only=True)
    gain: float = field(default=1.0, kw_only=True)

    @property
    def key(self) -> Key:
        """Seed and number of the episode, which select its random streams."""
        return self.seed, self.apart + self.number

    @property
    def step(self) -> float:
        """Minutes by which the rain changes from slot to slot."""
        return self.cadence

    @property
    def start(self) -> int:
        """Minutes since 1970-01-01 of the first slot."""
        return minutes(self.spec.start)

    def generate(self, stop: threading.Event | None, *, coarse: bool = False) -> Iterator[Moment]:
        """Generate all slots, recorded or not. Raises KeyboardInterrupt once ``stop`` is set."""
        moments = latent(
            self.shape,
            self.spec.frames,
            cadence=self.step,
            start=self.start,
            key=self.key,
            mean=self.mean,
            process=self.process,
            gain=self.gain,
            coarse=coarse,
        )
        for moment in moments:
            if stop and stop.is_set():
                raise KeyboardInterrupt
            yield moment


Values = Callable[[Any, threading.Event | None], Iterator[dict[str, Any]]]  # of an Episode


def observed(marginal: Marginal, episode: Episode, stop: threading.Event | None) -> Iterator[dict[str, Any]]:
    """Frames and truth of all slots of an episode.

    Args:
        marginal: The map from latent values to levels.
        episode: The episode.
        stop: Raise KeyboardInterrupt once this is set.

    Yields:
        frames, clean (H, W) uint8, motion (2, n', m') float32 and growth () float32 of each slot.
    """
    radar = site(episode.shape, episode.seed)
    for i, moment in enumerate(episode.generate(stop)):
        clean = marginal.levels(moment.latent)
        yield {
            "frames": radar.observe(clean, episode.start + episode.cadence * i, episode.key, _NOISE + i),
            "clean": np.where(radar.mask == OUT_OF_RANGE, np.uint8(0), clean),
            "motion": moment.motion,
            "growth": np.float32(moment.diurnal),
        }


def compute_episode(
    folder: Path,
    values: Values,
    stop: threading.Event | None,
    step: Callable[[int], Any] | None,
    episode: Episode,
) -> Path:
    """Compute what is stored of all slots of an episode into files.

    Args:
        folder: Where the episode gets a folder of its own; if it is complete already, nothing is computed.
        values: Computes them, such as :func:`observed`.
        stop: Raise KeyboardInterrupt once this is set.
        step: Called with 1 after each frame.
        episode: The episode.

    Returns:
        The episode's folder with a file NAME.npy for each name of the values, with the slots along the first axis.

    Raises:
        OSError: The disk is full.
    """
    part, partial = folder / f"{episode.number:04}", folder / f"{episode.number:04}.partial"
    if part.exists():
        return part
    partial.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {}
    for i, slot in enumerate(values(episode, stop)):
        for name, value in slot.items():
            if name not in arrays:
                arrays[name] = new_array(partial / f"{name}.npy", value.dtype, (episode.spec.frames, *np.shape(value)))
            elif i % BLOCK == 0:  # a new map, so that the written part leaves the memory
                arrays[name] = np.load(partial / f"{name}.npy", mmap_mode="r+")
            arrays[name][i] = value
        if step:
            step(1)
    for array in arrays.values():
        array.flush()
    partial.rename(part)
    return part


def new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
    """Create a memory-mapped .npy file whose disk space is reserved, so that writing to the map cannot fail later.

    A write to a sparse file on a full disk kills the process (SIGBUS).

    Raises:
        OSError: There is no room; the error names the file.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # macOS: writing zeros reserves the space as well
                file.seek(array.offset)
                for start in range(array.offset, size, _ZEROS):
                    file.write(bytes(min(_ZEROS, size - start)))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {size} bytes for", str(path)) from error
    return array


def count_latents(stop: threading.Event | None, episode: Episode) -> npt.NDArray[np.float64]:
    """(1600,) counts of the coarse latent values within the radar's range over the recorded slots of an episode.

    Args:
        stop: Raise KeyboardInterrupt once this is set.
        episode: The episode.
    """
    in_range = (radar_mask(episode.shape, episode.seed) != OUT_OF_RANGE)[::COARSE, ::COARSE]
    recorded = set(episode.spec.slots.tolist())
    total: Any = 0.0
    for i, moment in enumerate(episode.generate(stop, coarse=True)):
        if i in recorded:
            total = total + histogram(moment.latent, in_range)
    return np.asarray(total)
