"""Draw an archive as one HTML page: frames, rain rates, splits, months, mask, clutter, and spectrum if synthetic."""

from hko7env import progress
from hko7env.archive import Archive
from hko7env.command_line import Parser, add_archive_positional, add_out
from hko7env.files import write_atomically
from hko7env.report import archive_page


def main(arguments: list[str] | None = None) -> int:
    """Write the page and print where it is; returns 0."""
    parser = Parser("hko7env archive plot", f"{__doc__}\n\nIt needs matplotlib: pip install 'hko7env[plots]'.")
    add_archive_positional(parser)
    add_out(parser, "the HTML page")
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    with progress.bar(archive_page.count_steps(archive), "reading", "frame") as bar:
        page = archive_page.make_page(archive, step=bar.update)
    write_atomically(args.out, page.encode())
    print(f"Page: {args.out}")
    return 0
