"""What was compared: the archive, fingerprints of protocol and code, options, and the command of each run."""

import json

from hko7env.report.comparison import Comparison, Run
from hko7env.report.html import escape, table
from hko7env.report.section import Section


def make(comparison: Comparison) -> Section:
    """The section; it is on every page."""
    rows = [(run.name, str(run.identity["code"])[:10], _versions(run), _options(run)) for run in comparison.runs]
    commands = "".join(
        f"<dt>{escape(r.name)}</dt><dd><code>{escape(r.shown_command)}</code></dd>" for r in comparison.runs
    )
    body = (
        f"<h3>Archive</h3>{table(('', ''), _archive(comparison))}"
        f"<h3>Runs</h3>{table(('run', 'code', 'versions', 'options'), rows)}"
        f"<h3>Commands</h3><dl>{commands}</dl>"
    )
    return Section("provenance", "What was compared", body)


def _archive(comparison: Comparison) -> list[tuple[str, str]]:
    data, schedule = comparison.data, comparison.schedule
    rows = [
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value)) for name, value in data.items()
    ]
    rows += [("fingerprint of the archive", comparison.fingerprint), ("split", comparison.split)]
    rows += [("fingerprint of the schedule", schedule.sha256)]
    return [*rows, ("sequences", f"{len(comparison.index)} of {len(schedule)}")]


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.identity["versions"].items())


def _options(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.options.items()) or "none"
