"""Draw where the links of a TrajGRU look, level by level: ``python tools/links.py best.safetensors --out links.png``.

As Figure 3 of Shi et al. 2017: from each of some locations an arrow to each location that its links read, over the
newest frame that the network has seen; and what share of a level's links look outside its map, where nothing is.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(Path.cwd())]  # our `agents`, whatever else is installed under that name

from tools.interrupts import importing  # noqa: E402

with importing("links"):
    import gymnasium
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image

    from agents.learning.checkpoint import CheckpointError, read
    from agents.learning.weights import check_metadata, load_weights
    from agents.networks.link_plots import Flow, describe_level, draw_levels, record_links
    from agents.networks.registry import SIZES, build
    from hko7env.contract import Task
    from hko7env.env import NowcastingEnv

MARGIN = 18  # px above a panel, for its name


def main(arguments: list[str] | None = None) -> int:
    """Parse, draw, say where; the exit status is 0, 1 for an error and 130 for an interrupt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="of a TrajGRU; one a row")
    parser.add_argument("--archive", help="path or URL of an archive; default: the embedded synthetic one")
    parser.add_argument("--split", help="a split of the archive; default: test if it has one, else all frames")
    parser.add_argument("--sequence", type=int, default=-1, help="index of a sequence; default: one in the middle")
    parser.add_argument("--across", type=int, default=8, help="locations with arrows along a side; default: 8")
    parser.add_argument("--out", type=Path, default=Path("links.png"), help="a .png or .webp file; default: links.png")
    words = parser.parse_args(arguments)
    try:
        if words.across < 1:
            raise ValueError(f"--across must be at least 1, got {words.across}")
        if words.out.suffix not in (".png", ".webp"):
            raise ValueError(f"--out ends in .png or .webp, got {words.out}")
        env = gymnasium.make("HKO7-Offline-v0", archive=words.archive, split=words.split).unwrapped
        assert isinstance(env, NowcastingEnv)
        count = len(env.schedule)
        index = count // 2 if words.sequence < 0 else words.sequence
        observation, _ = env.reset(options={"start": min(index, count), "stop": count})
        found = [links(path, env.task, observation["frames"]) for path in words.checkpoints]
        rows = [draw_levels(flows, observation["frames"][-1], words.across) for flows in found]
        image = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
        for y, row in zip(np.cumsum([0, *(row.height for row in rows)]).tolist(), rows, strict=False):
            image.paste(row, (0, y))
        image.save(words.out)
    except KeyboardInterrupt:
        print("\nlinks: stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"links: {error}", file=sys.stderr)
        return 1
    print(f"{words.out}: links after the frame of {env.issued(index)}")
    for path, flows in zip(words.checkpoints, found, strict=True):
        print(path, *(describe_level(name, flow) for name, flow in flows.items()), sep="\n  ")
    return 0


def links(path: Path, task: Task, frames: npt.NDArray[np.uint8]) -> dict[str, Flow]:
    """The flow (L, 2, H', W') px of each recurrent layer's map at the last of the J ``frames``, by the row's name.

    In the forecaster it is that of its first step. Raises ValueError for a checkpoint of no TrajGRU.
    """
    _, found = read(path)
    check_metadata(found, {"model": "trajgru"}, path)
    size = found.get("size")
    if size not in SIZES:
        raise CheckpointError(
            f"{path} has size {size!r}, needed is {' or '.join(SIZES)}: train again with tools/train.py"
        )
    net = build("trajgru", size, task)
    load_weights(net, path)
    _, seen = record_links(net.train(False), torch.from_numpy(frames)[None] / 255)
    return {name: each[-1 if name.startswith("e") else 0, 0] for name, each in seen.items()}


if __name__ == "__main__":
    sys.exit(main())
