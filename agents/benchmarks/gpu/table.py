"""The results of the benchmark of a GPU: one file of all items, from which it goes on, and a page of tables."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from hko7env.files import write_atomically

from ..timing import Line

RESULTS, TABLE = "results.json", "table.md"
FORMAT = "hko7env benchmark gpu"


class Found(NamedTuple):
    """What one item has found.

    Attributes:
        state: "done" or "failed"; failed as well if one of its lines says so.
        lines: Its lines.
        seconds: How long it took.
        error: What it raised.
        trace: Where.
        ended: Whether the process that ran it is of no more use.
    """

    state: str
    lines: Sequence[Line] = ()
    seconds: float = 0.0
    error: str = ""
    trace: str = ""
    ended: bool = False


@dataclass
class Results:
    """All results by the names of the items.

    Attributes:
        path: The file.
        about: What they share: the device, its size, the version of torch.
        date: When the first one was begun, as an ISO date.
        items: The results.
    """

    path: Path
    about: dict[str, Any]
    date: str
    items: dict[str, Found] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: dict[str, Any]) -> "Results":
        """The results at ``path``, none if there is no file.

        Raises:
            ValueError: If it holds something else, or results of something else than ``about``.
        """
        if not path.exists():
            return cls(path, about, datetime.now(UTC).date().isoformat())
        remedy = "choose another folder"
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise ValueError(f"it has the format {held['format']}")
            items = {n: Found(**{**each, "lines": tuple(each["lines"])}) for n, each in held["items"].items()}
            found = cls(path, held["about"], held["date"], items)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no results of this benchmark ({error!r}): {remedy}") from error
        if found.about != about:
            raise ValueError(f"{path} holds results of {found.about}, not of {about}: {remedy}")
        return found

    def write(self) -> None:
        """Write all results."""
        items = {name: found._asdict() for name, found in self.items.items()}
        content = {"format": FORMAT, "about": self.about, "date": self.date, "items": items}
        write_atomically(self.path, json.dumps(content, indent=1).encode())


def failures(found: Found) -> list[str]:
    """What went wrong: the error, variants that could not run, and comparisons out of their bounds."""
    wrong = [found.error] if found.error else []
    for line in found.lines:
        if "failed" in line:
            wrong.append(f"{line.get('name', '')} {line.get('variant', '')}: {line['failed']}".strip())
        elif line.get("passed") is False:
            said = line.get("fact", f"error {line.get('error')}, bound {line.get('bound')}")
            wrong.append(f"{line['name']}: {said}")
    return wrong


def format_page(results: Results, order: list[str]) -> str:
    """The page: what was measured on, comparisons, times, other figures, failures, and what was not run."""
    lines = [line for name in order if name in results.items for line in results.items[name].lines]
    facts = {line["name"]: line["fact"] for line in lines if "fact" in line}
    about = ", ".join(f"{name} {value}" for name, value in facts.items())
    title = f"Measured on {results.about['device']}, torch {results.about['torch']}, on {results.date}"
    tiny = "\nTiny sizes, to try the benchmark itself: the figures mean nothing.\n" if results.about["tiny"] else ""
    parts = [f"{title}: `hko7env benchmark gpu`.\n{tiny}", f"{about}.\n"]
    checks = [line for line in lines if "bound" in line or "skipped" in line]
    parts += _table("Agreement with the CPU", ("what", "relative error", "bound", "within"), map(_check_row, checks))
    times = [line for line in lines if "step" in line and "median" in line]
    head = ("network", "step", "how", "ms", "times as fast as link by link", "peak MB")
    parts += _table("Times", head, map(_time_row, times))
    other = [line for line in lines if "value" in line or ("median" in line and "step" not in line)]
    parts += _table("Throughput", ("what", "figure", "unit", "more"), map(_other_row, other))
    wrong = [(n, text.replace("\n", " ")[:300]) for n, f in results.items.items() for text in failures(f)]
    parts += _table("Failures", ("item", "what it said"), wrong)
    missing = [(name,) for name in order if name not in results.items]
    parts += _table("Not run", ("item",), missing)
    return "\n".join(parts)


def _table(title: str, head: tuple[str, ...], rows: Any) -> Iterator[str]:
    texts = ["| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in rows]
    if texts:
        yield "\n".join([f"## {title}\n", "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *texts, ""])


def _check_row(line: Line) -> tuple[Any, ...]:
    if "skipped" in line:
        return line["name"], "", "", f"not run: {line['skipped']}"
    return line["name"], f"{line['error']:.1e}", f"{line['bound']:g}", "yes" if line["passed"] else "**no**"


def _time_row(line: Line) -> tuple[Any, ...]:
    megabytes = f"{line['bytes'] / 1e6:.0f}" if line["bytes"] else ""
    return line["name"], line["step"], line["variant"], f"{line['median']:.3g}", line.get("fast", ""), megabytes


def _other_row(line: Line) -> tuple[Any, ...]:
    more = [
        f"{name} {line[name]}" for name in ("variant", "sequences", "seconds", "minutes", "steps") if line.get(name)
    ]
    return line["name"], line.get("value", line.get("median")), line["unit"], ", ".join(more)
