"""Rank correlations of scores (Table 5), runs of several seeds (Table 4), and what the docs print of them."""

import csv

import numpy as np
import pytest
from scipy.stats import kendalltau

from hko7env.report.agreement import rank_correlations, seed_groups
from hko7env.report.published import TABLE_3, TAU_B_MSE_CSI
from hko7env.report.reading import read_comparisons
from hko7env.report.sections import agreement
from hko7env.scores import COUNTS, Tally
from hko7env.units import THRESHOLDS
from tests.helpers.markdown import ROOT, table_rows
from tests.helpers.report_runs import days, forecasts, observed, write_run, write_runs

PAGE = ROOT / "docs/report.md"


def cells(values):
    return [f"{value:+.2f}" if value > 0 else f"{value:.2f}" for value in np.ravel(values)]


def tally(hits, error):
    """A tally with ``hits`` of ten events at every threshold, and all error sums ``error``."""
    counts = [np.full((1, 5), n) for n in (hits, 10 - hits, 2, 100)]
    return Tally(1, *counts, *(np.full(1, float(error)) for _ in range(4)))


def test_tau_by_hand():
    """Of the six pairs of four runs, five have the smaller error with the higher CSI, one not: tau = (1 - 5) / 6."""
    found = rank_correlations([tally(9, 1), tally(8, 2), tally(6, 3), tally(7, 4)])
    assert found.shape == (4, 2, 5)
    assert np.allclose(found, -4 / 6)


def test_tau_of_equal_scores_is_undefined():
    assert np.isnan(rank_correlations([tally(9, 1), tally(9, 2), tally(9, 3)])).all()
    assert np.isnan(rank_correlations([tally(9, 1)])).all()


def test_the_docs_print_the_published_evaluations(shared):
    models = {}
    with (shared / "hko7" / "saved_evals.csv").open() as file:
        for row in csv.DictReader(file):
            models.setdefault(row["model"], []).append(row)
    tallies = []
    for rows in models.values():
        counts = [np.array([[int(r[f"{name}_{t:g}"]) for t in THRESHOLDS] for r in rows]) for name in COUNTS]
        tallies.append(
            Tally(1, *counts, *(np.array([float(r[name]) for r in rows]) for name in ("mse", "mae", "bmse", "bmae")))
        )
    found = rank_correlations(tallies)
    printed = table_rows(PAGE, "On the six evaluations")
    assert [row[1:] for row in printed] == [cells(values) for values in found]
    assert table_rows(PAGE, "Beside the paper")[0][1:] == cells(found[2, 0])


def test_the_docs_print_table_5_as_the_paper_does():
    rows = table_rows(PAGE, "Beside the paper")
    columns = np.array([row.csi for row in TABLE_3]).T
    assert rows[1][1:] == cells([kendalltau([row.b_mse for row in TABLE_3], column).statistic for column in columns])
    assert rows[2][1:] == cells(TAU_B_MSE_CSI)


def test_runs_that_differ_in_the_seed_alone_are_a_group(tmp_path):
    walk = days(3)
    seen = observed(len(walk))
    for seed in (0, 1, 2):
        write_run(tmp_path, "agents.a", walk, *forecasts(seen, 0.5, seed), options={"seed": seed, "n": 1})
    write_run(tmp_path, "agents.a", walk, *forecasts(seen, 0.5, 7), options={"seed": 0, "n": 2})
    write_run(tmp_path, "agents.b", walk, *forecasts(seen, 0.5, 8))
    (comparison,) = read_comparisons([tmp_path])
    ((name, runs),) = seed_groups(comparison)
    assert name == "a offline"
    assert sorted(run.options["seed"] for run in runs) == [0, 1, 2]
    values = [float(run.tally.balanced_squared.mean() / run.tally.sequences) for run in runs]
    body = agreement.make(comparison).body
    assert f"<td>{np.mean(values):.0f} ± {np.std(values, ddof=1):.0f}</td>" in body


@pytest.mark.parametrize("count, there", [(1, False), (2, False), (3, True)])
def test_tau_needs_three_runs(tmp_path, count, there):
    write_runs(tmp_path, {f"agents.a{i}": 0.3 + 0.2 * i for i in range(count)})
    section = agreement.make(read_comparisons([tmp_path])[0])
    assert (section is not None) is there
