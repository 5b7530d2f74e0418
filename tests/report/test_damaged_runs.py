"""Damaged and foreign run folders: an error that names the folder, or exactly what the sound one gives."""

import shutil

import pytest

from hko7env.evaluation.journal import RunError
from hko7env.report.reading import read_comparisons
from tests.helpers.report_runs import days, write_runs
from tests.report.mutations import mutate

TRIALS = 400  # of 16 ways to damage 7 files


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two sound runs."""
    return write_runs(tmp_path_factory.mktemp("sound"), {"agents.a": 0.5, "agents.b": 0.6}, walk=days(1, 5))


def facts(comparison):
    """All that the page is made of."""
    runs = sorted(comparison.runs, key=lambda run: run.name)
    told = [(r.name, r.identity, r.folder.context, r.command, r.index.tolist(), r.counts.tolist()) for r in runs]
    return told, [r.sums.tolist() for r in runs], comparison.schedule.starts.tolist(), comparison.block.tolist()


def test_damaged_runs_give_an_error_or_the_same_page(sound, tmp_path):
    whole = facts(read_comparisons([sound[0].parent])[0])
    harmless = 0
    for seed in range(TRIALS):
        out = tmp_path / str(seed)
        shutil.copytree(sound[0], out / sound[0].name)
        (out / sound[1].name).symlink_to(sound[1])  # which nothing is done to
        done = mutate(out / sound[0].name, sound[1], seed)
        try:
            (comparison,) = read_comparisons([out])
        except RunError as error:
            assert str(out) in str(error), done
            assert len(str(error)) < 2000, done
        else:
            if comparison.incomplete:
                assert comparison.incomplete[0].path.name == sound[0].name, done
                assert len(comparison.runs) == 1, done
            else:
                assert facts(comparison) == whole, done
                harmless += 1
        shutil.rmtree(out)
    assert harmless < TRIALS / 2, "most damage is noticed"
