"""Take a training to another machine in parts of a few megabytes: ``hko7env checkpoint pack training/trajgru``.

``pack`` writes the checkpoints and the log of a training as compressed parts with digests, ``unpack`` makes the folder
from them, in which the same ``hko7env train`` continues.
"""

import argparse
from pathlib import Path

from hko7env.command_line import Parser, UsageError

from ..learning.parts import MEGABYTES, pack, unpack
from ..learning.trainer import BEST, LAST

PROGRAM = "hko7env checkpoint"
ACTIONS = ("pack", "unpack")


def main(arguments: list[str] | None = None) -> int:
    """Pack or unpack as ``arguments`` say, and print the files and their sizes; returns 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If the training cannot be packed or unpacked.
        OSError: If a file cannot be read or written.
    """
    parser = Parser(PROGRAM, __doc__ or "")
    add = parser.add_argument
    add("action", choices=ACTIONS, metavar="ACTION", help=" or ".join(ACTIONS))
    add("folder", type=Path, metavar="FOLDER", help="of the training, or for unpack of its parts")
    add("--out", type=Path, required=True, metavar="PATH", help="folder of the parts, or for unpack of the training")
    help_text = "for pack: weights in bfloat16 and the state of Adam in 8 bits, about a fifth of the size; default: no"
    add("--compact", action=argparse.BooleanOptionalAction, default=False, help=help_text)
    help_text = f"for pack: size of a part at most, in 10^6 bytes; default: {MEGABYTES:g}"
    add("--megabytes", type=float, metavar="N", help=help_text)
    help_text = "for pack: last, from which a training continues, or best, which forecasts need; default: both"
    add("--only", choices=("last", "best"), help=help_text)
    args = parser.parse_args(arguments)
    if args.action == "unpack" and (args.compact or args.megabytes is not None or args.only):
        raise UsageError("--compact, --megabytes and --only are for pack: leave them out")
    if args.action == "pack":
        size = MEGABYTES if args.megabytes is None else args.megabytes
        only = {"last": LAST, "best": BEST, None: None}[args.only]
        written = pack(args.folder, args.out, compact=args.compact, megabytes=size, only=only)
    else:
        written = unpack(args.folder, args.out)
    sizes = [path.stat().st_size for path in written]
    for path, count in zip(written, sizes, strict=True):
        print(f"{path}  {count / 1e6:.2f} MB")
    print(f"{len(written)} files, {sum(sizes) / 1e6:.2f} MB")
    return 0
