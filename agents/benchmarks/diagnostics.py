"""What ``evaluate --keep diagnostics`` adds to scoring a step of 20 forecast frames of 480 x 480 px."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hko7env.archive import Archive
from hko7env.diagnostics.sums import Diagnoser
from hko7env.evaluation.diagnostics import EVERY, DiagnosticsFolder
from hko7env.schedule import INPUTS
from hko7env.split_view import SplitView
from hko7env.synthetic import full_size_archive

from .timing import Line, compare, line


def measure(args: argparse.Namespace) -> Iterator[Line]:
    """Scoring a dense forecast, such as a network's, and the last frame, and what diagnostics add per step.

    One of :data:`EVERY` sequences is diagnosed and written; its time is divided by their number.
    """
    view = SplitView(Archive(args.archive[0] if args.archive else str(full_size_archive())))
    slots = _rainiest(view)
    frames, _ = view.frames_at(slots[:INPUTS])
    truth, present = view.frames_at(slots[INPUTS:])
    mask = view.mask_of(truth, present)
    last = np.ascontiguousarray(np.broadcast_to(frames[-1] / np.float32(255), (len(truth), *frames[-1].shape)))
    dense = np.clip(last + np.float32(0.01), 0, 1)
    diagnoser = Diagnoser(view.scored, view.archive.zr)
    with TemporaryDirectory() as path:
        folder = DiagnosticsFolder(Path(path), "")
        jobs: dict[str, Any] = {}
        for name, forecast in (("dense", dense), ("last frame", last)):
            jobs[f"score, {name}"] = lambda f=forecast: view.score(slots[INPUTS:], f)
            jobs[f"diagnose, {name}"] = lambda f=forecast: folder.save(0, diagnoser.measure(truth, present, mask, f))
        medians = compare(jobs, args.rounds)
        size = (folder.path / "000000.sums").stat().st_size
    for name in ("dense", "last frame"):
        scoring, diagnosing = medians[f"score, {name}"], medians[f"diagnose, {name}"]
        yield line(f"diagnostics/score, {name}", scoring, "ms/step", 1.0)
        yield line(f"diagnostics/diagnose one sequence, {name}", diagnosing, "ms/sequence", diagnosing / scoring, size)
        added = diagnosing / EVERY
        yield line(f"diagnostics/added by one in {EVERY}, {name}", added, "ms/step", added / scoring)


def _rainiest(view: SplitView) -> Any:
    """The slots of the rainiest of twenty sequences."""
    chosen = np.unique(np.linspace(0, len(view.schedule) - 1, 20).astype(int))
    rain = [sum(int((f > 0).sum()) for f in view.frames_at(view.schedule.slots(int(i)))[0]) for i in chosen]
    return view.schedule.slots(int(chosen[int(np.argmax(rain))]))
