"""Compare finished runs on one HTML page that needs no other file: ``hko7env report results --out report.html``.

It shows who wins and how surely (95 % intervals of a paired block bootstrap), scores by lead time, and where the
numbers come from. Runs of different archives, splits or schedules stand apart, because their scores cannot be compared.
"""

from pathlib import Path

from hko7env.command_line import Parser, add_out
from hko7env.files import write_atomically
from hko7env.report.reading import read_comparisons
from hko7env.report.report_page import make_page


def main(arguments: list[str] | None = None) -> int:
    """Write the page and print where it is; returns 0.

    Raises:
        UsageError: If the command line is wrong.
        ValueError: If a run folder cannot be used, or matplotlib is not installed.
        OSError: If the page cannot be written.
    """
    parser = Parser("hko7env report", f"{__doc__}\nIt needs matplotlib: pip install 'hko7env[plots]'.")
    help_text = "run folder that `hko7env evaluate` wrote, or a folder of run folders, such as results"
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=help_text)
    add_out(parser, "the HTML page", "report.html")
    args = parser.parse_args(arguments)
    page = make_page(read_comparisons(args.runs))
    write_atomically(args.out, page.encode())
    print(f"Report: {args.out}")
    return 0
