"""The error of an archive that cannot be used, and the wording of its messages."""


class ArchiveError(ValueError):
    """An archive is damaged, of another format or not writable; the message names it, the part and the remedy."""


def damage_message(archive: str, part: str, reason: object) -> str:
    """The message for a damaged or missing ``part`` of the archive named ``archive``."""
    return f"{archive}: {part} is damaged or missing ({reason}): restore the file, or import the radar again"
