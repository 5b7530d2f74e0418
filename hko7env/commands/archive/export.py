"""Write an archive as a dataset for other programs: zarr by the mlcast specification (.zarr), or CF netCDF (.nc).

Values are rain rates; importing the dataset with ``hko7env archive import mlcast`` or ``cf`` gives the same archive. A
zarr store that is interrupted continues when the same command is given again; a netCDF file begins anew.
"""

from hko7env import progress
from hko7env.archive import Archive
from hko7env.command_line import Parser, add_archive_positional, add_out
from hko7env.export import ExportConfig, export_archive
from hko7env.options import add_options, given, options_of


def main(arguments: list[str] | None = None) -> int:
    """Write the dataset and print its number of frames and the rules that it breaks; returns 0."""
    parser = Parser("hko7env archive export", __doc__ or "")
    add_archive_positional(parser)
    add_out(parser, "the dataset to make, which ends in .zarr or .nc")
    add_options(parser, ExportConfig)
    args = parser.parse_args(arguments)
    archive = Archive(args.archive)
    config = ExportConfig(**given(args, ExportConfig))
    with progress.bar(len(archive), "exporting", "frame") as bar:
        broken = export_archive(archive, args.out, config, step=bar.update)
    print(f"{args.out}: {len(archive)} frames of {archive.shape[0]} x {archive.shape[1]}")
    if args.out.suffix == ".zarr":
        print(f"rules of the mlcast specification that it does not meet: {len(broken) or 'none'}")
        for rule in broken:
            print(f"  {_with_flags(rule)}")
    return 0


def _with_flags(text: str) -> str:
    """``text`` with flags in place of the options that it names."""
    for option in options_of(ExportConfig):
        text = text.replace(f"give {option.name}", f"give {option.flag}")
    return text
