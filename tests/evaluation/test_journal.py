import numpy as np

from hko7env.evaluation.journal import Journal, read_journal, record_dtype, sum_records
from hko7env.scores import Tally


def some_tally(seed):
    rng = np.random.default_rng(seed)
    return Tally(1, *rng.integers(0, 2**31, (4, 20, 5)), *rng.random((4, 20)))


def test_a_sequence_recorded_twice_counts_once(tmp_path):
    records = []
    for name, indices in (("a", (0, 1, 2)), ("b", (2, 0))):
        book = Journal(tmp_path / name, 20)
        for i in indices:
            book.add(i, some_tally(i))
        book.close()
        records.append(read_journal(tmp_path / name, 20))
    assert sum_records(np.concatenate(records), 20) == some_tally(0) + some_tally(1) + some_tally(2)


def test_a_torn_or_flipped_record_is_left_out(tmp_path):
    path = tmp_path / "0000.journal"
    book = Journal(path, 20)
    for i in range(4):
        book.add(i, some_tally(i))
    book.close()
    size = record_dtype(20).itemsize
    data = path.read_bytes()
    assert len(data) == 4 * size
    assert sum_records(read_journal(path, 20), 20) == sum((some_tally(i) for i in range(1, 4)), some_tally(0))
    path.write_bytes(data[: 3 * size + 100])
    assert read_journal(path, 20)["index"].tolist() == [0, 1, 2]
    flipped = bytearray(data)
    flipped[size + 40] ^= 1
    path.write_bytes(flipped)
    assert read_journal(path, 20)["index"].tolist() == [0, 2, 3]
