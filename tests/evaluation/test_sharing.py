"""Runs shared by processes: the same results for any number of workers, here and on a cluster, whoever is killed."""

import numpy as np
import pytest

from hko7env.contract import is_memoryless, memoryless
from hko7env.evaluation.claims import issue, name_command
from hko7env.evaluation.evaluate import Execution, evaluate, evaluate_all
from hko7env.evaluation.jobs import Job, Kind, divide, first_kind, run_job
from hko7env.evaluation.journal import RunError
from hko7env.evaluation.plan import Plan, open_folder
from hko7env.evaluation.recording import Work, remaining
from hko7env.evaluation.run_folder import RunFolder
from hko7env.loading import available, find
from hko7env.schedule import schedule
from tests.helpers.runs import plan, run_folder_of, unbroken

TOY, LEARNER, MORTAL = "tests.helpers.toys", "tests.helpers.toys:learner", "tests.helpers.toys:mortal"
RUNS = [("agents.last_frame", True), (TOY, False), (TOY, True), (LEARNER, False), (LEARNER, True)]


@pytest.fixture(scope="module")
def expected(small_archive):
    return [unbroken(plan(small_archive, *run)) for run in RUNS]


def contents(out):
    """Of each run folder: the records of its journals, each index once and in order, and its tables."""
    found = {}
    for path in out.iterdir():
        records = RunFolder.open(path).records()
        _, first = np.unique(records["index"], return_index=True)
        tables = [(path / name).read_text() for name in ("table.md", "leads.csv", "sequences.csv")]
        found[path.name] = (records[first].tobytes(), *tables)
        assert not list(path.glob("*.claim"))
    return found


