"""Take the static mask of an archive from a file, such as HKO-7's mask_dat.npz."""

from pathlib import Path

from hko7env.archive import Archive
from hko7env.archive.clutter import load_mask
from hko7env.archive.format import describe_mask
from hko7env.command_line import Parser, add_archive_positional


def main(arguments: list[str] | None = None) -> int:
    """Write the mask and print its number of locations of each kind; returns 0."""
    parser = Parser("hko7env archive mask", __doc__ or "")
    add_archive_positional(parser)
    help_text = (
        "an .npz file with HKO-7's two masks, or with an array mask of codes: 0 scored, 1 outlier, 2 out of range"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=help_text)
    args = parser.parse_args(arguments)
    mask, archive = load_mask(args.file), Archive(args.archive, writable=True)
    if mask.shape != archive.shape:
        sizes = [f"{height} x {width}" for height, width in (mask.shape, archive.shape)]
        raise ValueError(f"{args.file} is a mask of {sizes[0]}, {args.archive} has frames of {sizes[1]}")
    archive.update(mask=mask, attributes={"mask_from": args.file.name})
    print(f"{args.archive}: {describe_mask(mask)}")
    return 0
