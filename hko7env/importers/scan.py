"""Finding the frames to import: the files of a source, their times and their coverage."""

from pathlib import Path

from hko7env.damage import DamagedFile
from hko7env.importers.contract import Format, FrameSource, RadarImportError, Report, reading

Frames = list[tuple[int, FrameSource]]  # minutes since 1970-01-01 and place of each frame, in the order of time


def find_frames(
    reader: Format, source: Path, destination: Path, report: Report, period: tuple[int, int] | None = None
) -> Frames:
    """List the frames of a source in the order of time.

    Args:
        reader: The format of the files.
        source: A file or folder; absolute.
        destination: The archive, whose own files are passed over if they lie below ``source``; absolute.
        report: Called for each file that cannot be used.
        period: First minute since 1970-01-01 to take, and the first one after; None: all.

    Raises:
        RadarImportError: No file can be used, or none of its frames lies in the period.
    """
    found: dict[int, FrameSource] = {}
    coverage: str | None = None
    for path in reader.sources(source):
        if _is_of(destination, path):
            continue
        try:
            with reading(path):
                times = reader.times_of(path)
                covered = reader.coverage_id(path) if times is not None else ""
        except DamagedFile as error:
            report(str(error))
            continue
        if times is None:
            report(f"{path} is not named like a file of this format, or holds no radar data")
            continue
        coverage = covered if coverage is None else coverage
        if covered != coverage:
            report(f"{path} is of {covered}, other files are of {coverage}: import them into separate archives")
            continue
        for number, time in enumerate(times):
            if period and not period[0] <= time < period[1]:
                continue
            if time in found:
                report(f"{path} has the same time as {found[time].path}")
            else:
                found[time] = FrameSource(path, number)
    if not found:
        if coverage is not None:
            raise RadarImportError(f"no frame of {source} lies in the period: check its begin and end")
        raise RadarImportError(f"no file under {source} is one of this format")
    return sorted(found.items())


def _is_of(archive: Path, path: Path) -> bool:
    """Whether ``path`` is the archive, a file in it, or one that its writers keep beside it, such as the lock."""
    if isinstance(path, str):  # a URL
        return False
    beside = path.parent == archive.parent and path.name.startswith(f".{archive.name}.")
    return beside or path == archive or archive in path.parents
