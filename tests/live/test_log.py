import pytest

from hko7env.evaluation.journal import RunError
from hko7env.live_run.log import Log, read_log


def test_what_is_appended_is_read(tmp_path):
    path = tmp_path / "some.jsonl"
    assert list(read_log(path)) == []
    for n in range(3):  # each time by another process
        log = Log(path)
        log.append({"n": n})
        log.close()
    assert list(read_log(path)) == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize("left", ["{", '{"n": 3', '{"n": 3}'])
def test_a_line_that_was_cut_is_not_read_and_removed(tmp_path, left):
    path = tmp_path / "some.jsonl"
    path.write_text('{"n": 0}\n' + left)
    assert list(read_log(path)) == [{"n": 0}]
    log = Log(path)
    log.append({"n": 1})
    log.close()
    assert path.read_text() == '{"n": 0}\n{"n": 1}\n'


@pytest.mark.parametrize("line", ["{not json}", "[1]", '"text"', "\x00\x00"])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "some.jsonl"
    path.write_text('{"n": 0}\n' + line + '\n{"n": 2}\n')
    with pytest.raises(RunError, match=r"some\.jsonl is damaged \(line 2"):
        list(read_log(path))
