"""Print wet area, intensities, spectral slope and persistence of archives, by type of rain if an archive lists types.

Wet area is the share of the map with at least 0.5 mm/h; the next columns are shares of that area. The slope is that of
the 2-D power spectrum of levels from 4 to 100 km. Persistence is the correlation with the frame half an hour before,
after the shift that makes both most alike. Frames are half an hour apart.
"""

from typing import Any

import numpy as np

from hko7env import progress
from hko7env.archive import Archive
from hko7env.command_line import Parser
from hko7env.synthetic.texture import Texture, measure_texture, sample
from hko7env.synthetic.varied import times_by_type

_HEAD = ("frames", "wet area", ">= 2 mm/h", ">= 10 mm/h", "slope", "persistence")


def main(arguments: list[str] | None = None) -> int:
    """Print a row for each type of each archive; returns 0."""
    parser = Parser("hko7env archive texture", __doc__ or "")
    parser.add_argument("archives", nargs="+", metavar="ARCHIVE", help="path or URL of an archive")
    parser.add_argument("--split", metavar="NAME", help="measure this split only; default: all good frames")
    args = parser.parse_args(arguments)
    parts: list[tuple[str, Archive, Any]] = []
    for name in args.archives:
        archive = Archive(name)
        times, short = archive.select(args.split), name.rstrip("/").rpartition("/")[2].removesuffix(".zarr")
        types = {kind: found[np.isin(found, times)] for kind, found in times_by_type(archive).items()}
        parts += [(f"{short}, {kind}", archive, found) for kind, found in types.items() if len(found)]
        if not types:
            parts.append((short, archive, times))
    width = max(len(name) for name, _, _ in parts)
    rows = []
    with progress.bar(sum(len(sample(times)) for _, _, times in parts), "measuring", "frame") as bar:
        for name, archive, times in parts:
            rows.append(" ".join([name.ljust(width), *_cells(measure_texture(archive, times, bar.update))]))
    print(" ".join([" " * width, *_HEAD]), *rows, sep="\n")
    return 0


def _cells(texture: Texture) -> list[str]:
    shares = [f"{share:.1%}" for share in (texture.wet.mean(), texture.heavy[1], texture.heavy[3])]
    cells = [f"{texture.frames:,}", *shares, f"{texture.slope:.2f}", f"{texture.persistence:.2f}"]
    return [cell.rjust(len(head)) for cell, head in zip(cells, _HEAD, strict=True)]
