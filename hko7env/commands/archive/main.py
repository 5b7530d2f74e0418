"""The command ``hko7env archive``, which calls the subcommands of this folder."""

import sys

from hko7env.commands.dispatch import Command, dispatch

DESCRIPTION = "Make radar archives, from files or of synthetic rain, and inspect, denoise, split and pack them."
REPEATS = "stopped; the same command continues a zarr store, and begins a netCDF file anew"
RESUMES = "stopped; the same command continues from there"


def _command(module: str, about: str, stopped: str = "stopped; nothing was changed") -> Command:
    return Command(f"hko7env.commands.archive.{module}", about, stopped)


COMMANDS = {
    "import": _command("import_files", "convert a weather service's files into an archive", RESUMES),
    "watch": _command("watch", "append files to an archive as they arrive in a folder", RESUMES),
    "replay": _command("replay", "drop files into a folder at the pace of a live feed, or faster", RESUMES),
    "synthetic": _command("synthetic", "make an archive of synthetic rain", RESUMES),
    "describe": _command("describe", "print what an archive holds: frames, gaps, mask, units, splits"),
    "verify": _command("verify", "read every chunk and compare it with its checksum"),
    "stats": _command("stats", "print rain-rate classes, splits and monthly means"),
    "texture": _command("texture", "print wet area, spectral slope and persistence, by type of rain"),
    "plot": _command("plot", "draw statistics, mask, clutter and frames as an HTML page"),
    "split": _command("split", "name a part of an archive: listed days, or rainy days"),
    "denoise": _command("denoise", "find ground clutter and write it into the static mask"),
    "mask": _command("mask", "take the static mask from a file, such as HKO-7's mask_dat.npz"),
    "pack": _command("pack", "copy a finished archive into few large files", RESUMES),
    "export": _command("export", "write an archive as an mlcast dataset or CF netCDF", REPEATS),
    "check": _command("check", "compare a synthetic archive with HKO-7: wetness, spectrum, skill of forecasts"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``hko7env archive`` with ``arguments`` (None: those of the process) and return its exit status."""
    return dispatch("hko7env archive", DESCRIPTION, COMMANDS, sys.argv[1:] if arguments is None else arguments)
