"""Synthetic radar archives: stochastic rain with known dynamics, as hard to nowcast as HKO-7; the default archive.

The module ``weather`` sets dates and missing frames, ``rain`` computes the rain from ``field`` and ``wind``, ``radar``
what is recorded of it, ``writer`` writes the archive, and ``truth`` holds what agents must not see. ``demo`` draws the
default archive, ``varied`` archives to train on, with ``rain_types`` and ``coverage``. Scores on such an
archive compare implementations and protocols; they are no evidence of skill on real rain.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hko7env.synthetic.demo import DEMO_VERSION, SHAPE, make_demo
from hko7env.synthetic.truth import Truth
from hko7env.synthetic.varied import make_varied
from hko7env.synthetic.weather import SIZES, TWO_DAYS, EpisodeSpec
from hko7env.synthetic.writer import GENERATOR_VERSION, SEED, make

__all__ = [
    "DEMO_VERSION",
    "GENERATOR_VERSION",
    "SEED",
    "SIZES",
    "EpisodeSpec",
    "Truth",
    "cache_folder",
    "default_archive",
    "default_path",
    "full_size_archive",
    "make",
    "make_demo",
    "make_varied",
]


def cache_folder() -> Path:
    """The folder of the default archive: the environment variable HKO7ENV_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("HKO7ENV_CACHE") or user_cache_dir("hko7env"))


def default_path(shape: tuple[int, int] = SHAPE) -> Path:
    """Path of the default archive of frames (H, W), which need not exist."""
    return cache_folder() / f"demo-{DEMO_VERSION}-{shape[0]}x{shape[1]}.zarr"


def default_archive(shape: tuple[int, int] = SHAPE) -> Path:
    """Path of the default archive, which is made on first use, in half a minute, by one process while others wait.

    Args:
        shape: (H, W) of a frame, at least 8 x 8.

    Raises:
        OSError: The cache folder cannot be written, or the disk is full.
    """
    return _made_once(default_path(shape), partial(make_demo, shape=shape))


def full_size_archive() -> Path:
    """Path of an archive with frames of HKO-7's size, preset ``two-days``, made on first use: to measure speed with.

    Raises:
        OSError: The cache folder cannot be written, or the disk is full.
    """
    return _made_once(cache_folder() / f"two-days-{GENERATOR_VERSION}.zarr", partial(make, weather=TWO_DAYS))


def _made_once(final: Path, make_at: Callable[..., object]) -> Path:
    """``final``, made in a temporary folder beside it if it does not exist."""
    from filelock import FileLock

    if not final.exists():
        final.parent.mkdir(parents=True, exist_ok=True)
        partial_path = final.with_suffix(".partial")
        with FileLock(final.with_suffix(".lock")):
            if not final.exists():
                make_at(partial_path, visible=True)
                partial_path.rename(final)
    return final
