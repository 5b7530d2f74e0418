"""Times in the names of files, for formats that any program may have named."""

import datetime
import re
from typing import NamedTuple

from hko7env.archive.format import minutes
from hko7env.damage import DamagedFile
from hko7env.importers.contract import RadarImportError

DIRECTIVES = {  # as strptime has them -> what they match
    "Y": r"\d{4}", "y": r"\d{2}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}",
    "H": r"\d{2}", "M": r"\d{2}", "S": r"\d{2}",
}  # fmt: skip
_NEEDED = ("Yy", "H", "M")  # one directive of each, beside a date

_ANY = re.compile(  # YYYYMMDDhhmm and YYYYMMDDhhmmss, whole or with the usual separators
    r"(?<!\d)(?P<Y>(?:19|20|21)\d{2})[-_.]?(?P<m>\d{2})[-_.]?(?P<d>\d{2})[-_.T ]?"
    r"(?P<H>\d{2})[-_.:hH]?(?P<M>\d{2})(?:[-_.:]?(?P<S>\d{2}))?(?!\d)"
)


class NamedTime(NamedTuple):
    """The time in a file's name.

    Attributes:
        minute: Minutes since 1970-01-01 UTC; seconds are cut off.
        rest: The name with ``*`` in place of the time: the same for all files of a product.
    """

    minute: int
    rest: str


def find_time(name: str, pattern: str | None = None) -> NamedTime | None:
    """Find the time in a file's name.

    Args:
        name: The name, with folders if the pattern has them.
        pattern: Where the time stands: directives of strptime (``%Y %y %m %d %j %H %M %S``), ``?`` for a character that
            is no digit, ``*`` for any characters, and text. Without a pattern the time is 12 or 14 digits in a row
            (YYYYMMDDhhmm, YYYYMMDDhhmmss), or these with separators between the parts.

    Returns:
        The time, or None if the name holds none.

    Raises:
        DamagedFile: The name holds several times.
        RadarImportError: The pattern is not valid.
    """
    found: dict[int, NamedTime] = {}
    for match in (_ANY if pattern is None else compile_pattern(pattern)).finditer(name):
        minute = _minute(match.groupdict())
        if minute is not None:
            found.setdefault(minute, NamedTime(minute, f"{name[: match.start()]}*{name[match.end() :]}"))
    if len(found) > 1:
        raise DamagedFile(
            f'its name holds {len(found)} times: say where the right one stands, such as timestamp="_%Y%m%d%H%M."'
        )
    return next(iter(found.values()), None)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern of :func:`find_time`.

    Raises:
        RadarImportError: The pattern has unknown or repeated directives, or no date, hour or minute.
    """
    parts, used = [], ""
    for part in re.findall(r"%.?|[?*]|[^%?*]+", pattern):
        letter = part[1:]
        if not part.startswith("%"):
            parts.append({"?": r"\D", "*": ".*?"}.get(part, re.escape(part)))
        elif letter in DIRECTIVES and letter not in used:
            used += letter
            parts.append(f"(?P<{letter}>{DIRECTIVES[letter]})")
        else:
            raise RadarImportError(
                f"{part} cannot be read in the timestamp {pattern!r}: each of "
                f"{' '.join(f'%{name}' for name in DIRECTIVES)} may stand once"
            )
    dated = "j" in used or ("m" in used and "d" in used)
    if not dated or not all(set(needed) & set(used) for needed in _NEEDED):
        raise RadarImportError(f"the timestamp {pattern!r} needs year, date, hour and minute, such as %Y%m%d%H%M")
    before, after = (r"(?<!\d)" if pattern[0] == "%" else ""), (r"(?!\d)" if pattern[-2] == "%" else "")
    return re.compile(f"{before}{''.join(parts)}{after}")


def _minute(fields: dict[str, str]) -> int | None:
    """Minutes since 1970-01-01 of the directives' values, or None if there is no such time."""
    try:
        year = int(fields["Y"]) if "Y" in fields else datetime.datetime.strptime(fields["y"], "%y").year
        if "j" in fields:
            day = datetime.date(year, 1, 1) + datetime.timedelta(int(fields["j"]) - 1)
            if day.year != year:
                return None
        else:
            day = datetime.date(year, int(fields["m"]), int(fields["d"]))
        return minutes(f"{day}T{fields['H']}:{fields['M']}")
    except ValueError:
        return None
