"""Synthetic radar archives: stochastic rain with known dynamics, as hard to nowcast as HKO-7; the default archive.

The module ``weather`` sets dates and missing frames, ``rain`` computes the rain from ``field`` and ``wind``, ``radar``
what is recorded of it, ``writer`` writes the archive, and ``truth`` holds what agents must not see; ``varied`` makes
archives to train on, with ``rain_types`` and ``coverage``. Scores on such an
archive compare implementations and protocols; they are no evidence of skill on real rain.
"""

import os
from pathlib import Path

from hko7env.synthetic.truth import Truth
from hko7env.synthetic.varied import make_varied
from hko7env.synthetic.weather import DEMO, SIZES, EpisodeSpec
from hko7env.synthetic.writer import GENERATOR_VERSION, SEED, make

__all__ = [
    "DEMO",
    "GENERATOR_VERSION",
    "SEED",
    "SIZES",
    "EpisodeSpec",
    "Truth",
    "cache_folder",
    "default_archive",
    "default_path",
    "make",
    "make_varied",
]


def cache_folder() -> Path:
    """The folder of the default archive: the environment variable HKO7ENV_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("HKO7ENV_CACHE") or user_cache_dir("hko7env"))


def default_path(shape: tuple[int, int] = (480, 480)) -> Path:
    """Path of the default archive of frames (H, W), which need not exist."""
    return cache_folder() / f"demo-{GENERATOR_VERSION}-{shape[0]}x{shape[1]}.zarr"


def default_archive(shape: tuple[int, int] = (480, 480)) -> Path:
    """Path of the default archive, which is made on first use, in about a minute, by one process while others wait.

    Args:
        shape: (H, W) of a frame, at least 8 x 8.

    Raises:
        OSError: The cache folder cannot be written, or the disk is full.
    """
    from filelock import FileLock

    final = default_path(shape)
    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_suffix(".partial")
        with FileLock(final.with_suffix(".lock")):
            if not final.exists():
                make(partial, shape=shape, visible=True)
                partial.rename(final)
    return final
