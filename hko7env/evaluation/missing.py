"""``missing.json`` of a run folder: the sequences that a file of forecasts has no whole forecast of, and why."""

import json

from hko7env.archive.format import iso
from hko7env.evaluation.journal import RunError, writing
from hko7env.evaluation.run_folder import RunFolder, read_json
from hko7env.files import write_atomically
from hko7env.forecast_files import Missing
from hko7env.schedule import Schedule

MISSING = "missing.json"


def write_missing(folder: RunFolder, schedule: Schedule, missing: dict[int, Missing]) -> None:
    """Write the list of missing sequences, by index. Raises RunError if it cannot be written."""
    last_seen = schedule.inputs - 1
    rows = [
        {
            "sequence": index,
            "issue_time": iso(int(schedule.slots(index)[last_seen])),
            "reason": one.why,
            "where": one.where,
        }
        for index, one in sorted(missing.items())
    ]
    path = folder.path / MISSING
    with writing(path):
        write_atomically(path, json.dumps({"run": folder.run, "missing": rows}, indent=1).encode())


def read_missing(folder: RunFolder) -> dict[int, Missing]:
    """Read the list of missing sequences, by index; none without a list.

    Raises:
        RunError: If the list is damaged or of another run.
    """
    path = folder.path / MISSING
    if not path.exists():
        return {}
    remedy = f"remove it and {folder.path / 'complete.json'}, and score the file again"
    found = read_json(path, remedy)
    try:
        if found["run"] != folder.run:
            raise ValueError("it belongs to another run")
        return {int(row["sequence"]): Missing(str(row["reason"]), str(row["where"])) for row in found["missing"]}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error}): {remedy}") from error
