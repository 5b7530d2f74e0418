"""Reading frames of 480 x 480 px from an archive, compared with PNG files with zlib masks and with zstd alone."""

import argparse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs import Zstd
from PIL import Image

from hko7env.archive import Archive
from hko7env.archive.format import CHUNK
from hko7env.synthetic import full_size_archive

from .timing import Line, compare, line, lines

FRAMES, WINDOW = 100, 25
REFERENCE, OPENING = "stream/PNG and zlib mask, one thread", "stream/opening an archive"


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Segments in order and random windows."""
    archive = Archive(str(full_size_archive()))
    frames = archive.frames(0, FRAMES)
    packed = [Zstd(level=6).encode(frames[i : i + CHUNK]) for i in range(0, FRAMES, CHUNK)]
    with TemporaryDirectory() as folder:
        files = PlainFiles(Path(folder), frames, archive.scored)
        jobs = {
            REFERENCE: lambda: [(files.frame(i), files.mask(i)) for i in range(FRAMES)],
            "stream/hko7env, segments of 5 in order": lambda: _read(range(0, FRAMES, CHUNK), CHUNK),
            "stream/hko7env, random windows of 25": _random_windows(len(archive)),
            "stream/zstd alone": lambda: [Zstd().decode(chunk) for chunk in packed],
            OPENING: lambda: Archive(str(full_size_archive())),
        }
        medians = compare(jobs, args.rounds)
    opening = medians.pop(OPENING)
    for name in medians:
        medians[name] -= opening if "hko7env" in name else 0  # an archive is opened once, not for each frame
    yield from lines(medians, REFERENCE, "ms/frame", per=FRAMES, size=frames[0].nbytes)
    yield line(OPENING, opening, "ms", 1)


class PlainFiles:
    """The reference: a PNG file and a zlib-compressed mask file per frame, as the released data of HKO-7 are."""

    def __init__(self, folder: Path, frames: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> None:
        """Write ``frames`` (N, H, W), each with the same ``mask`` (H, W), to ``folder``."""
        self.folder, self.shape = folder, mask.shape
        packed = zlib.compress(mask.tobytes(), 2)
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{i}.png")
            (folder / f"{i}.mask").write_bytes(packed)

    def frame(self, i: int) -> npt.NDArray[np.uint8]:
        """Frame ``i``, (H, W) uint8."""
        return np.asarray(Image.open(self.folder / f"{i}.png"))

    def mask(self, i: int) -> npt.NDArray[np.bool_]:
        """The mask of frame ``i``, (H, W) bool."""
        return np.frombuffer(zlib.decompress((self.folder / f"{i}.mask").read_bytes()), bool).reshape(self.shape)


def _read(starts: Any, length: int) -> None:
    archive = Archive(str(full_size_archive()))  # opened anew, so that no chunk is in its cache
    for start in starts:
        archive.frames(start, start + length)


def _random_windows(count: int) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    return lambda: _read(rng.integers(0, count - WINDOW, FRAMES // WINDOW), WINDOW)
