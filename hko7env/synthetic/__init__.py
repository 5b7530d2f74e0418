"""Synthetic radar archives: stochastic rain with known dynamics, as hard to nowcast as HKO-7, and the default archive.

``rain`` makes the weather from ``field`` and ``wind``, ``radar`` what is recorded of it, ``weather`` says when,
``making`` writes the archive and ``truth`` what agents must not see. A table made on it ranks implementations and
protocols; it does not prove skill on real rain.
"""

import os
from pathlib import Path

from hko7env.synthetic.truth import Truth
from hko7env.synthetic.weather import DEMO, SIZES, Weather
from hko7env.synthetic.writer import GENERATOR_VERSION, SEED, make

__all__ = ["DEMO", "GENERATOR_VERSION", "SEED", "SIZES", "Truth", "Weather", "cache_folder", "default_archive", "make"]


def cache_folder() -> Path:
    """Where the default archive lies: the folder named by HKO7ENV_CACHE, else the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("HKO7ENV_CACHE") or user_cache_dir("hko7env"))


def default_archive(shape: tuple[int, int] = (480, 480)) -> Path:
    """Path of the default archive, which is made on first use, in about a minute, once for all processes."""
    from filelock import FileLock

    folder = cache_folder()
    name = f"demo-{GENERATOR_VERSION}-{shape[0]}x{shape[1]}"
    final, partial = folder / f"{name}.zarr", folder / f"{name}.partial"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            if not final.exists():
                make(partial, shape=shape, visible=True)
                partial.rename(final)
    return final