@pytest.fixture(scope="module")
def in_one_process(small_archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    evaluate_all([plan(small_archive, *run) for run in RUNS], out)
    return contents(out)


@pytest.mark.parametrize("workers", [1, 2, 3, "cluster"])
def test_tallies_journals_and_tables_are_the_same(small_archive, tmp_path, workers, expected, in_one_process, request):
    """With more than one worker, one is killed in the middle of the online run of a learner."""
    plans, execution = [plan(small_archive, *run) for run in RUNS], Execution(checkpoint_seconds=0)
    (tmp_path / "count").mkdir()
    if workers == "cluster":
        cluster = request.getfixturevalue("cluster_of_processes")
        if cluster is None:
            pytest.skip("dask is not installed")
        execution = Execution(scheduler=cluster, checkpoint_seconds=0)
    elif workers > 1:
        execution = Execution(workers=workers, checkpoint_seconds=0)
    mortal = [] if workers == 1 else [plan(small_archive, MORTAL, label=str(tmp_path / "count"))]
    announced = []
    results = evaluate_all([*mortal, *plans, *plans[:1]], tmp_path / "out", execution, finished=announced.append)
    assert len(announced) == len(plans) + len(mortal), "a plan that is given twice is one run"
    assert results.pop().tally == expected[0]
    if mortal:
        assert results.pop(0).tally == expected[-1]
        forecasts = (tmp_path / "count" / "forecasts").stat().st_size
        assert 13 < forecasts < 6 + 13, "it was killed, and went on from a checkpoint"
        (killed,) = (tmp_path / "out").glob("*mortal*")
        killed.rename(tmp_path / killed.name)
    assert [result.tally for result in results] == expected
    assert contents(tmp_path / "out") == in_one_process


def opened(one, out):
    env = one.environment()
    return env, open_folder(one, env, 13, out)


def test_a_job_that_is_begun_again_ends_the_first_attempt_and_counts_once(small_archive, tmp_path):
    """As if a cluster lost sight of a worker that goes on."""
    one = plan(small_archive, online=False)
    env, folder = opened(one, tmp_path)
    with folder.held():
        claim = issue(folder.path, 0, name_command())
        job = Job(one, Kind.SEQUENCES, remaining(folder, env.view, 13), 13, 60.0, 1, claim)
        again = iter([False] * 9 + [True])  # at the first of the forecasts that the last step reveals

        def step():
            if next(again, False):
                assert run_job(job)

        with pytest.raises(RunError, match=r"0000\.claim is no longer held here"):
            run_job(job, step=step)
        records = folder.records()
        assert len(records) == 13 + 3, "some sequences were run twice"
        assert sorted({int(index) for index in records["index"]}) == list(range(13))
        assert run_job(job), "nothing is left"
        assert len(folder.records()) == len(records)
    with pytest.raises(RunError, match="was withdrawn"):
        run_job(job)
    assert evaluate(one, tmp_path).tally == unbroken(one)


def test_a_claim_is_good_for_one_attempt_of_one_command(tmp_path):
    claim = issue(tmp_path, 3, name_command())
    first = claim.take()
    first.check()
    second = claim.take()
    second.check()
    with pytest.raises(RunError, match="no longer held"):
        first.check()
    other = issue(tmp_path, 3, name_command())
    for late in (claim.take, second.check):
        with pytest.raises(RunError, match=r"0003\.claim"):
            late()
    other.take().check()


def test_claims_that_a_killed_command_left_are_void(small_archive, tmp_path):
    one = plan(small_archive)
    _, folder = opened(one, tmp_path)
    folder.path.mkdir()
    claim = issue(folder.path, 0, name_command()).take()
    with folder.held(), pytest.raises(RunError, match="no longer held"):
        claim.check()


def test_journals_get_different_numbers_also_at_the_same_time(tmp_path, monkeypatch):
    from pathlib import Path

    from hko7env.evaluation.journal import create_journal

    create_journal(tmp_path)
    touch, others = Path.touch, iter([True])

    def late(self, **arguments):
        if next(others, False):  # another process takes this number first
            touch(self)
        touch(self, **arguments)

    monkeypatch.setattr(Path, "touch", late)
    assert create_journal(tmp_path).name == "0002.journal"


def test_what_is_not_declared_is_shared_by_episodes_only(small_archive):
    assert first_kind(Plan("agents.last_frame", True)) is Kind.SEQUENCES
    assert first_kind(Plan(TOY, True)) is Kind.WHOLE, "a subclass of last frame that remembers"
    assert first_kind(Plan(LEARNER, False)) is Kind.SEQUENCES
    assert {name for name in available() if is_memoryless(find(name)[0])} == {
        "agents.last_frame", "agents.oracle", "agents.rover"
    }  # fmt: skip

    @memoryless
    class Make:
        pass

    class Heir(Make):
        pass

    assert is_memoryless(Make)
    assert not is_memoryless(Heir)


@pytest.mark.parametrize("workers, sizes", [(1, [32] * 3 + [24]), (2, [15] * 8), (100, [8] * 15)])
def test_jobs_are_of_moderate_size(tmp_path, workers, sizes):
    work = Work(tmp_path, "run", 20, list(range(120)))
    jobs = divide(Job(Plan(TOY, False), Kind.SEQUENCES, work, 120, 60.0, 1), None, workers)
    if workers > 1:
        assert [len(job.work.missing) for job in jobs] == sizes
    assert [index for job in jobs for index in job.work.missing] == list(range(120))
    assert max(len(job.work.missing) for job in jobs) <= 32


def test_episodes_are_never_cut(tmp_path):
    days = np.concatenate([6 * np.arange(48) + 10_000 * day for day in range(5)])
    walk = schedule(days)
    per_episode = len(walk) // 5
    work = Work(tmp_path, "run", 20, [i for i in range(len(walk)) if i != 2])
    jobs = divide(Job(Plan(TOY, True), Kind.WHOLE, work, len(walk), 60.0, 1), walk, 2)
    assert len(jobs) > 1
    assert {job.kind for job in jobs} == {Kind.EPISODES}
    seen = [{walk.episode(i) for i in job.work.missing} for job in jobs]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 5
    assert [index for job in jobs for index in job.work.missing] == work.missing
    assert per_episode < 8, "several episodes make a job"


def test_threads_of_torch_are_set_for_the_forecasts_only(small_archive, tmp_path, monkeypatch):
    import torch

    from tests.helpers import toys

    seen, before = set(), torch.get_num_threads()
    original = toys.Slow.predict
    monkeypatch.setattr(toys.Slow, "predict", lambda self: seen.add(torch.get_num_threads()) or original(self))
    for threads in (1, 2):
        evaluate_all([plan(small_archive)], tmp_path / str(threads), Execution(threads=threads))
        assert seen == {threads}
        seen.clear()
    assert torch.get_num_threads() == before


def test_a_cluster_with_other_code_or_files_is_refused(small_archive, tmp_path):
    from hko7env.evaluation.cluster import attempt_there

    one = plan(small_archive, online=False)
    env, folder = opened(one, tmp_path)
    with folder.held():
        work = remaining(folder, env.view, 13)
        job = Job(one, Kind.SEQUENCES, work, 13, 60.0, 1, issue(folder.path, 0, name_command()))
        other = Job(plan(small_archive, online=False, delay=0.5), Kind.SEQUENCES, work, 13, 60.0, 1, job.claim)
        assert "it would be another run, as options differ" in attempt_there(other, str(tmp_path)).message
        assert "has no folder" in attempt_there(job, str(tmp_path / "elsewhere")).message
        assert run_folder_of(tmp_path).recorded() == 0
        assert attempt_there(job, str(tmp_path)) is True
        assert run_folder_of(tmp_path).recorded() == 13
