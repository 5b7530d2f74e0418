"""Run folders with given tallies, made without running an agent."""

import numpy as np

from hko7env.evaluation.journal import Journal
from hko7env.evaluation.provenance import evaluate_command
from hko7env.evaluation.run_folder import RunFolder
from hko7env.evaluation.table import Result
from hko7env.schedule import Schedule, schedule
from hko7env.scores import Tally

DAY = 24 * 60
DATA = {"source": "made up", "licence": "none", "shape": [8, 8], "cadence": 6, "z_r": [58.53, 1.56]}


def days(count, hours=12):
    """A schedule of ``count`` episodes on as many days."""
    times = np.concatenate([DAY * day + 6 * np.arange(10 * hours) for day in range(count)])
    return schedule(16_000 * DAY + times)


def observed(sequences, seed=0, pixels=64):
    """(N, K, 5) numbers of events observed, fewer at higher thresholds, much rain in some sequences."""
    rng = np.random.default_rng(seed)
    wet = rng.gamma(2.0, 0.15, (sequences, 1, 1)).clip(0.05, 0.9)
    falling = np.array([1, 0.8, 0.6, 0.5, 0.4])
    return rng.binomial(pixels, wet * falling, (sequences, 20, 5)).astype(np.int64)


def forecasts(seen, skill, seed, pixels=64):
    """Counts (N, 4, K, 5) and error sums (N, 4, K) of forecasts that hit the share ``skill`` of the events."""
    rng = np.random.default_rng(seed)
    hits = rng.binomial(seen, skill)
    false = rng.binomial(pixels - seen, 0.2 * (1 - skill))
    counts = np.stack([hits, seen - hits, false, pixels - seen - false], axis=1)
    wrong = (counts[:, 1, :, 0] + counts[:, 2, :, 0])[:, None]
    return counts, wrong * rng.uniform(0.5, 1.5, (len(seen), 4, 20))


def write_run(out, agent, walk, counts, sums, *, setting="offline", finished=True, **changes):
    """Write a run folder of the sequences that ``counts`` and ``sums`` have; returns its path."""
    options = changes.pop("options", {})
    archive = changes.pop("archive", "a" * 64)
    data = changes.pop("data", DATA)
    identity = {
        "agent": agent, "options": options, "setting": setting, "archive": archive, "split": "test", "cleaned": False,
        "schedule": walk.sha256, "sequences": len(counts), "code": "c" * 64, "versions": {"hko7env": "0.1.0"},
    } | changes  # fmt: skip
    plan = {"archive": "a.zarr", "split": None, "limit": None, "cleaned": False, "options": options, "out": out}
    context = {
        "archive": "a.zarr", "options": options, "command": evaluate_command(agent, setting, **plan), "data": data,
        "protocol": {"inputs": walk.inputs, "leads": walk.leads, "cadence": walk.cadence},
    }  # fmt: skip
    folder = RunFolder(out, f"{agent}-{setting}-test", identity, context, walk.leads)
    with folder.held():
        folder.add_sequences(walk)
        journal = Journal(folder.new_journal(), walk.leads, folder.run)
        for i in range(len(counts)):
            journal.add(i, Tally(1, *counts[i], *sums[i]))
        journal.close()
        if finished:
            folder.finish(Result(agent, setting, "Data: made up.", folder.tally(), 1), walk.cadence)
    return folder.path


def write_runs(out, skills, walk=None, **changes):
    """One offline run for each agent, from a dict of agents and their skills in [0, 1]; returns their paths."""
    walk = walk or days(12)
    assert isinstance(walk, Schedule)
    seen = observed(len(walk))
    return [
        write_run(out, agent, walk, *forecasts(seen, skill, 1 + seed), **changes)
        for seed, (agent, skill) in enumerate(skills.items())
    ]
