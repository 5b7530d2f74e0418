"""Read every chunk of an archive and compare it with its checksum; the exit status is 1 if one is damaged."""

from hko7env import progress
from hko7env.archive import Archive
from hko7env.archive.format import CHUNK
from hko7env.command_line import Parser, add_archive_positional


def main(arguments: list[str] | None = None) -> int:
    """Print the damaged chunks and return 0, or 1 if there are any."""
    parser = Parser("hko7env archive verify", __doc__ or "")
    add_archive_positional(parser)
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    damaged = []
    with progress.bar(-(-len(archive) // CHUNK), "verifying", "chunk") as bar:
        for message in archive.verify():
            damaged += [message] if message else []
            bar.update()
    for message in damaged:
        print(message)
    print(f"{args.archive}: {len(archive)} frames, {len(damaged)} damaged chunks")
    return 1 if damaged else 0
