"""Sections made of diagnostics: there where something was kept, with the numbers that were kept, or an error."""

import csv
import io
import shutil

import numpy as np
import pytest

from hko7env.diagnostics.fractions import SCALES
from hko7env.diagnostics.spectra import resolution
from hko7env.evaluation.diagnostics import DiagnosticsFolder
from hko7env.evaluation.evaluate import evaluate
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.recording import Extras
from hko7env.report.reading import read_comparisons
from hko7env.report.sections import SECTIONS as ON_THE_PAGE
from hko7env.report.sections import fss, reliability, spectrum
from hko7env.units import THRESHOLDS
from tests.helpers.runs import plan
from tests.report.test_archive_page import Outline

pytest.importorskip("matplotlib")

SECTIONS = (fss, spectrum, reliability)
KEEP = Extras(frozenset({"diagnostics"}), 2)


@pytest.fixture(scope="module")
def made(small_archive, tmp_path_factory):
    """Three runs, two of them with diagnostics."""
    out = tmp_path_factory.mktemp("runs")
    for agent, extras in (
        ("agents.last_frame", KEEP),
        ("tests.helpers.toys", KEEP),
        ("tests.helpers.toys:moody", Extras()),
    ):
        evaluate(plan(small_archive, agent, online=True), out, extras=extras)
    return out


@pytest.fixture
def out(made, tmp_path):
    """A copy to damage."""
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def compare(out):
    (comparison,) = read_comparisons([out])
    return comparison


@pytest.fixture(scope="module")
def comparison(made):
    return compare(made)


@pytest.fixture(scope="module")
def sections(comparison):
    return {module: module.make(comparison) for module in SECTIONS}


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def kept_of(comparison, name):
    (run,) = (run for run in comparison.runs if run.agent == name)
    return DiagnosticsFolder(run.path, run.folder.run)


def test_they_say_what_was_diagnosed_and_describe_every_figure(comparison, sections):
    made = list(sections.values())
    assert [section.title for section in made] == ["Displacement", "Blur", "Intensities"]
    assert {module.make for module in SECTIONS} <= set(ON_THE_PAGE)
    page = "".join(section.body for section in made)
    assert all(len(text) > 40 for text in Outline(page).figures)
    assert page.count("From the 7 of 13 forecasts that were diagnosed in all of these runs") == 3
    (moody,) = (run.name for run in comparison.runs if run.agent.endswith("moody"))
    assert page.count(f"Without diagnostics, so not shown here: {moody}.") == 3
    assert "too few to be trusted" in page


def test_fss_is_that_of_the_kept_sums(comparison, sections):
    section = sections[fss]
    total = kept_of(comparison, "agents.last_frame").total()
    found = {
        (r["run"], int(r["minutes"]), int(r["window_px"])): r
        for r in rows(dict(section.tables)["FSS as CSV, all scales and lead times"])
    }
    for k in (0, 19):
        for s, scale in enumerate(SCALES):
            row = found["last_frame", 6 * (k + 1), scale]
            for j, threshold in enumerate(THRESHOLDS):
                expected = total.fss[k, s, j]
                assert (row[f"fss_{threshold:g}"] == "") == np.isnan(expected)
                if not np.isnan(expected):
                    assert float(row[f"fss_{threshold:g}"]) == pytest.approx(expected, rel=1e-5)


def test_pooled_csi_is_that_of_the_kept_counts(comparison, sections):
    section = sections[fss]
    total = kept_of(comparison, "agents.last_frame").total()
    hits, misses, false_alarms, _ = np.moveaxis(total.pooled[4, :, 1], 0, 0)
    (row,) = (
        r
        for r in rows(dict(section.tables)["CSI after max pooling as CSV, by lead time"])
        if (r["run"], r["cell_px"], r["minutes"]) == ("last_frame", "16", "30")
    )
    assert float(row["csi_0.5"]) == pytest.approx((hits / (hits + misses + false_alarms))[0], rel=1e-5)


def test_spectra_are_means_of_the_kept_sums(comparison, sections):
    section = sections[spectrum]
    total = kept_of(comparison, "agents.last_frame").total()
    found = rows(dict(section.tables)["Spectra as CSV, all lead times"])
    rings = total.spectra.shape[2]
    assert len(found) == 20 * (rings - 1)
    for name, which in (("truth", 0), ("last_frame", 1)):
        expected = total.spectra[0, which, 1:] / total.spectra_sequences
        np.testing.assert_allclose([float(r[name]) for r in found[: rings - 1]], expected, rtol=1e-5)
    assert f"{resolution(*total.spectra[19]):.3g} px" in section.body


def test_bounds_of_recalibration_are_bounds(sections):
    section = sections[reliability]
    found = rows(dict(section.tables)["Recalibration as CSV, by lead time"])
    assert len(found) == 40
    for row in found:
        assert float(row["b_mse_best"]) <= float(row["b_mse"])
        assert not row["csi_0.5"] or float(row["csi_0.5_best"]) >= float(row["csi_0.5"])


def test_without_diagnostics_there_is_no_section(out):
    for folder in out.glob("*/diagnostics"):
        shutil.rmtree(folder)
    assert [module.make(compare(out)) for module in SECTIONS] == [None, None, None]


def test_runs_that_were_diagnosed_at_other_sequences_share_what_both_have(out, comparison):
    kept = kept_of(compare(out), "agents.last_frame")
    for index in (0, 4, 12):
        (kept.path / f"{index:06d}.sums").unlink()
    assert compare(out).diagnosed.index.tolist() == [2, 6, 8, 10]
    assert comparison.diagnosed.index.tolist() == [0, 2, 4, 6, 8, 10, 12]


def test_damaged_diagnostics_are_an_error_that_names_the_remedy(out):
    kept = kept_of(compare(out), "agents.last_frame")
    path = kept.path / "000004.sums"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"sequence 4 in .*diagnostics are damaged: remove .* and repeat .*--keep diag"):
        fss.make(compare(out))


def test_diagnostics_of_other_forecasts_are_an_error(out):
    one, other = (kept_of(compare(out), name) for name in ("agents.last_frame", "tests.helpers.toys"))
    one.save(4, other.load(4))
    with pytest.raises(RunError, match=r"sequence 4 in .* are not those of its tally"):
        reliability.make(compare(out))


def test_diagnostics_of_other_observations_are_an_error(out):
    kept = kept_of(compare(out), "agents.last_frame")
    index, found = next((i, one) for i, one in kept.each() if one.spectra_sequences)
    found.spectra[3, 0, 5] *= 20
    kept.save(index, found)
    with pytest.raises(RunError, match="are of different observations"):
        spectrum.make(compare(out))
