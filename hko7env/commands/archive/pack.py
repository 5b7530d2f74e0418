"""Copy a finished archive into few large files, by default of 240 frames; the copy has the same fingerprint."""

from hko7env import progress
from hko7env.archive import Archive, pack
from hko7env.archive.format import DAY_SHARD
from hko7env.command_line import Parser, add_archive_positional, add_out, integer


def main(arguments: list[str] | None = None) -> int:
    """Make the copy and print its number of frames and fingerprint; returns 0."""
    parser = Parser("hko7env archive pack", __doc__ or "")
    add_archive_positional(parser)
    add_out(parser, "path or URL of the archive to make", kind=str)
    help_text = f"frames in a file, a multiple of 5; default: {DAY_SHARD}"
    parser.add_argument("--shard", type=integer(1), default=DAY_SHARD, metavar="N", help=help_text)
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    with progress.bar(len(archive), "packing", "frame") as bar:
        packed = pack(archive, args.out, shard=args.shard, step=bar.update)
    print(f"{args.out}: {len(packed)} frames, fingerprint {packed.fingerprint}")
    return 0
