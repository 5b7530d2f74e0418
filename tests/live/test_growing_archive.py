import numpy as np
import pytest

from hko7env.archive import Archive, ArchiveError, create
from hko7env.live import growing_archive
from hko7env.live.growing_archive import GrowingArchive
from hko7env.live.stream import LiveStream, Waiting
from hko7env.live.walk import CausalWalk
from tests.helpers.growing import levels

MINUTES = range(0, 600, 6)


def test_only_a_commit_opens_it_again(tmp_path, monkeypatch):
    path, opened = tmp_path / "a.zarr", []
    grown = create(path, shape=(4, 8))
    monkeypatch.setattr(growing_archive, "Archive", lambda store: opened.append(store) or Archive(store))
    source = GrowingArchive(path)
    assert not source.refresh()
    assert source.view is None
    assert [source.refresh() for _ in range(3)] == [False] * 3
    assert len(opened) == 1
    grown.append([0, 6], levels([0, 6]))
    assert source.refresh()
    assert source.view.times.tolist() == [0, 6]
    grown.update(attributes={"note": "no new frame"})
    assert not source.refresh()
    assert len(opened) == 3


def test_a_commit_during_the_opening_is_no_damage(tmp_path, monkeypatch):
    path, failures = tmp_path / "a.zarr", iter([True, True])
    create(path, shape=(4, 8)).append([0], levels([0]))

    def opened(store):
        if next(failures, False):
            raise ArchiveError("the commit record and an array do not fit together")
        return Archive(store)

    monkeypatch.setattr(growing_archive, "Archive", opened)
    waits = []
    source = GrowingArchive(path, sleep=waits.append)
    assert source.refresh()
    assert len(waits) == 2


def test_damage_that_stays_is_an_error(tmp_path):
    path = tmp_path / "a.zarr"
    create(path, shape=(4, 8)).append([0], levels([0]))
    record = path / "zarr.json"
    record.write_text(record.read_text().replace('"cadence_minutes": 6', '"cadence_minutes": 5'))
    with pytest.raises(ArchiveError):
        GrowingArchive(path, sleep=lambda seconds: None).refresh()


def test_frames_removed_while_it_is_open_are_missing(tmp_path):
    path = tmp_path / "a.zarr"
    create(path, shape=(4, 8)).append(MINUTES, levels(MINUTES))
    source = GrowingArchive(path)
    source.refresh()
    stream = LiveStream(source, CausalWalk(6), Waiting(timeout=0))
    first, second = stream.next(), stream.next()
    writer = Archive(path, writable=True)
    writer.remove_before(300)
    writer.append([600], levels([600]))
    observation = stream.observe(first)
    assert observation["present"].tolist() == [0] * 5
    assert not observation["frames"].any()
    tally = stream.score(second.targets, np.zeros((20, 4, 8), np.float32))
    assert (tally.pixels > 0).tolist() == [bool(m >= 300) for m in second.targets]
    assert stream.next().start == 300
