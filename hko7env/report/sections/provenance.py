"""What was compared: the archive, fingerprints of protocol and code, options, and the command of each run."""

from collections.abc import Iterable

from hko7env.report.comparison import Comparison, Run
from hko7env.report.html import escape
from hko7env.report.published import OTHER_PROTOCOLS, is_official
from hko7env.report.section import Section

_TITLES = {"z_r": "Z-R relation, a and b", "shape": "rows and columns", "cadence": "minutes between frames"}


def make(comparison: Comparison) -> Section:
    """The section; it is on every page."""
    runs = [one for run in comparison.runs for one in (run, *run.same)]
    body = [f"<h3>Archive and protocol</h3>{_listed(_archive(comparison))}", _others(comparison)]
    body.append(f"<h3>Runs</h3>{''.join(_run(run, comparison) for run in runs)}")
    return Section("provenance", "What was compared", "".join(body))


def _archive(comparison: Comparison) -> list[tuple[str, str]]:
    schedule = comparison.schedule
    rows = [(_TITLES.get(name, name), _text(value)) for name, value in comparison.data.items()]
    if not rows:
        rows = [("archive", "not recorded by the version of hko7env that made these runs")]
    protocol = f"{schedule.inputs} frames seen, {schedule.leads} forecast, {schedule.cadence} min apart"
    return [
        *rows,
        ("fingerprint of the archive", comparison.fingerprint),
        ("split", comparison.split),
        ("sequences", f"{len(comparison.index)} of {len(schedule)}; {protocol}"),
        ("fingerprint of the schedule", schedule.sha256),
    ]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _listed(rows: Iterable[tuple[str, str]]) -> str:
    items = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f'<dl class="facts">{"".join(items)}</dl>'


def _others(comparison: Comparison) -> str:
    official = (
        "These are the official test set and protocol of HKO-7 (6053 sequences): the paper's tables can be compared."
        if is_official(comparison)
        else "These are not the official test set and protocol of HKO-7: numbers of the paper cannot be compared."
    )
    items = "".join(f"<li>{escape(protocol)}</li>" for protocol in OTHER_PROTOCOLS)
    return (
        f"<p>Only runs with equal fingerprints of archive and schedule stand in one table. {official} Neither can "
        f"numbers of other protocols that are published under the name HKO-7:</p><ul>{items}</ul>"
    )


def _run(run: Run, comparison: Comparison) -> str:
    name = next((shown.name for shown in comparison.runs if run in (shown, *shown.same)), run.agent)
    title = name if run.name else f"{name}, {run.setting}: every tally is the same"
    options = ", ".join(f"{option} {value}" for option, value in run.options.items()) or "none"
    versions = ", ".join(f"{package} {version}" for package, version in run.identity["versions"].items())
    rows = [
        ("options", options),
        ("versions", versions),
        ("fingerprint of the code", str(run.identity["code"])),
        ("fingerprint of the run", run.folder.run),
    ]
    return f"<h4>{escape(title)}</h4><p><code>{escape(run.shown_command)}</code></p>{_listed(rows)}"
